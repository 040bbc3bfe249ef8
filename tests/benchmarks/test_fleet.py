"""The fleet's benchmark: its verdicts, its simulation, and one small run for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fleet import command, pages
from benchmarks.fleet.real import Case, Found, Servers, play
from benchmarks.fleet.simulation import Measured, Scenario, jain, simulate


def measured(**changed: float) -> Measured:
    usual = {
        "share": 0.97, "throttled": 1, "fairness": 0.99, "longest_wait": 3.0, "fair_wait": 2.4, "calls_per_grant": 2.0,
        "calls_per_second": 40.0,
    }  # fmt: skip
    return Measured(**(usual | changed))  # type: ignore[arg-type]


def test_what_is_asked_of_a_case_is_held_against_what_was_found() -> None:
    case = Case("redis", "redis", 0.95, 2, 2.3, is_fair=True, pauses=True)
    assert case.problems(Found(measured(), in_pause=1)) == []
    bad = measured(share=0.9, throttled=3, fairness=0.97, longest_wait=4.9, calls_per_grant=2.4)
    assert len(case.problems(Found(bad, in_pause=2))) == 6
    assert Case("memory", "memory").problems(Found(bad)) == []


def test_fairness_is_one_where_all_get_the_same() -> None:
    assert jain([5, 5, 5]) == pytest.approx(1.0)
    assert jain([15, 0, 0]) == pytest.approx(1 / 3)
    assert jain([]) == 1.0


def test_a_simulation_is_the_same_each_time() -> None:
    scenario = Scenario(processes=3, waiters=2, seconds=5, stalls=(0.02, 0.15, 1.0))
    assert simulate(scenario) == simulate(scenario)


def test_the_numbers_are_shown_as_a_table() -> None:
    lines = command.table({"redis": measured()}).splitlines()
    assert lines[0].startswith("|")
    assert "0.97" in lines[2]


def test_charts_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.fleet import charts

    charts.draw_real({"redis": Found(measured()), "memory": Found(measured())}, tmp_path / "real.svg", "a1")
    charts.draw_simulated({1.0: {10: measured(), 100: measured()}}, tmp_path / "simulated.svg", "b2")
    assert "<svg" in (tmp_path / "real.svg").read_text() + (tmp_path / "simulated.svg").read_text()


@pytest.mark.parametrize("which", pages.MARKS)
def test_the_page_is_what_the_committed_results_say(which: str) -> None:
    text = (pages.ROOT / pages.PAGE).read_text()
    block = pages.blocks(pages.ROOT / pages.COMMITTED)[which]
    assert pages.page_with(text, block, which) == text, "run `python -m benchmarks fleet --docs`, or with --simulate"


@pytest.mark.parametrize("which", pages.MARKS)
def test_the_charts_were_drawn_from_the_committed_results(which: str) -> None:
    path = pages.ROOT / pages.COMMITTED / which
    assert f"drawn from {pages.digest(path)}" in path.with_suffix(".svg").read_text()


def test_a_result_is_read_as_it_was_written_and_its_failures_are_on_the_page(tmp_path: Path) -> None:
    facts = command._facts(processes=8, waiters=6, seconds=20.0, runs=3)
    runs = {"redis": [Found(measured()), Found(measured(share=0.5))], "redis frozen": [Found(measured(throttled=9))]}
    pages.save(tmp_path / pages.REAL, facts, runs)
    pages.save(tmp_path / pages.SIMULATED, facts, {"10 processes, 5 ms away": [measured(throttled=0)]})
    assert pages.real(pages.load(tmp_path / pages.REAL)) == {name: found[0] for name, found in runs.items()}
    blocks = pages.blocks(tmp_path)
    assert "- redis frozen: 9 " in blocks[pages.REAL]
    assert "| 10" in blocks[pages.SIMULATED]
    with pytest.raises(ValueError, match="0 blocks"):
        pages.page_with("no marks", "block", pages.REAL)


def test_processes_share_a_file_for_real(tmp_path: Path) -> None:
    found = play(Case("sqlite", "sqlite"), Servers(None, None, tmp_path), processes=2, waiters=2, seconds=0.5)
    assert found is not None
    assert json.dumps(found.measured.share)
    assert play(Case("redis", "redis"), Servers(None, None, tmp_path), processes=1, waiters=1, seconds=0.1) is None
