"""Processes that share a limit, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Self

from attrs import define, field

from benchmarks.fleet.simulation import fresh_grant
from benchmarks.fleet.virtual import run
from benchmarks.fleet.world import Network, Refold, Server, SimulatedRateLimiter
from refold_async import RateLimit


@define
class Fleet:
    """Processes that send without end, to be disturbed.

    :ivar sent: when, and by which process.
    :ivar longest: wait, in seconds.
    """

    size: int = 8
    waiters: int = 6
    limit: RateLimit = field(factory=RateLimit)
    options: dict[str, Any] = field(factory=dict)
    network: Network = field(factory=Network)
    seed: int = 3
    server: Server = field(init=False)
    refold: Refold = field(init=False)
    limiters: list[SimulatedRateLimiter] = field(init=False)
    sent: list[tuple[float, int]] = field(factory=list)
    longest: float = 0.0
    tasks: list[list[asyncio.Task[None]]] = field(factory=list)

    async def __aenter__(self) -> Self:
        self.server = Server(Random(self.seed), self.network)
        self.refold = Refold(self.limit)
        self.limiters = [SimulatedRateLimiter(self.server, self.limit, **self.options) for _ in range(self.size)]
        for number in range(self.size):
            self.tasks.append([asyncio.ensure_future(self._work(number)) for _ in range(self.waiters)])
        return self

    async def __aexit__(self, *_: object) -> None:
        for tasks in self.tasks:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, number: int) -> None:
        limiter = self.limiters[number]
        while True:
            grant, waited = await fresh_grant(limiter)
            grant.sent()
            self.longest = max(self.longest, waited)
            self.sent.append((now(), number))
            if not self.refold.receive():
                await limiter.throttled(None)

    def between(self, start: float, end: float) -> int:
        return sum(1 for at, _ in self.sent if start <= at < end)

    @property
    def alone(self) -> list[int]:
        """Which processes pace themselves at this moment."""
        links = [limiter._links.get(asyncio.get_running_loop()) for limiter in self.limiters]
        return [number for number, link in enumerate(links) if link is not None and link.alone is not None]


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def play() -> None:
        run(test())

    play.__name__, play.__doc__ = test.__name__, test.__doc__
    return play


def now() -> float:
    return asyncio.get_running_loop().time()
