"""How fast to go: the arithmetic of the rate limit, without clock or waiting."""

from __future__ import annotations

from collections import deque
from copy import copy
from itertools import islice
from typing import Self

from .._types.values import RateLimit

CAP_LOOKBACK = 1.02
"""Seconds in which at most `rate` grants fall: a second, and 20 ms for requests that catch up on the way."""

SLOWDOWN = 0.7
"""What a 429 leaves of the rate."""

RECOVERY = 0.05
"""The share of the configured rate that comes back each second without a 429: from 0.7 to full in 6 s."""

DEFAULT_PAUSE = 1.0
"""Seconds of pause after a 429 that does not say how long to wait."""

_NOT_YET = float("inf")
_EPSILON = 1e-9  # seconds; so that adding up floats never leaves a wait too short to pass


class Pacer:
    """Decides when the next request may go.

    "20 events per second, plus a burst of 5" can be read in two ways, and this keeps to both: a bucket that fills at
    `rate` and holds `burst` (as GCRA: one number, the theoretical arrival time), and a sliding window in which no
    more than `rate`, rounded down but at least 1, may fall.

    What counts is when a request is sent, and a busy event loop or a slow handshake can put that off. So a grant that
    is not sent yet counts as one made now, and once it is sent, as one made then: grants cannot pile up and burst.

    :param limit: the rate and burst.
    :param max_pause: the longest that a 429 can pause the pacer, in seconds; None for no limit.
    """

    def __init__(self, limit: RateLimit, *, max_pause: float | None = 60.0) -> None:
        self.limit = limit
        self._max_pause = max_pause
        self._slack = (limit.burst - 1) / limit.rate  # not of the slowed rate: that would make the burst larger
        self._arrival = float("-inf")
        self._sent_at: deque[float] = deque(maxlen=max(1, int(limit.rate)))  # of the last grants; inf for not yet
        self._granted = 0
        self._unsent = 0
        self._slowed_rate = float(limit.rate)
        self._paused_until = float("-inf")

    def fork(self) -> Self:
        """Give a copy, to try out what would happen."""
        twin = copy(self)
        twin._sent_at = self._sent_at.copy()  # noqa: SLF001 - a twin of this very class
        return twin

    def rate(self, now: float) -> float:
        """Give the current rate per second: the configured one, unless a 429 has slowed it."""
        if self._slowed_rate >= self.limit.rate:
            return self.limit.rate
        recovered = self._slowed_rate + RECOVERY * self.limit.rate * max(0.0, now - self._paused_until)
        return min(self.limit.rate, recovered)

    def earliest(self, now: float) -> float:
        """Give the time at which the next grant may be made; it is due if that is not after `now`."""
        rate = self.rate(now)
        arrival = max(self._arrival, now + self._unsent / rate) if self._unsent else self._arrival
        at = max(now, self._paused_until, arrival - self._slack)
        cap = max(1, int(rate))
        if len(self._sent_at) >= cap and self._sent_at[-cap] > now - CAP_LOOKBACK:
            oldest = min(islice(reversed(self._sent_at), cap))
            at = max(at, (now if oldest == _NOT_YET else oldest) + CAP_LOOKBACK)
        return now if at <= now + _EPSILON else at

    def grant(self, now: float) -> int:
        """Count a grant made at `now`, and give its number; say later when it was `sent`, or that it was `dropped`."""
        self._arrival = max(self._arrival, now) + 1 / self.rate(now)
        self._sent_at.append(_NOT_YET)
        self._granted += 1
        self._unsent += 1
        return self._granted

    def sent(self, number: int, now: float) -> None:
        """Note that the request of a grant is being sent."""
        later = self._granted - number
        self._unsent -= 1
        self._arrival = max(self._arrival, now + (1 + later) / self.rate(now))
        if later < len(self._sent_at):
            self._sent_at[-1 - later] = now

    def dropped(self, number: int, now: float) -> None:
        """Note that the request of a grant will not be sent; its slot is spent all the same."""
        later = self._granted - number
        self._unsent -= 1
        if later < len(self._sent_at):
            self._sent_at[-1 - later] = now

    def throttled(self, now: float, retry_after: float | None) -> None:
        """Take a 429 in: pause for as long as the server asks, and go slower after it.

        Several requests are under way when the limit is hit; so the rate is cut once for each pause, not for each 429.
        """
        pause = DEFAULT_PAUSE if retry_after is None else retry_after
        if self._max_pause is not None:
            pause = min(pause, self._max_pause)
        if now >= self._paused_until:
            self._slowed_rate = max(min(1.0, self.limit.rate), SLOWDOWN * self.rate(now))
        self._paused_until = max(self._paused_until, now + pause)
