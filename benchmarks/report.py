"""From a raw result to the pages: every number in them is made here, from the committed result, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve
from tabulate import tabulate

from . import wire
from .contenders import LOOPS
from .contenders.refold import BATCHES, NAME, OPTIONS, with_option
from .measurements.cost import Case
from .results import Result
from .run import LEVELS, LIMITER_OFF, MAIN, OTHERS, OVER_TLS, failure
from .wire import figure

ROOT: Final = Path(__file__).parent.parent
COMMITTED: Final = Path("docs/benchmarks/result.json")
"""The result that the pages show; the charts are beside it."""

START: Final = "<!-- benchmarks: written by `python -m benchmarks report` -->"
END: Final = "<!-- end of benchmarks -->"
GROWTH: Final = "CPU of one call, by how many are in flight"
OPTIONS_CHART: Final = "CPU that each option of refold_async adds to a call"

TEMPLATES: Final = {
    "README.md": f"""{START}

<img alt="{GROWTH}" src="docs/benchmarks/growth.svg">

{{short}}

{END}""",
    "docs/benchmarks.md": f"""{START}

Made by `{{command}}` on {{date}}, in {{seconds}} s, on {{machine}}. Versions: {{versions}}.
The raw result: [result.json](benchmarks/result.json).

## What is asked of the core

{{asked}}

## Cost and speed

{{clients}}

![{GROWTH}](benchmarks/growth.svg)

{{levels}}

## What each option costs

![{OPTIONS_CHART}](benchmarks/options.svg)

{{options}}

## Batches

{{batches}}

## Delivery

{{delivery}}

## Pacing

{{pacing}}

{{failures}}

{END}""",
}

Column = Callable[[Result, Case], str]


def shown(name: str) -> str:
    """Write a contender's name, ours in bold."""
    return name.replace(NAME, f"**{NAME}**", 1)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    sides = ("left", *("right" for _ in headers[1:]))
    drawn: str = tabulate(list(rows), list(headers), tablefmt="github", disable_numparse=True, colalign=sides)
    return drawn


def _cases(first: str, cases: Mapping[str, Case], result: Result, columns: Mapping[str, Column]) -> str:
    """Draw a table with a line for each case."""
    rows = [(label, *(column(result, case) for column in columns.values())) for label, case in cases.items()]
    return _table((first, *columns), rows)


def _median(what: str, measurement: str = "cost", scale: float = 1.0, loop: str = "") -> Column:
    def column(result: Result, case: Case) -> str:
        spread = result.spread(measurement, what, **evolve(case, loop=loop or case.loop).as_row())
        return "–" if spread is None else figure(spread.median * scale)

    return column


def _ratio(reference: Callable[[Case], Case]) -> Column:
    def column(result: Result, case: Case) -> str:
        spread = result.ratio("cost", "cpu_us", case.as_row(), reference(case).as_row())
        if spread is None:
            return "–"
        varied = f" ({figure(spread.low)} to {figure(spread.high)})" if spread.low < spread.high else ""
        return figure(spread.median) + varied

    return column


def _told(*fields: str) -> Column:
    def column(result: Result, case: Case) -> str:
        name = with_option("limiter off") if case.contender == NAME else case.contender
        rows = result.of("delivery", contender=name, deduped=False)
        return f"{sum(rows[0][field] for field in fields):,}" if rows else "–"

    return column


CPU: Final = _median("cpu_us")
INSTRUCTIONS: Final = _median("instructions", "instructions", 1e-3)
AIOHTTP: Final = _ratio(lambda case: evolve(case, contender="aiohttp"))


def clients(result: Result, *, short: bool = False) -> str:
    """Return what a call costs with each client, and what became of the events on a bad network."""
    events = max((row["events"] for row in result.of("delivery")), default=0)
    columns = {
        "CPU of a call, µs": CPU,
        "÷ aiohttp": AIOHTTP,
        "on uvloop, µs": _median("cpu_us", loop="uvloop"),
        "calls a second": _median("rate"),
        f"of {events:,} events on a bad network, fired twice": _told("fired_more"),
        "told wrongly": _told("fired_as_failure", "lost_as_success"),
    }
    if not short:
        columns["thousand instructions"] = INSTRUCTIONS
        columns["p99, ms"] = _median("p99", scale=1e3)
        columns["peak memory, MB"] = _median("peak_bytes", scale=1e-6)
    return _cases("100 calls in flight", {shown(name): Case(name) for name in (*MAIN, *OTHERS)}, result, columns)


