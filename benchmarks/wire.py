"""What is asked of the core, line by line: a ratio or a quantity, and its bar. `python -m benchmarks wire`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from attrs import evolve, frozen
from tabulate import tabulate

from .contenders import LOOPS
from .contenders.refold import NAME, with_option
from .measurements import cost
from .measurements.cost import Case
from .results import Result, Spread

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

LINES: Final = tuple(line.key for line in RATIOS)


@frozen
class Verdict:
    """A line that was measured, or could not be.

    :ivar detail: what was divided, or why it was not measured.
    """

    text: str
    loop: str
    measured: Spread | None
    most: float
    unit: str
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the bar."""
        return self.measured is not None and self.measured.median <= self.most


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
    """Measure what the lines need: CPU time, or instructions."""
    needed = cases(keys, loops)
    if counted:
        return Result(rows={"instructions": list(cost.instructions(needed, say))})
    return Result(rows={"cost": cost.run(needed, rounds=rounds, seconds=seconds, say=say)})


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
            yield Verdict(line.text, loop, result.ratio(measurement, what, *sides), line.most, "×", detail)


def table(found: Collection[Verdict]) -> str:
    """Return the lines as a table."""
    rows: list[Any] = []
    for line in found:
        measured = line.measured
        shown = "–" if measured is None else f"{measured.median:.2f} {line.unit}"
        spread = "" if measured is None or len(measured.values) < 2 else f"{measured.low:.2f} to {measured.high:.2f}"
        rows.append((line.text, line.loop, shown, spread, f"{line.most:g}", "yes" if line.holds else "NO", line.detail))
    drawn: str = tabulate(
        rows,
        ("at 100 concurrent", "loop", "median", "range", "at most", "holds", "medians"),
        tablefmt="github",
        disable_numparse=True,
        colalign=("left", "left", "right", "left", "right", "left", "left"),
    )
    return drawn
