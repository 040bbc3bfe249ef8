"""Enforcing the documented rate, in both ways it can be read.

This shares nothing with the client's own limiter, so that a mistake there shows here.
"""

from __future__ import annotations

import math
from collections import deque

from .._types.values import RateLimit

TOLERANCE = 0.025
"""Seconds of jitter on the way that are not held against a client."""


class EnforcedLimit:
    """A bucket that holds `burst` and fills at `rate`, and a window that holds a second's worth.

    For a rate that is not whole, this is a window of `ceil(rate) / rate` seconds that holds `ceil(rate)`.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._rate = limit.rate
        self._per_window = math.ceil(limit.rate)
        self._window = self._per_window / limit.rate
        self._size = limit.burst + limit.rate * TOLERANCE
        self._tokens = self._size
        self._filled_at: float | None = None
        self._passed: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Return whether a request may pass, and count it if so."""
        if self._filled_at is not None:
            self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        while self._passed and self._passed[0] <= now - (self._window - TOLERANCE):
            self._passed.popleft()
        if self._tokens < 1 or len(self._passed) >= self._per_window:
            return False
        self._tokens -= 1
        self._passed.append(now)
        return True
