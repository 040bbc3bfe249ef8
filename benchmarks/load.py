"""A closed loop: so many callers, each of which sends its next event when the last one is answered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import cycle, islice
from typing import Any, TypeVar

from . import machine
from .contender import Event, Fire, Send, events

T = TypeVar("T")

LEAST = 40
"""Completed calls that a sample has at least, however slow the contender."""

LONGEST = 20.0
"""Seconds after which a sample ends, whatever it has."""

BETWEEN_STARTS = 0.001
"""Seconds between the callers' starts. A hundred at one instant send the pool of stock httpx into a state, seconds
long, in which it looks through all its idle connections for each request; nobody is to be measured in that."""


def run_on(loop: str, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of this kind."""
    if loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


async def _start(group: asyncio.TaskGroup, concurrency: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    began, started = time.perf_counter(), 0
    while started < concurrency:
        due = min(concurrency, 1 + int((time.perf_counter() - began) / BETWEEN_STARTS))
        for _ in range(due - started):
            group.create_task(work())
        started = due
        await asyncio.sleep(BETWEEN_STARTS)


class _Callers:
    """What the callers share: the events, and how long each call took."""

    def __init__(self, fire: Fire) -> None:
        self._fire = fire
        self._events = cycle(events())
        self.latencies: list[float] = []
        self.stopped = False
        self._enough = float("inf")
        self._warm = asyncio.Event()

    async def call_until_stopped(self) -> None:
        clock, latencies, fire = time.perf_counter, self.latencies, self._fire
        for event in self._events:
            if self.stopped:
                return
            started = clock()
            await fire(event)
            latencies.append(clock() - started)
            if len(latencies) >= self._enough:
                self._warm.set()

    async def completed(self, calls: int) -> None:
        """Wait for so many more calls."""
        if calls > 0:
            self._enough = len(self.latencies) + calls
            self._warm.clear()
            await self._warm.wait()
            self._enough = float("inf")


async def sample(fire: Fire, *, concurrency: int, seconds: float, server_pid: int) -> dict[str, Any]:
    """Measure while `concurrency` callers are at work, once each has been through its first calls.

    The window begins and ends in the middle of things, so neither opening connections nor running dry is in it.

    :raises Exception: the first one that a call raised; this measurement is about calls that succeed.
    """
    callers = _Callers(fire)
    gc.collect()
    machine.forget_peak()
    async with asyncio.TaskGroup() as group:
        await _start(group, concurrency, callers.call_until_stopped)
        await callers.completed(max(concurrency, 50))
        before = len(callers.latencies)
        server, cpu, start = machine.cpu_seconds(server_pid), time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                await callers.completed(LEAST + before - len(callers.latencies))
        took, used = time.perf_counter() - start, time.process_time() - cpu
        server_used = machine.cpu_seconds(server_pid) - server
        latencies = sorted(callers.latencies[before:])
        callers.stopped = True  # cancelling them in the middle of a call hangs one of the contenders
    if not latencies:
        raise TimeoutError(f"no call was answered in {LONGEST:.0f} s")
    return {
        "completed": len(latencies),
        "rate": len(latencies) / took,
        "cpu_us": used / len(latencies) * 1e6,
        "server_share": server_used / took,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99)],
        "peak_bytes": machine.peak_bytes(),
    }


async def send_all(fire: Fire, source: Iterator[Event], concurrency: int) -> None:
    """Send every event of a source, so many at a time."""

    async def work() -> None:
        for event in source:
            await fire(event)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def count(send: Send, *, calls: int, concurrency: int) -> dict[str, Any]:
    """Measure so many calls from the first to the last, after some to warm up."""
    gc.collect()
    machine.forget_peak()
    warming = max(500, concurrency)
    await send(islice(cycle(events()), warming), concurrency)
    source = islice(cycle(events()), calls)
    cpu, start = time.process_time(), time.perf_counter()
    await send(source, concurrency)
    used, took = time.process_time() - cpu, time.perf_counter() - start
    return {
        "completed": calls,
        "requests": calls + warming,
        "rate": calls / took,
        "cpu_us": used / calls * 1e6,
        "peak_bytes": machine.peak_bytes(),
    }


def marked(calls: int, before: int, mark: Callable[[], object]) -> Iterator[Event]:
    """Return events of which so many are pulled between two marks, with some before them.

    At both marks as many calls are in flight, so that neither starting nor finishing is between them.
    """
    for number, event in enumerate(islice(cycle(events()), before + calls + 1)):
        if number in {before, before + calls}:
            mark()
        yield event
