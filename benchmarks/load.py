"""A closed loop: so many callers, each of which fires its next event when the last one is answered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import Any

from attrs import asdict, define, field, frozen

from . import cores
from .contender import PAYLOAD, Fire

LEAST = 40
"""Completed calls that a sample has at least, however slow the contender."""

LONGEST = 20.0
"""Seconds after which a sample ends, whatever it has."""

BETWEEN_STARTS = 0.001
"""Seconds between the callers' starts. A hundred at one instant send the pool of stock httpx into a state, seconds
long, in which it looks through all its idle connections for each request; nobody is to be measured in that."""


@frozen(kw_only=True)
class Sample:
    """What was measured in one window, while every caller was at work."""

    completed: int
    seconds: float
    cpu: float
    server_cpu: float
    p50: float
    p99: float
    peak_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it, with the ratios that every table needs."""
        return {
            **asdict(self),
            "rate": self.completed / self.seconds,
            "cpu_us": self.cpu / self.completed * 1e6,
            "server_share": self.server_cpu / self.seconds,
        }


@define(eq=False)
class _Progress:
    latencies: list[float] = field(factory=list)
    warm: asyncio.Event = field(factory=asyncio.Event)
    enough: float = float("inf")

    async def call(self, fire: Fire) -> None:
        clock = time.perf_counter
        latencies = self.latencies
        while True:
            started = clock()
            await fire(PAYLOAD)
            latencies.append(clock() - started)
            if len(latencies) >= self.enough:
                self.warm.set()

    async def warmed(self, calls: int) -> None:
        """Wait for so many more calls."""
        if calls <= 0:
            return
        self.enough = len(self.latencies) + calls
        self.warm.clear()
        await self.warm.wait()
        self.enough = float("inf")


async def sample(fire: Fire, *, concurrency: int, seconds: float, server_pid: int) -> Sample:
    """Measure while `concurrency` callers are at work, once each has been through its first calls.

    The window begins and ends in the middle of things, so neither opening connections nor running dry is in it.

    :raises Exception: the first one that a call raised; this measurement is about calls that succeed.
    """
    progress = _Progress()
    gc.collect()
    async with asyncio.TaskGroup() as callers:
        tasks: list[asyncio.Task[None]] = []
        began = time.perf_counter()
        while len(tasks) < concurrency:
            due = min(concurrency, 1 + int((time.perf_counter() - began) / BETWEEN_STARTS))
            tasks += [callers.create_task(progress.call(fire)) for _ in range(due - len(tasks))]
            await asyncio.sleep(BETWEEN_STARTS)
        await progress.warmed(max(concurrency, 50))
        before = len(progress.latencies)
        server, cpu, start = cores.cpu_seconds(server_pid), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                await progress.warmed(LEAST + before - len(progress.latencies))
        end, cpu_end, server_end = time.perf_counter(), time.process_time(), cores.cpu_seconds(server_pid)
        latencies = sorted(progress.latencies[before:])
        for task in tasks:
            task.cancel()
    if not latencies:
        raise TimeoutError(f"no call was answered in {LONGEST:.0f} s")
    return Sample(
        completed=len(latencies),
        seconds=end - start,
        cpu=cpu_end - cpu,
        server_cpu=server_end - server,
        p50=latencies[len(latencies) // 2],
        p99=latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
        peak_bytes=cores.peak_bytes(),
    )
