"""What the measurement of delivery must notice: a client that doubles, loses, or denies what fired."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders.refold import with_option
from benchmarks.measurements import delivery
from benchmarks.measurements.delivery import CHANCES, PlannedFaults, judge
from refold_async.testing.ledger import Entry

WRONG = ("lost_as_success", "fired_as_failure", "fired_more")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def delivered(*names: str, count: int = 60) -> list[dict[str, Any]]:
    return delivery.run([(f"tests.benchmarks.contenders:{name}", False) for name in names], count=count, seed=1)


def test_contenders_that_double_lose_or_deny_are_caught() -> None:
    doubles, slyly, loses, denies = delivered("doubles", "doubles slyly", "loses", "denies")
    assert doubles["fired_more"] > 45
    assert doubles["truthful"] < 15
    assert slyly["fired_more"] > 45
    assert slyly["fired_as_failure"] >= slyly["fired_more"]
    assert loses["lost_as_success"] == 60
    assert (loses["truthful"], loses["requests"]) == (0, 0)
    assert denies["fired_as_failure"] == denies["fired_once"] > 50
    assert denies["lost_as_success"] == denies["fired_more"] == 0


def test_a_contender_that_crashes_has_a_row_that_says_so() -> None:
    [row] = delivered("crashes", count=5)
    assert row["failed"] == "crashed (signal 9)"
    [row] = delivery.pacing(["tests.benchmarks.contenders:crashes"], seconds=0.1)
    assert row["failed"] == "crashed (signal 9)"


def test_refold_async_tells_the_truth_under_the_same_faults() -> None:
    plain, declared = delivery.run(
        [(with_option("limiter off"), False), (with_option("declared window"), True)], count=100, seed=3
    )
    assert plain["truthful"] == declared["truthful"] == 100
    assert plain["fired_more"] == declared["fired_more"] == 0
    assert 0 <= declared["uncertain"] < plain["uncertain"]


def test_every_contender_meets_the_same_faults_in_whatever_order() -> None:
    def meet(order: list[int]) -> dict[tuple[int, int], str | None]:
        plan, attempts, met = PlannedFaults(7), Counter[int](), {}
        for number in order:
            attempts[number] += 1
            entry = Entry(0.0, 1, "POST", "/", b"\r\n", b'{"event": "e", "payload": {"n": %d}}' % number)
            fault = plan(entry)
            met[number, attempts[number]] = None if fault is None else fault.name
        return met

    numbers = list(range(2000)) * 2
    assert meet(numbers) == meet(random.Random(1).sample(numbers, len(numbers)))
    faults = Counter(meet(numbers).values())
    assert set(faults) == {None, *(fault.name for fault in CHANCES)}
    assert sum(CHANCES.values()) == pytest.approx(0.15), "docs/benchmarks.md says 15 of 100"


@pytest.mark.parametrize(
    ("said", "fired", "truthful", "wrong"),
    [
        ("S", 1, 1, set()),
        ("S", 0, 0, {"lost_as_success"}),
        ("S", 2, 0, {"fired_more"}),
        ("F", 0, 1, set()),
        ("F", 1, 0, {"fired_as_failure"}),
        ("F", 2, 0, {"fired_as_failure", "fired_more"}),
        ("U", 0, 1, set()),
        ("U", 1, 1, set()),
        ("U", 2, 0, {"fired_more"}),
        ("?", 1, 0, set()),
    ],
)
def test_what_is_truthful(said: str, fired: int, truthful: int, wrong: set[str]) -> None:
    counts = judge(said, {0: fired})
    assert counts["truthful"] == truthful
    assert {kind for kind in WRONG if counts[kind]} == wrong


def test_pacing_counts_responses_of_429() -> None:
    honest, paced = delivery.pacing(
        ["tests.benchmarks.contenders:honest", with_option("documented limit")], seconds=1.5
    )
    assert honest["throttled"] == 30 - honest["fired_once"] > 0
    assert (paced["throttled"], paced["fired_once"]) == (0, 30)
