"""A closed loop: so many callers, each of which sends its next event when the last one is answered."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import cycle, islice
from typing import Any, Final, TypeVar

from . import machine
from .contender import Event, Fire, Send, events

T = TypeVar("T")

LEAST: Final = 40
"""Completed calls that a sample has at least, however slow the contender."""

LONGEST: Final = 20.0
"""Seconds after which a sample ends, whatever it has."""

START_TOGETHER: Final = 20
"""Callers that start at one instant. A hundred send the pool of stock httpx into a state, seconds long, in which it
looks through all its idle connections for each request; nobody is to be measured in that."""


def run_on(loop: str, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of this kind."""
    if loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


async def sample(fire: Fire, *, concurrency: int, seconds: float, server_pid: int) -> dict[str, Any]:
    """Measure while `concurrency` callers are at work, once each has been through its first calls.

    The window begins and ends in the middle of things, so neither opening connections nor running dry is in it.

    :raises Exception: the first one that a call raised; this measurement is about calls that succeed.
    """
    clock, source, latencies, warm, stopped = time.perf_counter, cycle(events()), list[float](), 0, False

    async def call() -> None:
        nonlocal warm
        await fire(next(source))
        warm += 1  # each caller has been through its first call, and so each connection is open
        while not stopped:
            started = clock()
            await fire(next(source))
            latencies.append(clock() - started)

    async def completed(calls: int) -> None:
        latest = clock() + LONGEST
        while (len(latencies) < calls or warm < concurrency) and clock() < latest:  # noqa: ASYNC110 - an event would cost each call something
            await asyncio.sleep(0.002)

    gc.collect()
    machine.forget_peak()
    async with asyncio.TaskGroup() as group:
        for number in range(concurrency):
            group.create_task(call())
            if number % START_TOGETHER == START_TOGETHER - 1:
                await asyncio.sleep(START_TOGETHER / 1000)
        await completed(LEAST)
        before = len(latencies)
        server, cpu, start = machine.cpu_seconds(server_pid), time.process_time(), clock()
        await asyncio.sleep(seconds)
        await completed(before + LEAST)
        took, used = clock() - start, time.process_time() - cpu
        server_used, measured = machine.cpu_seconds(server_pid) - server, sorted(latencies[before:])
        stopped = (
            True  # callers finish their last call: cancelling them in the middle of it hangs one of the contenders
        )
    if not measured:
        raise TimeoutError(f"no call was answered in {LONGEST:.0f} s")
    return {
        "completed": len(measured),
        "rate": len(measured) / took,
        "cpu_us": used / len(measured) * 1e6,
        "server_share": server_used / took,
        "p50": measured[len(measured) // 2],
        "p99": measured[int(len(measured) * 0.99)],
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
    warming = max(500, concurrency)
    await send(islice(cycle(events()), warming), concurrency)
    source = islice(cycle(events()), calls)
    gc.collect()
    machine.forget_peak()
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
