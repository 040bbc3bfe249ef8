"""Time that a test moves: loops whose clock jumps or was stopped, and a clock to inject."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import trio
import trio.testing

from refold_async import RateLimit
from refold_async.limiters import MemoryRateLimiter


class _Jumping(selectors.DefaultSelector):
    """Never waits: where nothing happens before a timer is due, the clock jumps to it."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("everything waits for what will never come")
        if not events and timeout is not None:
            self.now += max(0.0, timeout)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when nothing else is left to do, so that hours take no time."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


BACKENDS: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
    "asyncio": lambda: ("asyncio", {"loop_factory": JumpingLoop}),
    "trio": lambda: ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}),
}
"""Options for `anyio.run` and its pytest plugin. The clock is `anyio.current_time`."""


def run(backend: str, main: Callable[[], Any]) -> Any:
    """Run on a loop with a jumping clock; a virtual month is taken for a hang."""

    async def bounded() -> Any:
        with anyio.fail_after(30 * 86_400):
            return await main()

    name, options = BACKENDS[backend]()
    if name == "trio":  # the oldest anyio that we take does not pass the clock on
        return trio.run(bounded, **options)
    return anyio.run(bounded, backend=name, backend_options=options)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it holds within ten seconds; what led to it has a moment to reach the sockets."""
    for _ in range(1000):
        if condition():
            time.sleep(0.05)
            return True
        time.sleep(0.01)
    return False


class _Stopping(selectors.DefaultSelector):
    """Stands still when told to: waits until there is something to read, and then reports that there is nothing."""

    def __init__(self, late: float | None) -> None:
        super().__init__()
        self._late = late
        self.stands_still = False
        self.standing = threading.Event()
        self.until: Callable[[], bool] = lambda: True
        self.lost_seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 0.005 if end is None else max(0.0, min(0.005, end - time.monotonic()))
            events = super().select(left)
            if self.stands_still and timeout != 0:  # not while callbacks are ready: they run before it waits
                self.stands_still = False
                self.standing.set()
                if super().select(10) and eventually(self.until):
                    if self._late is None or end is None:
                        self.lost_seconds += 12.0
                    else:
                        self.lost_seconds += max(0.0, end - time.monotonic()) + self._late
                    return []
            if events or (end is not None and time.monotonic() >= end):
                return events


class StoppedLoop(asyncio.SelectorEventLoop):
    """A loop whose process may be stopped for 12 seconds, which take no time.

    :param late: it is stopped until so many seconds after the next timer is due instead.
    """

    def __init__(self, late: float | None = None) -> None:
        self._looking = _Stopping(late)
        self._thread = threading.get_ident()
        super().__init__(self._looking)

    def time(self) -> float:
        return super().time() + self._looking.lost_seconds

    def stand_still(self, until: Callable[[], bool] = lambda: True) -> None:
        """Stop when it next waits for its sockets, and until something holds.

        Another thread may call it, as a server does before it answers: that thread goes on when the loop stands still.
        """
        self._looking.until = until
        self._looking.standing.clear()
        self._looking.stands_still = True
        if threading.get_ident() != self._thread:
            assert self._looking.standing.wait(10), "the loop never waited for its sockets"


class SleptTime:
    """A clock that moves only by what somebody sleeps, which takes no time. So a wait is one on a busy machine too."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


def slept_limiter(limit: RateLimit) -> MemoryRateLimiter:
    """Return a limiter on such a clock of its own."""
    time = SleptTime()
    return MemoryRateLimiter(limit, clock=time, sleep=time.sleep)


class VirtualTime:
    """A clock that moves only when everything waits, so that hours take no time and always go the same way."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved that far."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._order), done))
        await done

    async def settle(self) -> None:
        """Let everything run until it waits for the clock."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def run(self, until: float = float("inf")) -> None:
        """Move the clock from sleeper to sleeper, up to `until`."""
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, done = heapq.heappop(self._sleepers)
            if done.cancelled():
                continue
            self.now = max(self.now, at)
            if not done.done():
                done.set_result(None)
            await self.settle()
        if until < float("inf"):
            self.now = max(self.now, until)
