"""A limit on retries as a share of calls, so that an outage is not made worse."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

_SLICES = 10


class RetryBudget:
    """Over the last `window` seconds there may be `ratio` retries per call, and `per_second` each second besides.

    The defaults (20 %, 1 a second, over 10 s) let a lone call retry freely, and an outage add a fifth of the load.
    """

    def __init__(
        self,
        ratio: float = 0.2,
        per_second: float = 1.0,
        window: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ratio = ratio
        self._floor = per_second * window
        self._width = window / _SLICES
        self._clock = clock
        self._slices: deque[list[int]] = deque()  # [slice number, calls, retries], oldest first
        self._slice_ends = float("-inf")
        self._calls = 0
        self._retries = 0

    def record_call(self) -> None:
        """Count a call: it earns `ratio` of a retry."""
        self._calls += 1
        if self._clock() < self._slice_ends and self._slices:
            self._slices[-1][1] += 1
        else:
            self._current()[1] += 1

    def try_spend(self) -> bool:
        """Take one retry from the budget; False if there is none left."""
        current = self._current()
        if self._retries + 1 > self._ratio * self._calls + self._floor:
            return False
        current[2] += 1
        self._retries += 1
        return True

    def _current(self) -> list[int]:
        now = self._clock()
        slices = self._slices
        if now < self._slice_ends and slices:
            return slices[-1]
        number = math.floor(now / self._width)
        self._slice_ends = (number + 1) * self._width
        # Calls and retries are forgotten together, up to a slice late.
        while slices and slices[0][0] < number - _SLICES:
            _, calls, retries = slices.popleft()
            self._calls -= calls
            self._retries -= retries
        if not slices or slices[-1][0] < number:
            slices.append([number, 0, 0])
        return slices[-1]
