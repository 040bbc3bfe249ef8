"""How fast to go: the arithmetic of the rate limit, without clock or waiting."""

from __future__ import annotations

from collections import deque
from math import ceil

from .._types.values import RateLimit

FRESH_FOR = 0.02
"""Seconds that may pass between a grant and its write. The window is longer by as much, so that such delays cost
nothing more, and so that requests which catch up with each other on the way stay within the limit."""

SLOWDOWN = 0.7
"""What a 429 leaves of the rate."""

RECOVERY = 0.05
"""The share of the configured rate that comes back each second without a 429: from 0.7 to full in 6 s."""

DEFAULT_PAUSE = 1.0
"""Seconds of pause after a 429 that does not say how long to wait."""

LONGEST_PAUSE = 60.0
"""Seconds that one 429 can pause a limiter, whatever the server asks for."""

_FINEST = 1000
"""Writes of one window that are remembered one by one; beyond it, those of a thousandth of the window together."""

_EPSILON = 1e-9  # seconds; so that adding up floats never leaves a wait too short to pass


def pause_after(retry_after: float | None, longest: float | None) -> float:
    """Return the seconds of pause after a 429. A hint that asks for no time at all, or for what is no time, is ignored.

    :param longest: whatever the hint; None for no limit.
    """
    if retry_after is None or not retry_after > 0:  # nan, too
        retry_after = DEFAULT_PAUSE
    return retry_after if longest is None else min(retry_after, longest)


