"""From the raw results to the page: every number in its two blocks is made here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import asdict
from tabulate import tabulate

from .real import CASES, Found
from .simulation import Measured

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = Path("docs/several-processes.md")
COMMITTED: Final = Path("docs/benchmarks")
"""The folder of the results that the page shows, and of their charts."""

REAL: Final = "fleet.json"
SIMULATED: Final = "fleet-simulated.json"

MARKS: Final = {
    REAL: ("<!-- fleet: written by `python -m benchmarks fleet --docs` -->", "<!-- end of fleet -->"),
    SIMULATED: (
        "<!-- simulated fleet: written by `python -m benchmarks fleet --simulate --docs` -->",
        "<!-- end of simulated fleet -->",
    ),
}


def save(path: Path, facts: dict[str, Any], runs: dict[str, list[Found]] | dict[str, list[Measured]]) -> None:
    """Write the raw result: what has to be known of the run, and each run of each case, the best first."""
    lines = (
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(asdict(each)) for each in found) + "\n]"
        for name, found in runs.items()
    )
    path.write_text(f'{{"facts": {json.dumps(facts, indent=1)},\n"cases": {{\n' + ",\n".join(lines) + "\n}}\n")


def load(path: Path) -> dict[str, Any]:
    """Read a raw result."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def digest(path: Path) -> str:
    """Return what tells the result that a chart was drawn from."""
    return sha256(path.read_bytes()).hexdigest()[:16]


def real(result: dict[str, Any]) -> dict[str, Found]:
    """Return the best run of each case."""
    return {
        name: Found(**(runs[0] | {"measured": Measured(**runs[0]["measured"])}))
        for name, runs in result["cases"].items()
    }


def simulated(result: dict[str, Any]) -> dict[str, Measured]:
    """Return what was simulated."""
    return {name: Measured(**runs[0]) for name, runs in result["cases"].items()}


def blocks(folder: Path) -> dict[str, str]:
    """Return both blocks of the page, made from the results in a folder."""
    return {
        REAL: _real_block(load(folder / REAL)),
        SIMULATED: _simulated_block(load(folder / SIMULATED)),
    }


def page_with(page: str, block: str, which: str) -> str:
    """Put a block in the place of the one between its marks.

    :raises ValueError: when the page has not got exactly one.
    """
    start, end = MARKS[which]
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"{page.count(start)} blocks for {which} in the page: it needs one")
    return page.partition(start)[0] + f"{start}\n\n{block}\n\n{end}" + page.partition(end)[2]


def write(which: str, root: Path = ROOT) -> Path:
    """Write one block of the page, from the committed result."""
    path = root / PAGE
    path.write_text(page_with(path.read_text(), blocks(root / COMMITTED)[which], which))
    return path


def _real_block(result: dict[str, Any]) -> str:
    facts = result["facts"]
    machine = facts["machine"]
    found = real(result)
    asked = {case.name: case.problems(found[case.name]) for case in CASES if case.name in found}
    rows = [
        (
            name,
            f"{each.measured.share:.2f}",
            each.measured.throttled,
            f"{each.measured.fairness:.3f}",
            f"{each.measured.longest_wait:.1f} s",
            f"{each.measured.calls_per_grant:.1f}",
        )
        for name, each in found.items()
    ]
    outages = [
        (
            name,
            "–" if each.outage_share is None else f"{each.outage_share:.2f}",
            each.measured.throttled,
            f"{each.blocked:.2f} s",
            f"{each.back_after:.1f} s",
        )
        for name, each in found.items()
        if any(case.name == name and case.disturb is not None for case in CASES)
    ]
    failed = [f"- {name}: {problem}" for name, problems in asked.items() for problem in problems]
    how = (
        f"{facts['processes']} processes with {facts['waiters']} callers each, {facts['seconds']:g} s, the best of "
        f"{facts['runs']}; the longest fair wait is {facts['processes'] * facts['waiters'] / 20:.1f} s. Made on "
        f"{facts['date']} on {machine['processor']}, {machine['cores']} cores (load before: "
        f"{machine['load_before']:.1f}), {machine['python']}, with {_listed(facts['versions'])}. The raw result: "
        "[fleet.json](benchmarks/fleet.json)."
    )
    return "\n\n".join(
        [
            how,
            _table(rows, ("", "share of the rate", "429s", "fairness", "longest wait", "questions an event")),
            "![Share of the rate and 429s of each limiter](benchmarks/fleet.svg)",
            "While the server is away:",
            _table(
                outages, ("", "share in the outage", "429s", "longest wait for the server", "shared again after")
            ),
            "What is asked of these and did not hold:\n\n" + "\n".join(failed)
            if failed
            else "All that is asked of these held.",
        ]
    )  # fmt: skip


def _simulated_block(result: dict[str, Any]) -> str:
    by_size: dict[int, list[Measured]] = {}
    trips: set[float] = set()
    for name, each in simulated(result).items():
        words = name.split()
        if len(words) == 5 and words[1] == "processes,":
            by_size.setdefault(int(words[0]), []).append(each)
            trips.add(float(words[2]))
    rows = [
        (
            f"{size:,}",
            _range([each.share for each in found], ".2f"),
            _range([each.throttled for each in found], "d"),
            _range([each.longest_wait for each in found], ".0f") + " s",
            _range([each.calls_per_second for each in found], ".0f"),
        )
        for size, found in sorted(by_size.items())
    ]
    where = f"{min(trips):g}–{max(trips):g} ms"
    return (
        _table(rows, ("processes", f"share of the rate, {where} to the server", "429s a minute", "longest wait",
                      "questions a second"))
        + "\n\n![Share, 429s, fairness, waits and questions as a fleet grows](benchmarks/fleet-simulated.svg)"
    )  # fmt: skip


def _range(values: list[Any], form: str) -> str:
    lowest, highest = f"{min(values):{form}}", f"{max(values):{form}}"
    return lowest if lowest == highest else f"{lowest}–{highest}"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _table(rows: Iterable[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
