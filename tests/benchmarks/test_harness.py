"""What the harness must see: a client that doubles, loses, sleeps, burns, crashes, hangs or lies."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from benchmarks import run as running
from benchmarks.contender import Contender
from benchmarks.contenders import installed, load
from benchmarks.faults import CHANCES, PlannedFaults
from benchmarks.measurements import batches, cost, delivery, imports, layers, mock, pacing
from benchmarks.measurements.delivery import judge
from benchmarks.process import TurnFailedError, Worker
from benchmarks.profiles import COST, DELIVERY, PACING, QUICK
from benchmarks.results import Result
from refold_async.testing.ledger import Entry

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started as modules, from where `python -m benchmarks` is."""
    monkeypatch.chdir(ROOT)


def made(*names: str) -> dict[str, Contender]:
    keys = [f"tests.benchmarks.contenders:{name}" for name in names]
    return {key: load(key) for key in keys}


def delivered(name: str, events: int = 60) -> dict[str, Any]:
    [row] = delivery.run(made(name), events=events, seed=1)
    return row


def costs(*names: str, rounds: int = 1, limit: float = 30.0) -> Result:
    found = made(*names)
    rows = cost.run(found, dict.fromkeys(found, (2,)), rounds=rounds, seconds=0.05, limit=limit)
    return Result(rows={"cost": rows})


def test_a_contender_that_doubles_on_purpose_is_caught() -> None:
    row = delivered("DOUBLES")
    assert row["fired_more"] > 45
    assert row["truthful"] < 15


def test_a_contender_that_doubles_and_says_that_it_failed_is_counted_once() -> None:
    row = delivered("DOUBLES_SLYLY")
    assert row["failure_more"] == row["fired_more"] > 45
    assert row["fired_as_failure"] >= row["failure_more"]
    assert row["truthful"] + row["fired_as_failure"] == row["events"]


def test_a_contender_that_loses_and_reports_success_is_caught() -> None:
    row = delivered("LOSES")
    assert row["lost_as_success"] == row["events"] == row["unfired"] == 60
    assert (row["truthful"], row["requests"]) == (0, 0)


def test_a_contender_that_reports_failure_of_what_fired_is_caught() -> None:
    row = delivered("DENIES")
    assert row["fired_as_failure"] == row["fired_once"] > 50
    assert row["lost_as_success"] == row["fired_more"] == 0


def test_refold_async_tells_the_truth_under_the_same_faults() -> None:
    rows = delivery.run({"refold_async": load("refold_async")}, events=100, seed=3)
    plain = next(row for row in rows if row["setup"] == "defaults")
    declared = next(row for row in rows if row["deduped"])
    assert plain["truthful"] == declared["truthful"] == 100
    assert plain["fired_more"] == declared["fired_more"] == 0
    assert 0 <= declared["uncertain"] < plain["uncertain"]


def test_every_contender_meets_the_same_faults_in_whatever_order() -> None:
    def meet(order: list[int]) -> dict[tuple[int, int], str | None]:
        plan, attempts, met = PlannedFaults(7), Counter[int](), {}
        for number in order:
            attempts[number] += 1
            entry = Entry(0.0, 1, "POST", "/", "slug", [], b'{"event": "e", "payload": {"n": %d}}' % number)
            fault = plan(entry)
            met[number, attempts[number]] = None if fault is None else fault.name
        return met

    numbers = list(range(2000)) * 2
    shuffled = random.Random(1).sample(numbers, len(numbers))
    assert meet(numbers) == meet(shuffled)
    faults = Counter(meet(numbers).values())
    assert set(faults) == {None, *(fault.name for fault in CHANCES)}
    assert sum(CHANCES.values()) == pytest.approx(0.15), "docs/benchmarks.md says 15 of 100"
    assert 0.82 < faults[None] / len(numbers) < 0.88


@pytest.mark.parametrize(
    ("said", "fired", "truthful", "wrong"),
    [
        ("S", 1, 1, {}),
        ("S", 0, 0, {"lost_as_success": 1}),
        ("S", 2, 0, {"fired_more": 1}),
        ("F", 0, 1, {}),
        ("F", 1, 0, {"fired_as_failure": 1}),
        ("F", 2, 0, {"fired_as_failure": 1, "failure_more": 1, "fired_more": 1}),
        ("U", 0, 1, {}),
        ("U", 1, 1, {}),
        ("U", 2, 0, {"fired_more": 1, "uncertain_more": 1}),
        ("?", 1, 0, {}),
    ],
)
def test_what_is_truthful(said: str, fired: int, truthful: int, wrong: dict[str, int]) -> None:
    counts = judge(said, {0: fired})
    kinds = ("lost_as_success", "fired_as_failure", "failure_more", "fired_more", "uncertain_more")
    assert counts["truthful"] == truthful
    assert {kind: counts[kind] for kind in kinds if counts[kind]} == wrong


def test_a_contender_that_sleeps_is_measured_as_slower_and_one_that_burns_as_dearer() -> None:
    result = costs("HONEST", "SLEEPS", "BURNS")
    level = {"level": 2}
    slower = result.ratios("p50", {"contender": "sleeps", **level}, {"contender": "honest", **level})
    fewer = result.ratios("rate", {"contender": "sleeps", **level}, {"contender": "honest", **level})
    dearer = result.ratios("cpu_us", {"contender": "burns", **level}, {"contender": "honest", **level})
    assert slower is not None
    assert fewer is not None
    assert dearer is not None
    assert slower.low > 2
    assert fewer.high < 0.5
    assert dearer.low > 2
    assert min(row["cpu_us"] for row in result.of("cost", contender="burns")) > 4_900
    assert all(row["server_cpu"] >= 0 and row["completed"] >= 40 for row in result.of("cost"))


