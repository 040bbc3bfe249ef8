"""The claims about refold_async's own wire, each with what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from .profiles import LOOPS
from .results import Result, Spread

DEFAULT: Final = "refold_async, as it comes"


@frozen
class Claim:
    """A ratio, or a cost, and what it has to be."""

    text: str
    loop: str
    measured: Spread
    bound: float
    at_least: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the bound."""
        value = self.measured.median
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def asked(self) -> str:
        """The bound, as it is written."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def __str__(self) -> str:
        value, low, high = self.measured.median, self.measured.low, self.measured.high
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.text:<52} {value:7.2f} {self.unit} ({low:.2f} to {high:.2f})   {self.asked}: {verdict}"


def claims(result: Result) -> Iterator[Claim]:
    """Turn the samples of a result into claims; those that it has no samples for are left out."""
    for loop in LOOPS:
        behind = "" if loop == "asyncio" else f" on {loop}"
        default, equal = {"contender": DEFAULT + behind}, {"contender": f"refold_async{behind}"}
        aiohttp, httpx = {"contender": f"aiohttp{behind}"}, {"contender": f"httpx{behind}"}
        hundred = {"level": 100}
        asked = [
            ("CPU of a trigger ÷ aiohttp's post + json(), at 100", "cpu_us", default, hundred, aiohttp, hundred, 1.0),
            ("the same, with as many connections as aiohttp has", "cpu_us", equal, hundred, aiohttp, hundred, 1.0),
            ("requests a second ÷ stock httpx's post, at 100", "rate", default, hundred, httpx, hundred, 10.0),
            ("CPU of a trigger at 500 ÷ at 10", "cpu_us", default, {"level": 500}, default, {"level": 10}, 1.3),
        ]
        for text, what, ours, our_level, theirs, their_level, bound in asked:
            measured = result.ratios(what, ours | our_level, theirs | their_level)
            if measured is not None:
                yield Claim(text, loop, measured, bound, at_least=what == "rate")
        added = [row["with_us"] - row["without_us"] for row in result.of("layers", loop=loop)]
        if added:
            yield Claim("limiter and retry layers together, a call", loop, Spread(tuple(added)), 12.0, unit="µs")