def levels(result: Result) -> str:
    """Return the CPU of a call at each level, and its ratio to aiohttp's on the same loop."""

    def at(level: int) -> Column:
        return lambda result, case: (
            f"{CPU(result, evolve(case, level=level))} µs, × {AIOHTTP(result, evolve(case, level=level))}"
        )

    cases = {f"{shown(name)}, {loop}": Case(name, loop) for loop in LOOPS for name in MAIN}
    return _cases("calls in flight", cases, result, {f"{level:,}": at(level) for level in LEVELS})


def option_cases() -> dict[str, tuple[Case, Case]]:
    """Return, for each option, the case that has it and the one that differs by nothing else."""
    with_limiter = Case(NAME)
    found = {"rate limiter": (with_limiter, LIMITER_OFF)}
    found |= {option: (Case(with_option(option)), with_limiter) for option in OPTIONS if option != "limiter off"}
    return found | {"TLS": (OVER_TLS, with_limiter)}


def options(result: Result) -> str:
    """Return what each option costs."""
    without = dict(option_cases().values())
    cases = {"nothing": LIMITER_OFF} | {option: case for option, (case, _) in option_cases().items()}
    columns = {
        "CPU of a call, µs": CPU,
        "÷ without": _ratio(lambda case: without.get(case, case)),
        "thousand instructions": INSTRUCTIONS,
    }
    return _cases("with", cases, result, columns)


def batches(result: Result) -> str:
    """Return what a row costs, each way to send many."""
    count = result.facts["rows"]
    callers = Case(NAME, rows=count)
    cases = {"`trigger` by 100 callers in a loop": callers}
    cases |= {way: Case(with_option(way), rows=count) for way in BATCHES}
    return _cases(
        f"{count:,} rows, 100 in flight",
        cases,
        result,
        {
            "CPU of a row, µs": CPU,
            "÷ callers": _ratio(lambda case: callers),
            "rows a second": _median("rate"),
            "peak memory, MB": _median("peak_bytes", scale=1e-6),
        },
    )


def _fields(result: Result, measurement: str, fields: Mapping[str, str]) -> str:
    """Draw a table with a line for each contender's row."""
    rows = [
        (
            shown(row["contender"]) + (", server drops repeats" if row.get("deduped") else ""),
            *(figure(row[field]) if field == "seconds" else f"{row[field]:,}" for field in fields.values()),
        )
        for row in result.of(measurement)
    ]
    return _table(("client", *fields), rows)


def blocks(result: Result) -> dict[str, str]:
    """Return the block of each page."""
    facts, machine = result.facts, result.facts["machine"]
    failed = [f"- {name}: {failure(row)}" for name, row in result.failures() if row.get("round", 0) == 0]
    told = {
        "events": "events",
        "fired once": "fired_once",
        "fired twice or more": "fired_more",
        "lost, told as success": "lost_as_success",
        "fired, told as failure": "fired_as_failure",
        "told as uncertain": "uncertain",
        "told truthfully": "truthful",
    }
    paced = {"events": "events", "seconds": "seconds", "fired": "fired_once", "responses of 429": "throttled"}
    fields = {
        "asked": wire.table(list(wire.verdicts(result, wire.LINES))),
        "clients": clients(result),
        "short": clients(result, short=True),
        "levels": levels(result),
        "options": options(result),
        "batches": batches(result),
        "delivery": _fields(result, "delivery", told),
        "pacing": _fields(result, "pacing", paced),
        "command": facts["command"],
        "date": facts["started"].partition("T")[0],
        "seconds": facts["seconds"],
        "machine": f"{machine['cores']} cores of {machine['processor']}, {machine['system']}, {machine['python']}",
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "failures": "\n".join(["Not measured:", "", *failed]) if failed else "Nothing failed.",
    }
    return {page: template.format(**fields) for page, template in TEMPLATES.items()}


def page_with(page: str, block: str) -> str:
    """Put a block in the place of the one between the marks.

    :raises ValueError: when the page has not got exactly one.
    """
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"the page has {page.count(START)} blocks for the benchmarks: it needs one")
    return page.partition(START)[0] + block + page.partition(END)[2]


def write(source: Path, root: Path = ROOT) -> list[Path]:
    """Commit to a result: write it, its charts and the pages."""
    from .charts import draw

    result = Result.load(source)
    result.save(root / COMMITTED)
    written = [root / COMMITTED, *draw(result, (root / COMMITTED).parent)]
    for page, block in blocks(result).items():
        path = root / page
        path.write_text(page_with(path.read_text(), block))
        written.append(path)
    return written
