"""The fleet's benchmark: its verdicts, its simulation, and one small run for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fleet import command
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

    charts.draw_real({"redis": Found(measured()), "memory": Found(measured())}, tmp_path / "real.svg")
    charts.draw_simulated({1.0: {10: measured(), 100: measured()}}, tmp_path / "simulated.svg")
    assert "<svg" in (tmp_path / "real.svg").read_text() + (tmp_path / "simulated.svg").read_text()


def test_processes_share_a_file_for_real(tmp_path: Path) -> None:
    found = play(Case("sqlite", "sqlite"), Servers(None, None, tmp_path), processes=2, waiters=2, seconds=0.5)
    assert found is not None
    assert json.dumps(found.measured.share)
    assert play(Case("redis", "redis"), Servers(None, None, tmp_path), processes=1, waiters=1, seconds=0.1) is None
