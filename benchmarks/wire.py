"""What is asked of the core, line by line: a ratio or a quantity, with the most that it may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import inf
from typing import Any, Final

from attrs import evolve, field, frozen
from tabulate import tabulate

from .contenders import LOOPS
from .contenders.refold import NAME, with_option
from .measurements import cost, memory, mock, start
from .measurements.cost import Case
from .results import Result, Row, Spread

ROWS: Final = 3000
OURS: Final = Case(NAME)
AIOHTTP: Final = Case("aiohttp")
CALLERS: Final = evolve(OURS, rows=ROWS)
"""The same callers in a loop, measured from the first call to the last, as batches are."""


@frozen
class Ratio:
    """The CPU of one case divided by that of another, on each event loop."""

    text: str
    most: float
    ours: Case
    theirs: Case


@frozen
class Quantity:
    """Something that is measured by itself.

    :ivar measurement: its name in the result; `where` are the fields of its rows, and `what` is the one that counts.
    :ivar least: the least of the rounds is what counts, rather than their median.
    """

    text: str
    most: float
    unit: str
    measurement: str
    what: str
    where: Row = field(factory=dict)
    least: bool = False


KEYED: Final = Case(with_option("window, key, account"))
LINES: Final[dict[str, Ratio | Quantity]] = {
    "trigger": Ratio("a trigger ÷ aiohttp's post and json", 0.35, OURS, AIOHTTP),
    "keyed": Ratio("… with a window, and a key, an account and a payload of its own", 0.45, KEYED, AIOHTTP),
    "tls": Ratio("… over TLS ÷ aiohttp over TLS", 0.45, evolve(OURS, tls=True), evolve(AIOHTTP, tls=True)),
    "pyreqwest": Ratio("a trigger ÷ pyreqwest's post and json", 0.85, OURS, Case("pyreqwest")),
    "floor": Ratio("a trigger ÷ the floor", 2.0, OURS, Case("floor")),
    "level": Ratio("a trigger at 500 concurrent ÷ at 10", 1.1, evolve(OURS, level=500), evolve(OURS, level=10)),
    "hook": Ratio("a hook that returns at once ÷ none", 1.3, Case(with_option("hook")), OURS),
    "before_send": Ratio("a before_send that returns at once ÷ none", 1.3, Case(with_option("before_send")), OURS),
    "many": Ratio("a row of trigger_many ÷ a trigger by 100 callers in a loop", 1.25,
                  Case(with_option("trigger_many"), rows=ROWS), CALLERS),
    "stream": Ratio("a row of trigger_stream ÷ a trigger by 100 callers in a loop", 1.4,
                    Case(with_option("trigger_stream"), rows=ROWS), CALLERS),
    "memory": Quantity("memory of a queued trigger beyond its bare task", 600, "bytes", "memory", "beyond"),
    "import": Quantity(f"import {NAME} beyond httpx and asyncio, least of 20", 20, "ms", "imports", "cpu_ms",
                       least=True),
    "second-client": Quantity("RefoldClient() for the second time in a process", 1, "ms", "clients", "cpu_ms",
                              {"program": start.SECOND}, least=True),
    "http-client": Quantity("RefoldClient() for http://", 1, "ms", "clients", "cpu_ms", {"program": start.HTTP},
                            least=True),
    "mock": Quantity("MockRefold, CPU of a request with the ledger on", 20, "µs", "mock", "cpu_us"),
}  # fmt: skip

MEASURES: Final[dict[str, Callable[[], list[Row]]]] = {
    "memory": lambda: memory.run(rounds=3),
    "imports": lambda: start.imports(NAME, after="httpx", rounds=20),
    "clients": lambda: start.clients(rounds=5),
    "mock": lambda: mock.run(rounds=5, requests=5000),
}
"""How the quantities are measured, by their name in the result."""


@frozen
class Verdict:
    """A line that was measured, or could not be.

    :ivar value: the number that is held against the bar; infinite where nothing was measured.
    :ivar detail: what was divided, or why it was not measured.
    """

    line: Ratio | Quantity
    loop: str
    measured: Spread | None
    value: float
    detail: str

    @property
    def holds(self) -> bool:
        """Whether what counts keeps to the bar."""
        return self.value <= self.line.most


def cases(keys: Collection[str], loops: Collection[str]) -> list[Case]:
    """Return what the lines need, each case once, and the two of a line next to each other."""
    ratios = [line for key, line in LINES.items() if key in keys and isinstance(line, Ratio)]
    needed = [evolve(case, loop=loop) for loop in loops for line in ratios for case in (line.theirs, line.ours)]
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
    lines = [LINES[key] for key in keys]
    for name in dict.fromkeys(line.measurement for line in lines if isinstance(line, Quantity)):
        say(f"{name} …")
        found[name] = MEASURES[name]()
    return Result(rows=found)


def verdicts(result: Result, keys: Collection[str], *, counted: bool = False) -> Iterator[Verdict]:
    """Hold what was measured against the bars."""
    lines = [line for key, line in LINES.items() if key in keys]
    measured_on = {row["loop"] for name in ("cost", "instructions") for row in result.rows.get(name, [])}
    for loop in (each for each in LOOPS if each in measured_on):
        yield from (_ratio(result, line, loop, counted) for line in lines if isinstance(line, Ratio))
    for line in lines:
        if isinstance(line, Quantity) and line.measurement in result.rows:
            spread = result.spread(line.measurement, line.what, **line.where)
            value = inf if spread is None else spread.low if line.least else spread.median
            yield Verdict(line, "", spread, value, "" if spread else result.why(line.measurement, line.where))


def _ratio(result: Result, line: Ratio, loop: str, counted: bool) -> Verdict:
    measurement, what, unit, scale = (
        ("instructions", "instructions", "k", 1e-3) if counted else ("cost", "cpu_us", "µs", 1.0)
    )
    sides = [evolve(case, loop=loop).as_row() for case in (line.ours, line.theirs)]
    ratio = result.ratio(measurement, what, *sides)
    found = [result.spread(measurement, what, **side) for side in sides]
    detail = " ÷ ".join(
        f"{spread.median * scale:.1f} {unit}" if spread else result.why(measurement, side)
        for spread, side in zip(found, sides, strict=True)
    )
    return Verdict(line, loop, ratio, ratio.median if ratio else inf, detail)


def table(found: Collection[Verdict]) -> str:
    """Return the lines as a table."""
    rows: list[Any] = []
    for verdict in found:
        spread, unit = verdict.measured, getattr(verdict.line, "unit", "×")
        rows.append(
            (
                verdict.line.text,
                verdict.loop,
                "–" if spread is None else f"{figure(verdict.value)} {unit}",
                "" if spread is None else f"{figure(spread.low)} to {figure(spread.high)}",
                f"{verdict.line.most:g}",
                "yes" if verdict.holds else "NO",
                verdict.detail,
            )
        )
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