class Pacer:
    """Decides when the next request may go.

    "20 events per second, plus a burst of 5" can be read in two ways, and this keeps to both: a bucket that fills at
    `rate` and holds `burst` (as GCRA: one number, the theoretical arrival time), and a sliding window of `n / rate`
    seconds, in which no more than `n = ceil(rate)` may fall.

    What counts is when a request is written. A grant goes from *unsent* to *sent* or *dropped*, once. What always
    holds: were all unsent grants written at this moment, both readings would be kept. Time only loosens both, and a
    write changes nothing about it; so it holds for any delay between a grant and its write, in any order, and a
    dropped grant costs nothing. A write counts in the window from `FRESH_FOR` after its grant, or from the write if
    that is later.

    :param limit: the rate and burst.
    :param max_pause: the longest that a 429 can pause the pacer, in seconds; None for no limit.
    :ivar pauses: how many 429s were seen; a grant made before the last one must not be used any more.
    :ivar paused_until: clock time in seconds.
    """

    __slots__ = (
        "_arrival", "_burst", "_counts", "_full_rate_from", "_grain", "_in_window", "_interval", "_max_pause",
        "_per_window", "_slack", "_slowed_rate", "_times", "_unsent", "_window", "limit", "paused_until", "pauses",
    )  # fmt: skip

    def __init__(self, limit: RateLimit, *, max_pause: float | None = LONGEST_PAUSE) -> None:
        self.limit = limit
        self.pauses = 0
        self.paused_until = float("-inf")
        self._max_pause = max_pause
        self._burst = limit.burst
        self._interval = 1 / limit.rate
        self._slack = (limit.burst - 1) / limit.rate  # not of the slowed rate: that would make the burst larger
        self._arrival = float("-inf")
        self._unsent = 0
        self._slowed_rate = float(limit.rate)
        self._full_rate_from = float("-inf")
        self._per_window = ceil(limit.rate)
        self._window = self._per_window / limit.rate
        self._grain = self._window / _FINEST if self._per_window > _FINEST else 0.0
        self._times: deque[float] = deque()  # when writes count from, in order, and how many from each such time
        self._counts: deque[int] = deque()
        self._in_window = 0

    def rate(self, now: float) -> float:
        """Return the current rate per second: the configured one, unless a 429 has slowed it."""
        rate = self.limit.rate
        if now >= self._full_rate_from:
            return rate
        return min(rate, self._slowed_rate + RECOVERY * rate * max(0.0, now - self.paused_until))

    def earliest(self, now: float, ahead: int = 0) -> float:
        """Return the time at which the next grant may be made; it is due if that is not after `now`.

        It may turn out later, if grants are held up on their way.

        :param ahead: how many others are granted before.
        """
        rate = self.rate(now)
        start = max(now, self.paused_until)
        most = self._per_window if rate >= self.limit.rate else max(1, int(rate * self._window))
        rounds = 0
        if ahead >= most:
            rounds, ahead = divmod(ahead, most)
        pending = self._unsent + ahead
        at = max(start, max(start, self._arrival) + pending / rate - self._slack)
        self._forget(now)
        if self._in_window + pending >= most:
            at = max(at, self._written(self._in_window + pending - most, start) + self._window)
        if rounds:
            at += rounds * (self._window + FRESH_FOR)
        return now if at <= now + _EPSILON else at

    def _written(self, index: int, start: float) -> float:
        """Return from when a write counts, by its place in the window; that of an unsent one is `start`."""
        if index < self._in_window:
            for at, count in zip(self._times, self._counts, strict=True):
                index -= count
                if index < 0:
                    return at
        return start

    def grant(self, now: float) -> bool:
        """Make a grant, if one is due; report later that it was `sent` or `dropped`. Returns whether it was made."""
        unsent = self._unsent
        if (
            # The common case, without the arithmetic of `earliest`: no pause, and room in both readings.
            now >= self._full_rate_from
            and unsent < self._burst
            and self._arrival + unsent * self._interval - self._slack <= now
            and self._in_window + unsent < self._per_window
        ) or self.earliest(now) <= now:
            self._unsent = unsent + 1
            return True
        return False

    def take(self, now: float) -> bool:
        """Make a grant and count its write at once, if one is due: `grant` and `sent` in one step."""
        times = self._times
        at = now + FRESH_FOR
        if self._grain:
            at = ceil(at / self._grain) * self._grain
        if (
            self._unsent
            or now < self._full_rate_from
            or self._arrival - self._slack > now
            or self._in_window >= self._per_window
            or (times and at < times[-1])
        ):
            if not self.grant(now):
                return False
            self.sent(now, now)
            return True
        arrival = self._arrival
        self._arrival = (arrival if arrival > now else now) + self._interval  # noqa: FURB136 - as in `sent`
        self._in_window += 1
        if times and at == times[-1]:
            self._counts[-1] += 1
        else:
            times.append(at)
            self._counts.append(1)
        if times[0] <= now - self._window:
            self._forget(now)
        return True

    def sent(self, granted: float, now: float) -> None:
        """Count the write of a grant that was made at `granted`."""
        self._unsent -= 1
        interval = self._interval if now >= self._full_rate_from else 1 / self.rate(now)
        arrival = self._arrival
        self._arrival = (arrival if arrival > now else now) + interval  # noqa: FURB136 - each request comes by here
        at = granted + FRESH_FOR
        if now > at:
            at = now
        if self._grain:
            at = ceil(at / self._grain) * self._grain
        times, counts = self._times, self._counts
        self._in_window += 1
        if not times or at > times[-1]:
            times.append(at)
            counts.append(1)
        elif at == times[-1]:
            counts[-1] += 1
        else:
            self._insert(at)
        if times[0] <= now - self._window:
            self._forget(now)

    def spent(self, now: float) -> None:
        """Count a write that was not granted here."""
        self._unsent += 1
        self.sent(now, now)

    def _insert(self, at: float) -> None:
        """Count a write among those of grants made later, which were written earlier, by at most `FRESH_FOR`."""
        times, counts = self._times, self._counts
        place = len(times) - 1
        while place >= 0 and times[place] > at:
            place -= 1
        if place >= 0 and times[place] == at:
            counts[place] += 1
        else:
            times.insert(place + 1, at)
            counts.insert(place + 1, 1)

    def _forget(self, now: float) -> None:
        """Forget the writes that have left the window."""
        times = self._times
        while times and times[0] <= now - self._window:
            times.popleft()
            self._in_window -= self._counts.popleft()

    def dropped(self) -> None:
        """Take back a grant whose request will not be written: it is as if it had not been made."""
        self._unsent -= 1

    def throttled(self, now: float, retry_after: float | None) -> None:
        """Take a 429 in: pause for as long as the server asks, and go slower after it.

        Several requests are under way when the limit is hit; so the rate is cut once for each pause, not for each 429.
        """
        pause = pause_after(retry_after, self._max_pause)
        self.pauses += 1
        if now >= self.paused_until:
            self._slowed_rate = max(min(1.0, self.limit.rate), SLOWDOWN * self.rate(now))
        self.paused_until = max(self.paused_until, now + pause)
        self._full_rate_from = self.paused_until + max(0.0, 1 - self._slowed_rate / self.limit.rate) / RECOVERY
