"""How long the mock takes for an answer."""

from __future__ import annotations

import math
import random

_Z99 = 2.3263478740408408
"""The standard normal distribution's 99th percentile."""


class Latency:
    """Draws latencies from a lognormal distribution, the same ones for the same seed.

    :param median: seconds.
    :param p99: seconds, of which 99 of 100 answers take less; at least the median.
    :param seed: of the random numbers.
    :raises ValueError: for a median that is not above 0, or a smaller `p99`.
    """

    def __init__(self, median: float, p99: float, seed: int = 0) -> None:
        if not (0 < median <= p99 < math.inf):
            raise ValueError("the median latency must be above 0, and p99 not below the median")
        self.median = median
        self.p99 = p99
        self._mu = math.log(median)
        self._sigma = math.log(p99 / median) / _Z99
        self._random = random.Random(seed)

    def __call__(self) -> float:
        return self._random.lognormvariate(self._mu, self._sigma)

    def __repr__(self) -> str:
        return f"Latency(median={self.median:g}, p99={self.p99:g})"
