"""A fleet in virtual time: the limiter as it is, on a network, with stalls and skewed clocks as one likes."""

from __future__ import annotations

import asyncio
from random import Random

from attrs import define, field

from refold_async import RateLimit
from refold_async.limiters import Grant

from .virtual import run
from .world import Network, Refold, Server, SimulatedRateLimiter


@define
class Scenario:
    """What is simulated.

    :ivar waiters: callers in each process, each of which sends one request after the other.
    :ivar stalls: the shortest and longest stall of an event loop in seconds, and how many a second; None for none.
    :ivar clock_skew: by how much clients' clocks are off, in seconds, at most, either way.
    """

    processes: int = 8
    waiters: int = 6
    seconds: float = 20.0
    limit: RateLimit = field(factory=RateLimit)
    network: Network = field(factory=Network)
    stalls: tuple[float, float, float] | None = None
    clock_skew: float = 0.0
    seed: int = 1


@define
class Measured:
    """What came of it.

    :ivar share: of the rate that was used.
    :ivar throttled: how many 429s.
    :ivar fairness: Jain's index over the grants of processes; 1 where all got the same.
    :ivar longest_wait: in seconds; `fair_wait` where all wait in one fair queue.
    :ivar calls_per_grant: questions to the server for each request sent.
    :ivar calls_per_second: questions to the server.
    """

    share: float
    throttled: int
    fairness: float
    longest_wait: float
    fair_wait: float
    calls_per_grant: float
    calls_per_second: float


def jain(counts: list[int]) -> float:
    """Return Jain's fairness index."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 1.0


class Stalls:
    """When the event loop of one process is busy with something else."""

    def __init__(self, random: Random, shortest: float, longest: float, per_second: float) -> None:
        self._random, self._shortest, self._longest, self._per_second = random, shortest, longest, per_second
        self._begins = self._ends = 0.0

    def __call__(self, now: float) -> float:
        while self._ends <= now:
            self._begins = max(now, self._ends) + self._random.expovariate(self._per_second)
            self._ends = self._begins + self._random.uniform(self._shortest, self._longest)
            if self._begins > now:
                break
        return self._ends if self._begins <= now else now


async def fresh_grant(limiter: SimulatedRateLimiter) -> tuple[Grant, float]:
    """Get a grant that is fresh when it is used, as a client does; and how long that took."""
    grant = await limiter.reserve()
    waited = grant.waited
    while not grant.is_fresh():
        grant.dropped()
        grant = await limiter.reserve(first=True)
        waited += grant.waited
    return grant, waited


async def play(scenario: Scenario) -> Measured:
    """Run a fleet for the scenario's time, in the running event loop."""
    random = Random(scenario.seed)
    loop = asyncio.get_running_loop()
    server = Server(random, scenario.network)
    refold = Refold(scenario.limit)
    counts = [0] * scenario.processes
    waits: list[float] = []
    ends = loop.time() + scenario.seconds

    def limiter() -> SimulatedRateLimiter:
        stalls = Stalls(Random(random.random()), *scenario.stalls) if scenario.stalls else (lambda now: now)
        skew = random.uniform(-scenario.clock_skew, scenario.clock_skew)
        return SimulatedRateLimiter(server, scenario.limit, stalls=stalls, clock_skew=skew)

    async def work(number: int, mine: SimulatedRateLimiter) -> None:
        while loop.time() < ends:
            grant, waited = await fresh_grant(mine)
            grant.sent()
            if loop.time() > ends:
                return
            waits.append(waited)
            if refold.receive():
                counts[number] += 1
            else:
                await mine.throttled(None)

    limiters = [limiter() for _ in range(scenario.processes)]
    tasks = [
        asyncio.ensure_future(work(number, mine))
        for number, mine in enumerate(limiters)
        for _ in range(scenario.waiters)
    ]
    await asyncio.sleep(scenario.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sent = len(refold.passed) + len(refold.refused)
    return Measured(
        share=sum(counts) / (scenario.limit.rate * scenario.seconds),
        throttled=len(refold.refused),
        fairness=jain(counts),
        longest_wait=max(waits, default=0.0),
        fair_wait=scenario.processes * scenario.waiters / scenario.limit.rate,
        calls_per_grant=server.calls / max(1, sent),
        calls_per_second=server.calls / scenario.seconds,
    )


def simulate(scenario: Scenario) -> Measured:
    """Run a fleet in virtual time."""
    return run(play(scenario))
