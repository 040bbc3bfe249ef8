"""A rate limiter for one process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable

import anyio

from .._types.errors import PacingTimeoutError
from .._types.values import RateLimit
from ..policies.pacing import Pacer


class Grant:
    """A slot that was granted: say once when its request is sent, or that it will not be.

    :ivar waited: seconds.
    """

    __slots__ = ("_clock", "_number", "_pacer", "waited")

    def __init__(self, pacer: Pacer, clock: Callable[[], float], number: int, waited: float = 0.0) -> None:
        self.waited = waited
        self._pacer = pacer
        self._clock = clock
        self._number: int | None = number

    def sent(self) -> None:
        """Say that the request is being sent; what is said after the first time changes nothing."""
        number, self._number = self._number, None
        if number is not None:
            self._pacer.sent(number, self._clock())

    def dropped(self) -> None:
        """Say that the request will not be sent, unless it was."""
        number, self._number = self._number, None
        if number is not None:
            self._pacer.dropped(number, self._clock())


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
        grant = await self.reserve(deadline=deadline)
        grant.sent()
        return grant.waited

    async def reserve(self, *, deadline: float | None = None) -> Grant:
        """Do as `acquire`, but leave it to the caller to say when the request is really sent.

        Until then the grant counts as one made now, so that requests held up on the way do not leave in a burst.
        """
        arrived = self._clock()
        if not self._queue and self._pacer.earliest(arrived) <= arrived:
            return Grant(self._pacer, self._clock, self._pacer.grant(arrived))
        self._check(self._expected(arrived), deadline, arrived)
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            if self._queue[0] is not turn:
                await turn.wait()
            granted = await self._wait_for_slot(deadline)
            return Grant(self._pacer, self._clock, self._pacer.grant(granted), granted - arrived)
        finally:
            self._leave(turn)

    async def _wait_for_slot(self, deadline: float | None) -> float:
        while True:  # a 429, or a request that is still not sent, may have moved the slot during the sleep
            now = self._clock()
            at = self._pacer.earliest(now)
            if at <= now:
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
                self._foresee(self._forecast, now)
        return self._foresee(self._forecast, now)

    @staticmethod
    def _foresee(pacer: Pacer, now: float) -> float:
        at = pacer.earliest(now)
        pacer.sent(pacer.grant(at), at)
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
