"""From raw rows to tables, sentences, charts and comparisons; and the pages, which must show what is committed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import compare, findings, report, tables
from benchmarks.claims import claims
from benchmarks.profiles import LEVELS
from benchmarks.results import Result, Spread

ROOT = Path(__file__).parents[2]
LOOPS = {"refold_async": "asyncio", "aiohttp": "asyncio", "httpx": "asyncio", "floor: bare": "asyncio",
         "refold_async, as it comes": "asyncio", "httpx2": "asyncio"}  # fmt: skip
CPU = {"refold_async": 90.0, "aiohttp": 100.0, "httpx": 1200.0, "floor: bare": 10.0,
       "refold_async, as it comes": 80.0, "httpx2": 600.0}  # fmt: skip


def cost_rows(**changed: float) -> list[dict[str, Any]]:
    """Three rounds of each contender: the cost of `CPU`, or as told, by 1 % more or less."""
    rows = []
    for name, usual in CPU.items():
        for level in LEVELS:
            for number, noise in enumerate((0.99, 1.0, 1.01)):
                cost = changed.get(name, usual) * noise
                rows.append(
                    {
                        "contender": name,
                        "level": level,
                        "round": number,
                        "cpu_us": cost,
                        "rate": 1e6 / cost,
                        "p50": cost * level / 1e6,
                        "p99": cost * level / 5e5,
                        "peak_bytes": 40_000_000,
                        "server_share": 10 / cost,
                        "completed": 100,
                        "seconds": 0.3,
                        "cpu": 0.3,
                        "server_cpu": 0.03,
                    }
                )  # fmt: skip
    return rows


def delivery_row(contender: str, setup: str, **counts: int) -> dict[str, Any]:
    usual = dict.fromkeys(
        ("fired_once", "fired_more", "unfired", "lost_as_success", "fired_as_failure", "failure_more", "uncertain",
         "uncertain_more", "truthful"), 0,
    )  # fmt: skip
    return {"contender": contender, "setup": setup, "deduped": False, "events": 1000, **usual, **counts}


def made(**changed: float) -> Result:
    """Make a result in which everything was measured."""
    imports = {name: "httpx" if "httpx" in name else name.split(",")[0] for name in LOOPS} | {
        "floor: bare": "httptools"
    }
    facts = {
        "command": "python -m benchmarks --full", "started": "2026-11-24T10:00:00+00:00", "seconds": 600,
        "machine": {
            "processor": "a processor", "cores": 2, "memory_gb": 8, "system": "Linux 6", "python": "CPython 3.11.7",
            "load_before": 0.1, "client_core": 0, "server_core": 1,
        },
        "versions": {"httpx": "0.28.1"}, "skipped": {"stripe": "stripe is not installed"},
        "loops": LOOPS, "imports": imports,
    }  # fmt: skip
    rows = {
        "cost": cost_rows(**changed),
        "layers": [{"loop": "asyncio", "round": n, "without_us": 9.0, "with_us": 15.0} for n in range(3)],
        "delivery": [
            delivery_row("refold_async", "defaults", fired_once=950, unfired=50, uncertain=100, truthful=1000),
            delivery_row("openai", "defaults", fired_once=930, fired_more=60, unfired=10, truthful=940),
            delivery_row("httpx", "defaults", fired_once=930, unfired=70, fired_as_failure=70, truthful=930),
        ],
        "pacing": [
            {"contender": "refold_async", "setup": "defaults", "events": 600, "seconds": 29.9, "fired": 600,
             "throttled": 0, "share": 1.003},
            {"contender": "fast", "setup": "AsyncLimiter(20, 1)", "events": 600, "seconds": 29.0, "fired": 579,
             "throttled": 21, "share": 0.998},
            {"contender": "slow", "setup": "POST retried", "events": 600, "seconds": 90.0, "fired": 590,
             "throttled": 800, "share": 0.328},
        ],
        "batches": [
            {"way": way, "items": items, "round": n, "rate": rate, "cpu_us": 1e6 / rate, "peak_bytes": peak * items,
             "ahead": ahead, "seconds": items / rate}
            for items in (1_000, 10_000) for n in range(2)
            for way, rate, peak, ahead in (("trigger_many", 12_000.0 + n, 4_000, 20),
                                           ("trigger_stream", 9_000.0 + n, 3_000, 20),
                                           ("gather + semaphore", 10_000.0 + n, 5_000, items))
        ],
        "imports": [
            {"imports": module, "round": n, "milliseconds": cost + n}
            for module, cost in (("httpx", 30.0), ("refold_async", 60.0), ("aiohttp", 100.0), ("httptools", 1.0))
            for n in range(3)
        ],
        "mock": [{"round": 0, "rate": 40_000.0, "cpu_us": 14.0}],
    }  # fmt: skip
    return Result(facts, rows)


def test_ratios_are_taken_within_each_round_so_that_the_machines_mood_cancels_out() -> None:
    rows = [
        {"contender": name, "level": 1, "round": number, "cpu_us": cost * mood}
        for number, mood in enumerate((1.0, 3.0, 0.5))
        for name, cost in (("ours", 50.0), ("theirs", 100.0))
    ]
    ratio = Result(rows={"cost": rows}).ratios("cpu_us", {"contender": "ours"}, {"contender": "theirs"})
    assert ratio == Spread((0.5, 0.5, 0.5))


def test_where_a_contender_beats_us_the_text_says_so() -> None:
    said = "\n".join(findings.ahead(made(aiohttp=45.0)))
    assert "aiohttp costs less CPU than refold_async at 1 (× 0.50), 10 (× 0.50), 100 (× 0.50) and 500" in said
    assert "aiohttp does more a second than refold_async at 1 (× 2.00)" in said
    said = "\n".join(findings.ahead(made()))
    assert "No other client here costs less CPU than refold_async, at any level." in said
    assert "Faster to import: httpx (31 ms)." in said
    assert "floor" not in said


def test_what_lies_within_the_spread_is_said_to() -> None:
    result = made(aiohttp=89.0)
    for row in result.rows["cost"]:
        if row["contender"] == "aiohttp" and row["round"] == 0:
            row["cpu_us"] *= 1.1
    assert "at 1 (× 0.99, within the spread)" in "\n".join(findings.ahead(result))


def test_the_server_is_named_when_it_is_the_bottleneck() -> None:
    assert "It was the bottleneck for floor: bare" in "\n".join(findings.floor(made()))
    calm = made()
    for row in calm.rows["cost"]:
        row["server_share"] = 0.3
    assert "never the bottleneck" in "\n".join(findings.floor(calm))


def test_delivery_says_who_doubled_who_misreported_and_who_got_more_through() -> None:
    said = "\n".join(findings.delivery(made()))
    assert "refold_async with its defaults reported 1,000 truthfully, 100 of them as uncertain" in said
    assert "Fired twice or more: openai (60)." in said
    assert "Fired, though reported as a failure: httpx (70)." in said
    assert "none, with any client" in said
    assert "in more events than with refold_async's defaults (950)" in said
    assert "may have fired: openai (990)." in said


def test_pacing_and_batches_say_where_we_are_behind() -> None:
    said = "\n".join([*findings.pacing(made()), *findings.batches(made())])
    assert (
        "fast with AsyncLimiter(20, 1) was done sooner (29.0 s), by giving up 21 events after 21 answers of 429."
        in said
    )
    assert "slow with POST retried took 90.0 s" in said
    assert "`trigger_stream` does 0.90 × the items a second of `asyncio.gather` with a semaphore (less)" in said


def test_claims_hold_or_do_not() -> None:
    by_text = {claim.text: claim for claim in claims(made())}
    assert by_text["CPU of a trigger ÷ aiohttp's post + json(), at 100"].holds
    assert by_text["limiter and retry layers together, a call"].measured.median == pytest.approx(6.0)
    slower = {claim.text: claim for claim in claims(made(**{"refold_async, as it comes": 130.0}))}
    assert not slower["CPU of a trigger ÷ aiohttp's post + json(), at 100"].holds
    assert not slower["requests a second ÷ stock httpx's post, at 100"].holds


def test_a_failed_contender_and_a_skipped_one_are_in_the_page() -> None:
    result = made()
    result.rows["cost"].append({"contender": "frail", "level": 1, "round": 0, "failed": "crashed (signal 9): silently"})
    page = report.details(result)
    assert "Failed in cost: frail, 1: crashed (signal 9): silently." in page
    assert "Skipped: stripe, because stripe is not installed." in page
    assert "frail" in tables.cpu(result), "it has a row of dashes"


def test_two_runs_that_differ_by_noise_are_the_same_and_a_change_is_named() -> None:
    assert list(compare.changes(made(), made())) == []
    assert list(compare.changes(made(), made(refold_async=90.5))) == []
    changed = {change.label: change for change in compare.changes(made(), made(refold_async=135.0))}
    assert not changed["refold_async, at 100: CPU ÷ aiohttp's"].better
    assert "× 1.50" in str(changed["refold_async, at 100: CPU ÷ aiohttp's"])
    assert not changed["refold_async, at 100: requests a second ÷ aiohttp's"].better
    assert all("refold_async" in label for label in changed)
    changed = {change.label: change for change in compare.changes(made(), made(refold_async=45.0))}
    assert changed["refold_async, at 10: CPU ÷ aiohttp's"].better


def test_a_machine_that_is_slower_throughout_changes_nothing() -> None:
    slower = made(**{name: cost * 2 for name, cost in CPU.items()})
    assert list(compare.changes(made(), slower)) == []


def test_more_doubled_events_are_a_change_beyond_the_root_of_the_count() -> None:
    new = made()
    new.rows["delivery"][0] |= {"fired_more": 3}
    new.rows["delivery"][1] |= {"fired_more": 65}
    [change] = compare.changes(made(), new)
    assert (change.label, change.better) == ("refold_async: defaults, fired twice or more, of 1,000", False)


def test_what_only_one_of_two_runs_has_is_listed() -> None:
    new = made()
    del new.rows["batches"]
    new.rows["cost"].append({"contender": "frail", "level": 1, "round": 0, "failed": "hung: killed after 60 s"})
    said = list(compare.missing(made(), new))
    assert any(line.startswith("only in the old one: trigger_many") for line in said)
    assert "failed in the new one: cost: frail: hung: killed after 60 s" in said


def test_a_result_survives_being_written_and_read(tmp_path: Path) -> None:
    made().save(tmp_path / "result.json")
    again = Result.load(tmp_path / "result.json")
    assert again.facts == made().facts
    assert report.details(again) == report.details(made())
    (tmp_path / "other.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="run it again"):
        Result.load(tmp_path / "other.json")


def test_compare_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made().save(tmp_path / "old.json")
    made(refold_async=135.0).save(tmp_path / "new.json")
    old, new = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    assert command.main(["compare", old, old]) == 0
    assert capsys.readouterr().out == "nothing changed beyond the noise\n"
    assert command.main(["compare", old, new]) == 1
    assert "WORSE  refold_async, at 1: CPU ÷ aiohttp's: 0.90 → 1.35 (× 1.50)" in capsys.readouterr().out
    assert command.main(["compare", new, old]) == 0


def test_report_writes_the_pages_the_charts_and_the_result(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "docs").mkdir()
    for page in report.PAGES:
        (tmp_path / page).write_text((ROOT / page).read_text())
    made().save(tmp_path / "somewhere" / "result.json")
    report.write(tmp_path / "somewhere" / "result.json", tmp_path)
    assert_shows(tmp_path, made())
    again = [path.read_bytes() for path in sorted((tmp_path / "docs").rglob("*.*"))]
    report.write(tmp_path / "docs/benchmarks/result.json", tmp_path)
    assert [path.read_bytes() for path in sorted((tmp_path / "docs").rglob("*.*"))] == again, "it is reproducible"


def test_charts_are_drawn_for_light_and_dark_pages(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.charts import CHARTS, draw

    drawn = draw(made(), tmp_path)
    assert {path.name for path in drawn} == {f"{name}-{theme}.svg" for name in CHARTS for theme in ("light", "dark")}
    texts = {path.name: ElementTree.parse(path).getroot() for path in drawn}
    assert "refold_async" in "".join(texts["cost-light.svg"].itertext())
    assert "90.0 µs  (0.90 ×)" in "".join(texts["cost-dark.svg"].itertext())
    assert "60.0 not told truthfully" in "".join(texts["delivery-light.svg"].itertext())


def assert_shows(root: Path, result: Result | None) -> None:
    for page, content in report.PAGES.items():
        text = (root / page).read_text()
        assert report.page_with(text, content(result)) == text, f"write {page} anew: python -m benchmarks report"
        for line in content(result).splitlines():
            if line.startswith("<picture>"):
                for name in line.split('"')[3], line.split('"')[-2]:
                    assert ((root / page).parent / name).exists(), name


def test_the_pages_show_what_was_committed() -> None:
    assert_shows(ROOT, report.committed())


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="0 blocks"):
        report.page_with("no marks", "block")


def test_the_commands_in_the_docs_are_understood() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    lines = text.partition("```shell\n")[2].partition("```")[0].splitlines()
    assert len(lines) > 3
    for line in lines:
        assert line.startswith("python -m benchmarks")
        command.parser().parse_args(shlex.split(line)[3:])
