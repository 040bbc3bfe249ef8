"""The mutation testing in `tools/mutants`: which changes there are, and which tests meet them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutants import measured
from tools.mutants.measured import Map
from tools.mutants.mutate import Mutant, draw, mutants_of

SOURCE = '''"""A module."""
LIMIT = 3


def allowed(count: int) -> bool:
    """Whether it is."""
    if count < LIMIT:
        return True
    log.info("%d are too many", 7)
    raise ValueError(f"{count} of 9")
'''


@pytest.fixture
def mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Mutant]:
    path = tmp_path / "refold_async" / "module.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    return mutants_of(path, "module.py")


def test_decisions_are_changed_and_texts_for_people_are_not(mutants: list[Mutant]) -> None:
    assert [each.name.partition("::")[2] for each in mutants] == [
        "module: `3` in `LIMIT = 3` -> 4",
        "allowed: `<` in `if count < LIMIT:` -> <=",
        "allowed: `True` in `return True` -> False",
        "allowed: `True` in `return True` -> None",
        'allowed: `raise ValueError(f"{count} of 9")` -> pass',
    ]
    assert b"count <= LIMIT" in mutants[1].apply(SOURCE.encode())


def test_the_same_seed_draws_the_same(mutants: list[Mutant]) -> None:
    assert draw(mutants, 3, 1) == draw(mutants, 3, 1)
    assert sorted(draw(mutants, 99, 1)) == mutants


def test_a_mutant_meets_the_tests_of_its_line_the_most_specific_first_within_the_budget(mutants: list[Mutant]) -> None:
    tests = Map(
        seconds={"broad": 0.1, "exact": 0.1, "slow": 29.7, "elsewhere": 0.1, "late": 29.0},
        size={"broad": 900, "exact": 9, "slow": 50, "elsewhere": 1, "late": 5000},
        lines={"module.py": {7: ["broad", "slow", "exact", "late"], 8: ["broad"], 10: ["elsewhere"]}},
    )
    assert tests.tests_of(mutants[1]) == [["exact", "broad"], ["slow"]]
    assert tests.tests_of(mutants[2]) == [["broad"]]
    assert tests.without({"exact"}).tests_of(mutants[1]) == [["broad"], ["slow"]]


def test_a_line_that_no_test_executes_meets_the_tests_of_what_is_around_it(mutants: list[Mutant]) -> None:
    tests = Map(seconds={"a": 0.1, "b": 0.1}, size={"a": 1, "b": 2}, lines={"module.py": {7: ["a", "b"]}})
    assert tests.tests_of(mutants[0]) == [["a", "b"]], "a constant: the tests of the module"
    assert tests.tests_of(mutants[4]) == [["a", "b"]], "a line of a function: the tests of the function"
    assert Map().tests_of(mutants[0]) == []


def test_many_cases_of_one_test_do_not_push_out_other_tests(mutants: list[Mutant]) -> None:
    names = [*(f"table[{n}]" for n in range(5)), "other"]
    tests = Map(
        seconds=dict.fromkeys(names, 0.1),
        size=dict.fromkeys(names, 10) | {"other": 15},
        lines={"module.py": {7: names}},
    )
    assert tests.tests_of(mutants[1]) == [["table[0]", "other", "table[1]", "table[2]", "table[3]", "table[4]"]]
