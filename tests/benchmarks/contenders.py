"""Contenders with known faults, by which the harness is judged."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Never

from benchmarks.contender import Event, Fire, Target, contender
from benchmarks.contenders.clients import httpx


def _around(name: str) -> Callable[[Callable[[Fire, Event], Awaitable[Any]]], Any]:
    """Register httpx with something of one's own around each call."""

    def register(wrap: Callable[[Fire, Event], Awaitable[Any]]) -> Any:
        async def opening(target: Target) -> AsyncIterator[Fire]:
            async for post in httpx(target):

                async def fire(event: Event, post: Fire = post) -> Any:
                    return await wrap(post, event)

                yield fire

        return contender(name, "httpx")(opening)

    return register


@_around("honest")
async def _honest(post: Fire, event: Event) -> Any:
    return await post(event)


@_around("doubles")
async def _doubles(post: Fire, event: Event) -> Any:
    await post(event)
    return await post(event)


@_around("doubles slyly")
async def _doubles_slyly(post: Fire, event: Event) -> Never:
    await post(event)
    await post(event)
    raise ConnectionError("it failed, it says")


@_around("loses")
async def _loses(post: Fire, event: Event) -> Any:
    await asyncio.sleep(0)
    return {"message": "Webhook Fired Success"}


@_around("denies")
async def _denies(post: Fire, event: Event) -> Never:
    await post(event)
    raise ConnectionError("it failed, it says")


@_around("burns")
async def _burns(post: Fire, event: Event) -> Any:
    end = time.process_time() + 0.005
    while time.process_time() < end:
        pass
    return await post(event)


@_around("raises")
async def _raises(post: Fire, event: Event) -> Never:
    raise RuntimeError("out of order")


@_around("crashes")
async def _crashes(post: Fire, event: Event) -> Never:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


@_around("hangs")
async def _hangs(post: Fire, event: Event) -> Never:
    time.sleep(3600)  # noqa: ASYNC251 - so that no timeout in its own process could help
    raise AssertionError("unreachable")


def turn(*, value: int) -> dict[str, int]:
    """A measurement that prints."""
    print("something")
    os.write(1, b"and something else\n")
    return {"value": value}
