"""What is asked of the core, line by line: a ratio or a quantity, with the most that it may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import inf
from typing import Any, Final

from attrs import evolve, frozen
from tabulate import tabulate

from .contenders import LOOPS
from .contenders.refold import NAME, with_option
from .measurements import cost, memory, mock, start
from .measurements.cost import Case
from .results import Result, Row, Spread

ROWS: Final = 3000
OURS: Final = Case(NAME)
CALLERS: Final = evolve(OURS, rows=ROWS)
"""The same callers in a loop, measured from the first call to the last, as batches are."""


@frozen
class Ratio:
    """The CPU of one case divided by that of another, on each event loop."""

    key: str
    text: str
    most: float
    ours: Case
    theirs: Case


RATIOS: Final = (
    Ratio("trigger", "a trigger ÷ aiohttp's post and json", 0.35, OURS, Case("aiohttp")),
    Ratio(
        "keyed",
        "… with a window, and a key, an account and a payload of its own",
        0.45,
        Case(with_option("window, key, account")),
        Case("aiohttp"),
    ),
    Ratio("tls", "… over TLS ÷ aiohttp over TLS", 0.45, evolve(OURS, tls=True), Case("aiohttp", tls=True)),
    Ratio("pyreqwest", "a trigger ÷ pyreqwest's post and json", 0.85, OURS, Case("pyreqwest")),
    Ratio("floor", "a trigger ÷ the floor", 2.0, OURS, Case("floor")),
    Ratio("level", "a trigger at 500 concurrent ÷ at 10", 1.1, evolve(OURS, level=500), evolve(OURS, level=10)),
    Ratio("hook", "a hook that returns at once ÷ none", 1.3, Case(with_option("hook")), OURS),
    Ratio("before_send", "a before_send that returns at once ÷ none", 1.3, Case(with_option("before_send")), OURS),
    Ratio("many", "a row of trigger_many ÷ a trigger by 100 callers in a loop", 1.25,
          Case(with_option("trigger_many"), rows=ROWS), CALLERS),
    Ratio("stream", "a row of trigger_stream ÷ a trigger by 100 callers in a loop", 1.4,
          Case(with_option("trigger_stream"), rows=ROWS), CALLERS),
)  # fmt: skip


@frozen
class Quantity:
    """Something that is measured by itself.

    :ivar measurement: its name in the result, and `where` the fields of its rows; `what` is the field that counts.
    :ivar least: the least of the rounds is what counts, rather than their median.
    """

    key: str
    text: str
    most: float
    unit: str
    measurement: str
    where: dict[str, Any]
    what: str
    least: bool = False


QUANTITIES: Final = (
    Quantity("memory", "memory of a queued trigger beyond its bare task", 600, "bytes", "memory", {}, "beyond"),
    Quantity("import", f"import {NAME} beyond httpx and asyncio, least of 20", 20, "ms",
             "imports", {"program": NAME, "after": "httpx"}, "cpu_ms", least=True),
    Quantity("second-client", "RefoldClient() for the second time in a process", 1, "ms",
             "clients", {"program": start.SECOND}, "cpu_ms", least=True),
    Quantity("http-client", "RefoldClient() for http://", 1, "ms",
             "clients", {"program": start.HTTP}, "cpu_ms", least=True),
    Quantity("mock", "MockRefold, CPU of a request with the ledger on", 20, "µs", "mock", {}, "cpu_us"),
)  # fmt: skip

QUANTITIES_OF: Final[dict[str, Callable[[], list[Row]]]] = {
    "memory": lambda: memory.run(rounds=3),
    "imports": lambda: start.imports([NAME], rounds=20, after="httpx"),
    "clients": lambda: start.clients(rounds=5),
    "mock": lambda: mock.run(rounds=5, requests=5000),
}
LINES: Final = (*(line.key for line in RATIOS), *(line.key for line in QUANTITIES))


@frozen
class Verdict:
    """A line that was measured, or could not be.

    :ivar value: the number that is held against the bar; infinite where nothing was measured.
    :ivar detail: what was divided, or why it was not measured.
    """

    text: str
    loop: str
    measured: Spread | None
    value: float
    most: float
    unit: str
    detail: str

    @property
    def holds(self) -> bool:
        """Whether what counts keeps to the bar."""
        return self.value <= self.most


def cases(keys: Collection[str], loops: Collection[str]) -> list[Case]:
    """Return what the lines need, each case once, and the two of a line next to each other."""
    needed = [
        evolve(case, loop=loop)
        for loop in loops
        for line in RATIOS
        if line.key in keys
        for case in (line.theirs, line.ours)
    ]
    return list(dict.fromkeys(needed))


def measure(
    keys: Collection[str],
    loops: Collection[str],
    *,
    rounds: int,
    seconds: float,
    counted: bool,
    say: Callable[[str], object],
) -> Result:
    """Measure what the lines need: CPU time and quantities, or instructions only."""
    needed = cases(keys, loops)
    if counted:
        return Result(rows={"instructions": cost.instructions(needed, say)})
    found = {"cost": cost.run(needed, rounds=rounds, seconds=seconds, say=say)} if needed else {}
    for name in dict.fromkeys(line.measurement for line in QUANTITIES if line.key in keys):
        say(f"{name} …")
        found[name] = QUANTITIES_OF[name]()
    return Result(rows=found)


def verdicts(result: Result, keys: Collection[str], *, counted: bool = False) -> Iterator[Verdict]:
    """Hold what was measured against the bars."""
    measurement, what, unit = ("instructions", "instructions", "k") if counted else ("cost", "cpu_us", "µs")
    measured_on = {row["loop"] for row in result.rows.get(measurement, [])}
    for loop in (each for each in LOOPS if each in measured_on):
        for line in (each for each in RATIOS if each.key in keys):
            sides = [evolve(case, loop=loop).as_row() for case in (line.ours, line.theirs)]
            found = [result.spread(measurement, what, **side) for side in sides]
            if all(found):
                scale = 1e3 if counted else 1.0
                detail = " ÷ ".join(f"{spread.median / scale:.1f} {unit}" for spread in found if spread)
            else:
                detail = next(
                    (row["failed"] for _, row in result.failures() if any(row.items() >= s.items() for s in sides)),
                    "not installed",
                )
            ratio = result.ratio(measurement, what, *sides)
            yield Verdict(line.text, loop, ratio, ratio.median if ratio else inf, line.most, "×", detail)
    for quantity in (each for each in QUANTITIES if each.key in keys and each.measurement in result.rows):
        spread = result.spread(quantity.measurement, quantity.what, **quantity.where)
        value = inf if spread is None else spread.low if quantity.least else spread.median
        detail = (
            "" if spread else next(row["failed"] for name, row in result.failures() if name == quantity.measurement)
        )
        yield Verdict(quantity.text, "", spread, value, quantity.most, quantity.unit, detail)


def table(found: Collection[Verdict]) -> str:
    """Return the lines as a table."""
    rows: list[Any] = []
    for line in found:
        measured = line.measured
        shown = "–" if measured is None else f"{figure(line.value)} {line.unit}"
        spread = (
            "" if measured is None or len(measured.values) < 2 else f"{figure(measured.low)} to {figure(measured.high)}"
        )
        rows.append((line.text, line.loop, shown, spread, f"{line.most:g}", "yes" if line.holds else "NO", line.detail))
    drawn: str = tabulate(
        rows,
        ("at 100 concurrent", "loop", "measured", "range", "at most", "holds", "medians"),
        tablefmt="github",
        disable_numparse=True,
        colalign=("left", "left", "right", "left", "right", "left", "left"),
    )
    return drawn


def figure(value: float) -> str:
    """Write a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
