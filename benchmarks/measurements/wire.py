"""The claims about refold_async's own wire, each with what was measured: `python -m benchmarks wire`, under 40 s."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

from attrs import field, frozen

from ..answering import answering_server
from ..contender import Target
from ..contenders._refold import wire_of
from ..process import Worker

LOOPS = {"asyncio": "", "uvloop": "@uvloop"}
TURNS = {"refold_default": (10, 100, 500), "refold_async": (100,), "aiohttp": (100,), "httpx": (100,), "floor": (100,)}
SECONDS = 0.3


@frozen
class Claim:
    """A ratio, or a cost, and what it has to be."""

    text: str
    loop: str
    values: list[float] = field(repr=False)
    bound: float
    at_least: bool = False
    unit: str = "×"

    @property
    def value(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        spread = f"({min(self.values):.2f} to {max(self.values):.2f})"
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return (
            f"{self.loop:<8} {self.text:<62} {self.value:7.2f} {self.unit} {spread:<18} "
            f"{sign} {self.bound:g}: {verdict}"
        )


Samples = dict[tuple[str, int], list[dict[str, Any]]]


def run(
    rounds: int, loops: Collection[str] = tuple(LOOPS)
) -> tuple[dict[str, Samples], dict[str, list[dict[str, Any]]]]:
    """Let the contenders take turns; give the samples of each loop, and those of the layers."""
    samples: dict[str, Samples] = {loop: defaultdict(list) for loop in loops}
    layers: dict[str, list[dict[str, Any]]] = {loop: [] for loop in loops}
    with ExitStack() as stack:
        server = stack.enter_context(answering_server())
        workers = {
            (loop, name): stack.enter_context(Worker("cost", name + LOOPS[loop])) for loop in loops for name in TURNS
        }
        alone = {loop: stack.enter_context(Worker("layers", "refold_async" + LOOPS[loop])) for loop in loops}
        for _ in range(rounds):
            for name, levels in TURNS.items():
                for level in levels:
                    for loop in loops:
                        sample = workers[loop, name].turn(
                            limit=60, url=server.url, server_pid=server.pid, concurrency=level, seconds=SECONDS
                        )
                        samples[loop][name, level].append(sample)
            for loop in loops:
                layers[loop].append(alone[loop].turn(limit=60, calls=3000))
    return samples, layers


def claims(samples: dict[str, Samples], layers: dict[str, list[dict[str, Any]]]) -> Iterator[Claim]:
    """Turn samples into claims; ratios are taken within each round."""
    for loop, measured in samples.items():

        def ratios(ours: tuple[str, int], theirs: tuple[str, int], what: str, of: Samples = measured) -> list[float]:
            return [a[what] / b[what] for a, b in zip(of[ours], of[theirs], strict=True)]

        default, equal = ("refold_default", 100), ("refold_async", 100)
        text = "CPU of a trigger ÷ CPU of aiohttp's post + json(), at 100"
        yield Claim(text, loop, ratios(default, ("aiohttp", 100), "cpu_us"), 1.0)
        yield Claim(
            "the same, with as many connections as aiohttp has", loop, ratios(equal, ("aiohttp", 100), "cpu_us"), 1.0
        )
        text = "throughput ÷ throughput of httpx's post, at 100"
        yield Claim(text, loop, ratios(default, ("httpx", 100), "rate"), 10.0, at_least=True)
        text = "CPU of a trigger at 500 ÷ at 10"
        yield Claim(text, loop, ratios(("refold_default", 500), ("refold_default", 10), "cpu_us"), 1.3)
        costs = [sample["with_us"] - sample["without_us"] for sample in layers[loop]]
        yield Claim("limiter and retry layers together, a call", loop, costs, 12.0, unit="µs")


def main(rounds: int = 5, loops: Collection[str] = tuple(LOOPS)) -> int:
    """Print the samples' medians and the claims; give 1 if one does not hold."""
    samples, layers = run(rounds, loops)
    print(f"the wire of refold_async: {wire_of(Target(url='http://127.0.0.1:9'))}")
    print(f"{'':<9}{'':<26}{'at':>5}{'req/s':>9}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}")
    for loop, measured in samples.items():
        for (name, level), taken in measured.items():
            median = {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
            print(
                f"{loop:<9}{name:<26}{level:>5}{median['rate']:>9,.0f}{median['cpu_us']:>9.1f}"
                f"{median['p50'] * 1e3:>9.2f}{median['p99'] * 1e3:>9.2f}{median['server_share']:>8.0%}"
            )
    made = list(claims(samples, layers))
    print(f"\nmedians of {rounds} rounds, contenders taking turns; in brackets the least and the most")
    for claim in made:
        print(claim)
    return 0 if all(claim.holds for claim in made) else 1
