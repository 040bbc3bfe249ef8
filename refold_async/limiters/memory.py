"""A rate limiter for one process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable

import anyio

from .._types.errors import PacingTimeoutError
from .._types.values import RateLimit
from ..policies.pacing import FRESH_FOR, LONGEST_PAUSE, Pacer
from ._protocol import Grant
from ._queue import Waiter, WaitQueue
from ._untold import UntoldGrants


class MemoryGrant:
    """A slot of a `MemoryRateLimiter`; see `Grant`."""

    __slots__ = ("_granted", "_limiter", "_loop", "_pauses", "waited")

    def __init__(
        self,
        limiter: MemoryRateLimiter,
        granted: float,
        pauses: int,
        waited: float,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.waited = waited
        self._limiter: MemoryRateLimiter | None = limiter
        self._loop = loop
        self._granted = granted
        self._pauses = pauses

    def is_fresh(self) -> bool:
        """Whether the request may be written now: not once 20 ms have passed, or a 429 has paused the limiter."""
        limiter = self._limiter
        return limiter is not None and limiter.is_fresh(self._granted, self._pauses)

    def sent(self) -> None:
        """Report that the request is being written now; what is told after the first time changes nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.on_sent(self._granted, self._loop)

    def dropped(self) -> None:
        """Report that the request will not be written with this grant: the slot goes to the next."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.on_dropped(self._loop)

    def __del__(self) -> None:
        if self._limiter is not None:  # it may have been used
            self._limiter.on_lost(self._granted, self._loop)


class MemoryRateLimiter:
    """Grants slots in arrival order, as fast as a `RateLimit` allows.

    It may be shared by clients on several event loops and threads; arrival order holds on each loop. There is no
    background task: the first waiter of each loop sleeps until its slot is due, and wakes the next as it leaves,
    granted or cancelled.

    :param limit: the rate and burst.
    :param max_retry_after: the longest pause a 429 can cause, in seconds; None for no limit.
    :param clock: seconds, monotonic; deadlines are on it.
    :param sleep: waits that many seconds.
    """

    def __init__(
        self,
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        max_retry_after: float | None = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.limit = limit
        self._pacer = Pacer(limit, max_pause=max_retry_after)
        self._clock = clock
        self._sleep = sleep
        self._queue = WaitQueue()
        self._lock = threading.RLock()  # a grant may be collected in the middle of anything
        self._untold = UntoldGrants()
        self._lost: deque[tuple[float, asyncio.AbstractEventLoop | None]] = deque()

    @property
    def waiting(self) -> int:
        """How many callers are waiting for a slot."""
        return self._queue.waiting

    async def acquire(self, *, deadline: float | None = None) -> float:
        """Wait for a slot, then charge it. Returns the seconds waited.

        As `reserve`, for requests that are sent at once.
        """
        grant = await self.reserve(deadline=deadline)
        grant.sent()
        return grant.waited

    def try_reserve(self, *, first: bool = False) -> Grant | None:
        """Take a slot if one is free at this very moment and nobody waits for it; else return None.

        :param first: although others wait, unless they have a grant that they could not use.
        """
        with self._lock:
            if self._queue.waiting and self._queue.ahead(first=first):
                return None
            return self._try(self._clock())

    def try_take(self) -> bool:
        """Take a slot for a request that is written at this very moment; False if none is free, or others wait."""
        with self._lock:
            if self._queue.waiting or self._lost:
                return False
            return self._pacer.take(self._clock())

    def _try(self, now: float, started: float | None = None) -> MemoryGrant | None:
        if self._lost:
            self._count_lost(now)
        if not self._pacer.grant(now):
            return None
        waited = 0.0 if started is None else now - started
        return MemoryGrant(self, now, self._pacer.pauses, waited, self._untold.add())

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Grant:
        """Wait for a slot, then take it. The grant must be told when its request is written, or that it will not be.

        Slots are granted in arrival order. A waiter that is cancelled costs nothing.

        :param deadline: absolute seconds on the clock; when the wait would pass it, no slot is taken.
        :param first: go before all who wait. For a request that had a grant, and could not be written in time.
        :raises PacingTimeoutError: at once, rather than after the wait.
        """
        grant = self.try_reserve(first=first)
        if grant is not None:
            return grant
        with self._lock:
            started = self._clock()
            self._queue.sweep()
            self._forget(started)
            self._check(self._queue.ahead(first=first), deadline, started)
            waiter = self._queue.join(first=first)
        try:
            return await self._wait(waiter, deadline, started)
        finally:
            with self._lock:
                self._queue.leave(waiter)

    async def _wait(self, waiter: Waiter, deadline: float | None, started: float) -> MemoryGrant:
        while True:  # a 429, or a request that is still not sent, may have moved the slot meanwhile
            with self._lock:
                now = self._clock()
                self._forget(now)
                is_first = waiter.is_first
                grant = self._try(now, started) if is_first else None
                if grant is not None:
                    return grant
                at = self._check(0, deadline, now)
            if is_first:
                await waiter.sleep(now, at, self._sleep)
            else:
                await waiter.turn()

    def _check(self, ahead: int, deadline: float | None, now: float) -> float:
        at = self._pacer.earliest(now, ahead)
        if deadline is not None and at > deadline:
            raise PacingTimeoutError(
                f"the rate limit of {self.limit.rate:g} a second has no slot for {at - now:.1f} s, past the deadline; "
                "nothing was sent. Raise deadline=, send less at once, or raise rate_limit= if Refold allows more"
            )
        return at

    async def throttled(self, retry_after: float | None) -> None:
        """Pause for `retry_after` seconds, at most `max_retry_after`, and go slower for a while after it.

        Waiters whose deadline falls into the pause fail at once.
        """
        with self._lock:
            self._pacer.throttled(self._clock(), retry_after)
            self._queue.wake_all()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def is_fresh(self, granted: float, pauses: int) -> bool:
        """Whether a grant of that time, and made after so many pauses, may be used now."""
        return self._pacer.pauses == pauses and self._clock() - granted <= FRESH_FOR

    def on_sent(self, granted: float, loop: asyncio.AbstractEventLoop | None) -> None:
        """Count the write of a grant that was made then, on that event loop."""
        with self._lock:
            now = self._clock()
            if self._untold.remove(loop):
                self._pacer.sent(granted, now)
            else:  # it was counted as sent when its loop was found closed
                self._pacer.spent(now)
            if self._queue.waiting:
                self._queue.wake_first(self._pacer.earliest(now))

    def on_dropped(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Give a slot back."""
        with self._lock:
            if not self._untold.remove(loop):
                return
            self._pacer.dropped()
            if self._queue.waiting:
                self._queue.wake_first(self._pacer.earliest(self._clock()))

    def on_lost(self, granted: float, loop: asyncio.AbstractEventLoop | None) -> None:
        """Note that a grant was garbage collected untold. It is counted later, as this may be in the middle of it."""
        self._lost.append((granted, loop))

    def _count_lost(self, now: float) -> None:
        while self._lost:
            granted, loop = self._lost.popleft()
            if self._untold.remove(loop):
                self._pacer.sent(granted, now)

    def _forget(self, now: float) -> None:
        """Count as sent what was granted on an event loop that is closed: it may have been."""
        self._count_lost(now)
        for _ in range(self._untold.forget()):
            self._pacer.sent(now, now)

    def __repr__(self) -> str:
        rate = self._pacer.rate(self._clock())
        return (
            f"<MemoryRateLimiter {rate:g}/s of {self.limit.rate:g}, burst {self.limit.burst}, {self.waiting} waiting>"
        )
