"""The lines about the core: what is divided by what, and what holds."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks import wire
from benchmarks.measurements.cost import Case
from benchmarks.results import Result, Spread

TRIGGER = ("trigger",)


def costs(ours: float, theirs: float, loop: str = "asyncio") -> Result:
    rows = [
        {**case.as_row(), "round": number, "cpu_us": cost * noise}
        for number, noise in enumerate((1.0, 3.0, 0.5))
        for case, cost in ((Case("refold_async", loop), ours), (Case("aiohttp", loop), theirs))
    ]
    return Result(rows={"cost": rows})


def test_ratios_are_taken_within_each_round_so_that_the_state_of_the_machine_cancels_out() -> None:
    [line] = wire.verdicts(costs(25.0, 100.0), TRIGGER)
    assert line.measured == Spread((0.25, 0.25, 0.25))
    assert line.holds


def test_a_line_beyond_its_bar_does_not_hold() -> None:
    [line] = wire.verdicts(costs(36.0, 100.0, "uvloop"), TRIGGER)
    assert not line.holds
    assert "NO" in wire.table([line])
    assert "36.0 µs ÷ 100.0 µs" in wire.table([line])


def test_a_line_that_could_not_be_measured_does_not_hold_and_says_why() -> None:
    result = costs(25.0, 100.0)
    for row in result.rows["cost"]:
        if row["contender"] == "refold_async":
            row["failed"] = "TypeError: no such option"
    [line] = wire.verdicts(result, TRIGGER)
    assert not line.holds
    assert "TypeError: no such option" in wire.table([line])


def test_a_quantity_counts_by_its_least_or_its_median() -> None:
    rows = [{"program": "refold_async", "round": n, "cpu_ms": ms} for n, ms in enumerate((19, 30, 40))]
    [line] = wire.verdicts(Result(rows={"imports": rows}), ("import",))
    assert line.holds
    rows = [{"round": number, "cpu_us": cpu} for number, cpu in enumerate((19.0, 30.0, 40.0))]
    [line] = wire.verdicts(Result(rows={"mock": rows}), ("mock",))
    assert not line.holds


def test_each_case_is_measured_once_however_many_lines_need_it() -> None:
    needed = wire.cases(wire.LINES, ("asyncio",))
    assert len(needed) == len(set(needed))
    assert sum(case == Case("refold_async") for case in needed) == 1


def test_a_run_of_one_line_measures_only_that_and_exits_by_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.measurements.cost.run", lambda cases, **_: costs(25.0, 100.0).rows["cost"])
    assert command.main(["wire", "--only", "trigger", "--loop", "asyncio"]) == 0
    assert capsys.readouterr().out.count("\n") == 3
    monkeypatch.setattr("benchmarks.measurements.cost.run", lambda cases, **_: costs(99.0, 100.0).rows["cost"])
    assert command.main(["wire", "--only", "trigger", "--loop", "asyncio"]) == 1
