"""Enforcing the documented rate, in both ways it can be read.

This shares nothing with the client's own limiter, so that a mistake there shows here.
"""

from __future__ import annotations

from collections import deque

from .._types.values import RateLimit

TOLERANCE = 0.025
"""Seconds of jitter on the way that are not held against a client."""


class EnforcedLimit:
    """A bucket that holds `burst` and fills at `rate`, and a window of a second that holds `rate`."""

    def __init__(self, limit: RateLimit) -> None:
        self._rate = limit.rate
        self._size = limit.burst + limit.rate * TOLERANCE
        self._tokens = self._size
        self._filled_at: float | None = None
        self._passed: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Let a request pass, or not."""
        if self._filled_at is not None:
            self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        while self._passed and self._passed[0] <= now - (1.0 - TOLERANCE):
            self._passed.popleft()
        if self._tokens < 1 or len(self._passed) >= max(1, int(self._rate)):
            return False
        self._tokens -= 1
        self._passed.append(now)
        return True
