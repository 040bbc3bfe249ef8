"""What changed from one result to another, beyond the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import frozen

from .results import Result, Spread
from .tables import USUAL, baseline, figure

LEAST = 0.05
"""A change of less than this is not worth a line, however quiet the machine was."""

LEAST_OF_ONE = 0.10
"""The same for what was measured once, and so says nothing of its noise."""


@frozen
class Series:
    """One thing that was measured in several rounds."""

    label: str
    measured: Spread
    more_is_better: bool = False


@frozen
class Change:
    """A difference that is larger than the noise."""

    label: str
    old: float
    new: float
    better: bool

    def __str__(self) -> str:
        word = "better" if self.better else "WORSE"
        factor = f" (× {figure(self.new / self.old)})" if self.old and self.new else ""
        return f"{word:<7}{self.label}: {figure(self.old)} → {figure(self.new)}{factor}"


def series(result: Result) -> Iterator[Series]:
    """Give all that is comparable between runs: ratios to bare aiohttp, because machines and their moods differ."""
    levels = sorted({row["level"] for row in result.of("cost")})
    for name in result.names("cost"):
        for level in levels:
            for what, label in (("cpu_us", "CPU"), ("rate", "requests a second"), ("p99", "p99 latency")):
                ours = {"contender": name, "level": level}
                ratio = result.ratios(what, ours, {"contender": baseline(result, name), "level": level})
                if ratio is not None and name != baseline(result, name):
                    yield Series(f"{name}, at {level}: {label} ÷ aiohttp's", ratio, what == "rate")
        memory = result.spread("cost", "peak_bytes", contender=name)
        if memory is not None:
            yield Series(f"{name}: peak memory, MB", Spread((memory.high / 1e6,)))
    yield from _others(result)


def _others(result: Result) -> Iterator[Series]:
    base = result.spread("imports", "milliseconds", imports="httpx")
    for module in result.names("imports", by="imports"):
        measured = result.spread("imports", "milliseconds", imports=module)
        if measured is not None and base is not None and module != "httpx":
            scaled = tuple(value / base.median for value in measured.values)
            yield Series(f"import {module} ÷ import httpx", Spread(scaled))
    for loop in ("asyncio", "uvloop"):
        added = tuple(row["with_us"] / row["without_us"] for row in result.of("layers", loop=loop))
        if added:
            yield Series(f"limiter and retry layers, {loop}: CPU with ÷ without", Spread(added))
    for row in result.of("batches", round=0):
        way, items = row["way"], row["items"]
        cost = result.spread("batches", "cpu_us", way=way, items=items)
        usual = result.spread("batches", "cpu_us", way=USUAL, items=items)
        if cost is not None and usual is not None and way != USUAL:
            scaled = tuple(value / usual.median for value in cost.values)
            yield Series(f"{way}, {items:,} items: CPU ÷ that of {USUAL}", Spread(scaled))


def changes(old: Result, new: Result) -> Iterator[Change]:
    """Give the differences beyond the noise.

    The noise of what was measured in rounds is their range: a change is one that leaves the ranges of the two runs
    further apart than the wider of them is wide, and is more than 5 %. What was measured once has to differ by 10 %.
    What was counted once, such as events that fired twice, varies by about the root of the count: a change is one of
    more than two roots.
    """
    before = {each.label: each for each in series(old)}
    for now in series(new):
        then = before.get(now.label)
        if then is None or _alike(then.measured, now.measured):
            continue
        a, b = then.measured.median, now.measured.median
        if a and abs(b / a - 1) >= LEAST:
            yield Change(now.label, a, b, better=(b > a) == now.more_is_better)
    yield from _counted(old, new)


def _alike(a: Spread, b: Spread) -> bool:
    if len(a.values) == len(b.values) == 1:
        return abs(b.median - a.median) < LEAST_OF_ONE * abs(a.median)
    apart = max(a.low - b.high, b.low - a.high)
    return apart <= max(a.high - a.low, b.high - b.low)


COUNTED = {"fired_more": "fired twice or more", "lost_as_success": "lost, said to have succeeded",
           "fired_as_failure": "fired, said to have failed", "uncertain": "said to be uncertain"}  # fmt: skip


def _counted(old: Result, new: Result) -> Iterator[Change]:
    before = {(row["contender"], row["setup"]): row for row in old.of("delivery")}
    for row in new.of("delivery"):
        then = before.get((row["contender"], row["setup"]))
        if then is None:
            continue
        scale = row["events"] / then["events"]
        for what, label in COUNTED.items():
            a, b = then[what] * scale, row[what]
            if abs(b - a) > 2 * math.sqrt(max(a, 1) * max(scale, 1)):
                yield Change(f"{row['contender']}: {row['setup']}, {label}, of {row['events']:,}", a, b, better=b < a)


def missing(old: Result, new: Result) -> Iterator[str]:
    """Say what only one of the two has, and what failed in the new one."""
    before, now = ({each.label for each in series(result)} for result in (old, new))
    for label in sorted(before - now):
        yield f"only in the old one: {label}"
    for label in sorted(now - before):
        yield f"only in the new one: {label}"
    for name, row in new.failures():
        yield f"failed in the new one: {name}: {row.get('contender', row.get('way', ''))}: {row['failed']}"
