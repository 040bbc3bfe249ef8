"""Firing a given load through a client, and what it showed: the part of `bench` without a display."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
from attrs import define, field, frozen

from ... import Delivery, RefoldClient, RefoldError
from ...hooks import HookEvent, RateLimitPaused, RateLimitWaited

_GROWTH = math.log(1.01)
_FIRST = 1e-6


@define
class Latencies:
    """Latencies in buckets that are 1 % wide, so that a million of them take no more memory than a hundred.

    A percentile is at most 1 % above the true one.
    """

    count: int = 0
    total: float = 0.0
    most: float = 0.0
    _buckets: Counter[int] = field(factory=Counter)

    def add(self, seconds: float) -> None:
        """Record one latency."""
        self.count += 1
        self.total += seconds
        self.most = max(self.most, seconds)
        self._buckets[math.ceil(math.log(max(seconds, _FIRST) / _FIRST) / _GROWTH)] += 1

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent do not exceed; 0 where there are none."""
        rest = max(1, math.ceil(self.count * percent / 100))
        for bucket in sorted(self._buckets):
            rest -= self._buckets[bucket]
            if rest <= 0:
                return min(_FIRST * math.exp(bucket * _GROWTH), self.most)
        return self.most

    def as_dict(self) -> dict[str, float]:
        """Return the usual percentiles, in milliseconds."""
        shown = {f"p{percent:g}".replace(".", "_"): self.percentile(percent) for percent in (50, 90, 99, 99.9)}
        shown |= {"max": self.most, "mean": self.total / self.count if self.count else 0.0}
        return {name: round(seconds * 1000, 3) for name, seconds in shown.items()}


@frozen(kw_only=True)
class Load:
    """What to fire.

    :ivar events: how many at most; None for no end but that of `seconds`.
    :ivar seconds: for how long at most; None for as long as there are events.
    :ivar concurrency: how many callers fire one after the other.
    :ivar padding: bytes of text in each payload, beside its number.
    """

    events: int | None
    seconds: float | None
    concurrency: int
    slug: str
    event: str
    padding: int = 0

    def payloads(self) -> Iterator[dict[str, Any]]:
        """Return the payloads, each of which has a number of its own."""
        text = "x" * self.padding
        for number in range(sys.maxsize if self.events is None else self.events):
            yield {"n": number, "text": text}


@define(eq=False)
class Measured:
    """What a load has shown so far. States: running, then stopped (`stop`, or out of events), then finished.

    :ivar waits: how often a call was held back by the rate limit, `waited` for how many seconds in all.
    :ivar cpu: seconds of CPU of the thread that the client runs in, so without the display.
    """

    latencies: Latencies = field(factory=Latencies)
    verdicts: Counter[Delivery] = field(factory=Counter)
    errors: Counter[str] = field(factory=Counter)
    attempts: int = 0
    waits: int = 0
    waited: float = 0.0
    pauses: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    is_stopped: bool = False
    _started: float = field(factory=time.perf_counter)
    _cpu_before: float = field(factory=time.thread_time)

    @property
    def done(self) -> int:
        """How many calls have ended."""
        return self.latencies.count

    @property
    def rate(self) -> float:
        """Events a second since the start."""
        return self.done / self.seconds if self.seconds else 0.0

    def restart(self) -> None:
        """Count time from now on, and the CPU time of this thread."""
        self._started, self._cpu_before = time.perf_counter(), time.thread_time()

    def stop(self) -> None:
        """Fire nothing more; calls under way end as they will."""
        self.is_stopped = True

    def watch(self, event: HookEvent) -> None:
        """Count what the rate limit does: a hook."""
        if isinstance(event, RateLimitWaited):
            self.waits += 1
            self.waited += event.waited
        self.pauses += isinstance(event, RateLimitPaused)

    def tick(self) -> None:
        """Bring the times up to date. Only the client's own thread calls this."""
        self.seconds = time.perf_counter() - self._started
        self.cpu = time.thread_time() - self._cpu_before


async def fire(client: RefoldClient, load: Load, measured: Measured) -> None:
    """Fire the load."""
    payloads = load.payloads()

    async def caller() -> None:
        for payload in payloads:
            started = time.perf_counter()
            try:
                receipt = await client.trigger(load.slug, load.event, payload)
            except RefoldError as error:
                measured.errors[type(error).__name__] += 1
                verdict, attempts = error.delivery, error.attempts
            else:
                verdict, attempts = Delivery.ACCEPTED, receipt.attempts
            measured.latencies.add(time.perf_counter() - started)
            measured.verdicts[verdict or Delivery.NOT_SENT] += 1
            measured.attempts += attempts
            if measured.is_stopped:
                return

    async def keep_time(scope: anyio.CancelScope) -> None:
        while not scope.cancel_called:
            measured.tick()
            if load.seconds is not None and measured.seconds >= load.seconds:
                measured.stop()
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as clock:
        clock.start_soon(keep_time, clock.cancel_scope)
        async with anyio.create_task_group() as callers:
            for _ in range(load.concurrency):
                callers.start_soon(caller)
        clock.cancel_scope.cancel()
    measured.tick()


def memory_peak() -> float | None:
    """Return the most memory this process has had, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