def test_a_contender_that_raises_crashes_or_hangs_is_reported_and_the_run_goes_on() -> None:
    result = costs("CRASHES", "HONEST", "HANGS", "RAISES", rounds=2, limit=2.0)
    failed = {(row["contender"], row["round"]): row["failed"] for _, row in result.failures()}
    assert failed.keys() == {("crashes", 0), ("hangs", 0), ("raises", 0), ("raises", 1)}
    assert failed["crashes", 0] == "crashed (signal 9): silently"
    assert failed["hangs", 0] == "hung: killed after 2 s"
    assert failed["raises", 0] == "RuntimeError: out of order"
    assert [row["round"] for row in result.of("cost", contender="honest")] == [0, 1]


def test_a_contender_that_never_asks_the_server_is_reported() -> None:
    [(_, row)] = costs("LOSES").failures()
    assert row["failed"] == "it counted more answers than the server gave"


def test_a_crash_in_the_other_measurements_is_a_row_as_well() -> None:
    [row] = delivery.run(made("CRASHES"), events=5, seed=1)
    assert row["failed"].startswith("crashed")
    [row] = pacing.run(made("CRASHES"), seconds=0.1)
    assert row["failed"].startswith("crashed")
    broken = evolve(made("HONEST")["tests.benchmarks.contenders:HONEST"], imports="no_such_module")
    [row] = imports.run({"broken": broken}, rounds=2)
    assert "no_such_module" in row["failed"]


def test_a_worker_that_is_gone_says_so_again() -> None:
    with Worker("cost", "tests.benchmarks.contenders:CRASHES") as worker:
        for _ in range(2):
            with pytest.raises(TurnFailedError, match="signal 9"):
                worker.turn(limit=20, url="http://127.0.0.1:9", server_pid=1, concurrency=1, seconds=0.01)
        assert not worker.alive


def test_what_a_contender_prints_does_not_mix_with_its_answers() -> None:
    with Worker("tests.benchmarks.contenders", "prints") as worker:
        assert worker.turn(limit=20, value=3) == {"value": 3}


def test_a_contender_that_is_not_installed_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found, skipped = installed(["httpx", "no_such_package.module:CONTENDER"])
    assert list(found) == ["httpx"]
    assert skipped == {"no_such_package.module:CONTENDER": "no_such_package is not installed"}
    monkeypatch.setattr("benchmarks.contenders.find_spec", lambda name: None)
    assert installed(["httpx@uvloop"])[1] == {"httpx@uvloop": "uvloop is not installed"}


def test_every_contender_of_a_run_has_a_file_that_says_why_its_settings_are_what_they_are() -> None:
    for key in {*COST, *DELIVERY, *PACING}:
        text = (ROOT / f"benchmarks/contenders/{key.removesuffix('@uvloop')}.py").read_text()
        assert any(line.startswith("# ") for line in text.splitlines()), key
    found, skipped = installed({*COST, *DELIVERY, *PACING})
    assert {"refold_async", "refold_stock", "httpx", "floor"} <= found.keys()
    assert all(reason.endswith("is not installed") for reason in skipped.values())
    assert len({contender.name for contender in found.values()}) == len(found)


def test_pacing_counts_refusals_and_what_was_given_up() -> None:
    found = made("HONEST") | {"refold_async": load("refold_async")}
    rows = {row["contender"]: row for row in pacing.run(found, seconds=1.5)}
    assert rows["honest"]["throttled"] == 30 - rows["honest"]["fired"] > 0
    assert rows["refold_async"]["throttled"] == 0
    assert rows["refold_async"]["fired"] == 30
    assert rows["refold_async"]["share"] > 0.9


def test_batches_count_what_was_pulled_ahead() -> None:
    rows = {row["way"]: row for row in batches.run({300: 1})}
    assert rows["gather + semaphore"]["ahead"] == 300
    assert rows["trigger_stream"]["ahead"] <= batches.CONCURRENCY
    assert rows["trigger_many"]["ahead"] <= batches.CONCURRENCY
    assert all(row["rate"] > 0 and row["peak_bytes"] > 1e6 for row in rows.values())


def test_the_layers_and_the_mock_have_a_cost_of_their_own() -> None:
    [row] = layers.run({"asyncio": ""}, rounds=1)
    assert 0 < row["without_us"] < row["with_us"]
    [row] = mock.run(rounds=1, requests=200)
    assert row["cpu_us"] > 0


def test_a_run_writes_its_result_after_each_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.cores.pin", lambda core: None)
    monkeypatch.setattr(running, "COST", {"httpx": (1,), "no_such": (1,)})
    tiny = evolve(QUICK, cost_rounds=1, cost_seconds=0.05, layer_rounds=1)
    result = running.run(tiny, ["cost"], tmp_path, ["httpx", "no_such.module:CONTENDER"])
    again = Result.load(tmp_path / "result.json")
    assert again.facts["skipped"] == {"no_such.module:CONTENDER": "no_such is not installed"}
    assert again.facts["versions"]["httpx"]
    assert again.facts["machine"]["python"]
    assert again.facts["command"].startswith("python -m benchmarks")
    assert len(again.of("cost")) == len(result.of("cost")) == 1
    assert "skipped no_such.module:CONTENDER: no_such is not installed" in capsys.readouterr().err
