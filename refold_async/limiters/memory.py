"""A rate limiter for one process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable

import anyio

from .._errors import PacingTimeoutError
from .._models import RateLimit
from ..policies.pacing import Pacer


class MemoryRateLimiter:
    """Grants slots in arrival order, as fast as a `RateLimit` allows.

    There is no background task: the first waiter sleeps until its slot is due, and wakes the next as it leaves,
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
        max_retry_after: float | None = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.limit = limit
        self._pacer = Pacer(limit, max_pause=max_retry_after)
        self._clock = clock
        self._sleep = sleep
        self._queue: deque[anyio.Event] = deque()
        self._forecast: Pacer | None = None

    @property
    def waiting(self) -> int:
        """How many callers are waiting for a slot."""
        return len(self._queue)

    async def acquire(self, *, deadline: float | None = None) -> float:
        """Wait for a slot, then charge it; give the seconds waited.

        Slots are granted in arrival order. A waiter that is cancelled before its turn costs nothing.

        :param deadline: absolute seconds on the clock; when the wait would pass it, no slot is taken.
        :raises PacingTimeoutError: at once, rather than after the wait.
        """
        arrived = self._clock()
        if not self._queue and self._pacer.earliest(arrived) <= arrived:
            self._pacer.charge(arrived)
            return 0.0
        self._check(self._expected(arrived), deadline, arrived)
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            if self._queue[0] is not turn:
                await turn.wait()
            granted = await self._wait_for_slot(deadline)
        finally:
            self._leave(turn)
        return granted - arrived

    async def _wait_for_slot(self, deadline: float | None) -> float:
        while True:  # a 429 may have moved the slot during the sleep
            now = self._clock()
            at = self._pacer.earliest(now)
            if at <= now:
                self._pacer.charge(now)
                return now
            self._check(at, deadline, now)
            await self._sleep(at - now)

    def _leave(self, turn: anyio.Event) -> None:
        """Go, granted or not, and wake whoever is first now."""
        try:
            self._queue.remove(turn)
        except ValueError:  # the queue of a closed event loop was dropped
            return
        self._forecast = None
        if self._queue:
            self._queue[0].set()

    def _expected(self, now: float) -> float:
        """Forecast the slot of a caller that arrives now, behind all who wait; remembered for the next one."""
        if self._forecast is None:
            self._forecast = self._pacer.fork()
            for _ in self._queue:
                self._forecast.charge(self._forecast.earliest(now))
        at = self._forecast.earliest(now)
        self._forecast.charge(at)
        return at

    def _check(self, at: float, deadline: float | None, now: float) -> None:
        if deadline is not None and at > deadline:
            self._forecast = None
            raise PacingTimeoutError(
                f"the rate limit of {self.limit.rate:g} a second has no slot for {at - now:.1f} s, past the deadline; "
                "nothing was sent. Raise deadline=, send less at once, or raise rate_limit= if Refold allows more"
            )

    def throttled(self, retry_after: float | None) -> None:
        """Pause for `retry_after` seconds, at most `max_retry_after`, and go slower for a while after it."""
        self._pacer.throttled(self._clock(), retry_after)
        self._forecast = None

    def reset_waiters(self) -> None:
        """Forget who waits, because their event loop was closed; the pace is kept."""
        self._queue.clear()
        self._forecast = None

    def __repr__(self) -> str:
        rate = self._pacer.rate(self._clock())
        return (
            f"<MemoryRateLimiter {rate:g}/s of {self.limit.rate:g}, burst {self.limit.burst}, {self.waiting} waiting>"
        )
