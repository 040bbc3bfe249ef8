"""What a fleet meets in the simulation: a server of the shared limit, a network, stalls, and Refold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Literal

from attrs import define, field

from refold_async import RateLimit
from refold_async.limiters._shared import SharedRateLimiter
from refold_async.policies.shared_pacing import MICRO, Answer, Question, SharedState
from refold_async.testing._limits import EnforcedLimit


@define
class Network:
    """How long a message takes one way: `delay`, and an exponential `jitter` on top, both in seconds.

    :ivar lost: the share of answers that never come.
    """

    delay: float = 0.0005
    jitter: float = 0.0002
    lost: float = 0.0

    def leg(self, random: Random) -> float:
        return self.delay + (random.expovariate(1 / self.jitter) if self.jitter else 0.0)


@define
class Server:
    """A server of the shared limit: the rule itself, on a clock of its own.

    It is *up*; *frozen*, and then keeps the questions it gets until it is thawed, also of those who have gone; *cut
    off*, so that questions and answers are lost; or *refusing*, with an error at once: dead, or read-only.

    :ivar skew: seconds by which its clock is off.
    """

    random: Random
    network: Network = field(factory=Network)
    state: SharedState | None = None
    skew: float = 0.0
    calls: int = 0
    mode: Literal["up", "frozen", "cut off", "refusing"] = "up"
    _kept: list[tuple[Question, asyncio.Future[Answer]]] = field(factory=list)

    def thaw(self) -> None:
        """Answer all who asked meanwhile, in the order of their questions."""
        self.mode = "up"
        for question, told in self._kept:
            answer = self.answer(question)
            if not told.done():
                told.set_result(answer)
        self._kept.clear()

    async def receive(self, question: Question) -> Answer:
        """Answer, or not, as its mode says."""
        if self.mode == "refusing":
            raise ConnectionError("refused")
        if self.mode == "frozen":
            told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._kept.append((question, told))
            return await told
        if self.mode == "cut off":
            await asyncio.Event().wait()
        return self.answer(question)

    def answer(self, question: Question) -> Answer:
        self.calls += 1
        now = round((1_800_000_000 + self.skew + asyncio.get_running_loop().time()) * MICRO)
        if self.state is None:
            self.state = SharedState.new(now)
        return self.state.ask(question, now)


class SimulatedStore:
    """One process's connection to the server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def ask(self, question: Question) -> Answer:
        server = self._server
        await asyncio.sleep(server.network.leg(server.random))
        answer = await server.receive(question)
        if server.mode == "cut off" or server.random.random() < server.network.lost:
            await asyncio.Event().wait()
        await asyncio.sleep(server.network.leg(server.random))
        return answer

    async def aclose(self) -> None:
        pass


class SimulatedRateLimiter(SharedRateLimiter):
    """The limiter of one process: all of the real one but its server.

    :param stalls: gives until when the event loop of the process is busy with something else, at a given time.
    """

    _place = "the simulated server"

    def __init__(
        self,
        server: Server,
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        stalls: Callable[[float], float] = lambda now: now,
        clock_skew: float = 0.0,
        **options: object,
    ) -> None:
        self._server = server
        self._stalls = stalls
        clock = asyncio.get_running_loop().time
        super().__init__(
            limit, name="fleet", clock=lambda: clock() + clock_skew, sleep=self._doze, **options  # type: ignore[arg-type]
        )  # fmt: skip

    async def _doze(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(seconds)
        while (until := self._stalls(loop.time())) > loop.time():  # noqa: ASYNC110 - time is what it waits for
            await asyncio.sleep(until - loop.time())

    def _connect(self, name: str) -> SimulatedStore:
        return SimulatedStore(self._server)


@define
class Refold:
    """Refold's own limit, as the mock enforces it, and what it saw."""

    limit: RateLimit
    enforced: EnforcedLimit = field(init=False)
    passed: list[float] = field(factory=list)
    refused: list[float] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.enforced = EnforcedLimit(self.limit)

    def receive(self) -> bool:
        """Count a request; whether it is let through."""
        now = asyncio.get_running_loop().time()
        admitted = self.enforced.admit(now)
        (self.passed if admitted else self.refused).append(now)
        return admitted
