"""Contenders with known faults, by which the harness is judged."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Never

from benchmarks.contender import FIRED, Contender, Fire, Open, Setup, Target, never_uncertain
from benchmarks.contenders.httpx import firing

Payload = dict[str, Any]


def contender(name: str, wrap: Callable[[Fire, Payload], Awaitable[Any]]) -> Contender:
    """httpx, with something of one's own around each call."""
    opened = around(wrap)
    return Contender(
        name=name,
        imports="httpx",
        distributions=("httpx",),
        open=opened,
        setups=(Setup(name="defaults", open=opened, uncertain=never_uncertain),),
        paced=(Setup(name="defaults", open=opened),),
    )


def around(wrap: Callable[[Fire, Payload], Awaitable[Any]]) -> Open:
    @asynccontextmanager
    async def opening(target: Target) -> AsyncIterator[Fire]:
        async with firing(target) as post:

            async def fire(payload: Payload) -> Any:
                return await wrap(post, payload)

            yield fire

    def open_(target: Target) -> AbstractAsyncContextManager[Fire]:
        return opening(target)

    return open_


async def _honest(post: Fire, payload: Payload) -> Any:
    return await post(payload)


async def _doubles(post: Fire, payload: Payload) -> Any:
    await post(payload)
    return await post(payload)


async def _doubles_slyly(post: Fire, payload: Payload) -> Never:
    await post(payload)
    await post(payload)
    raise ConnectionError("it failed, it says")


async def _loses(post: Fire, payload: Payload) -> Any:
    await asyncio.sleep(0)
    return {"message": FIRED}


async def _denies(post: Fire, payload: Payload) -> Never:
    await post(payload)
    raise ConnectionError("it failed, it says")


async def _sleeps(post: Fire, payload: Payload) -> Any:
    await asyncio.sleep(0.02)
    return await post(payload)


async def _burns(post: Fire, payload: Payload) -> Any:
    end = time.process_time() + 0.005
    while time.process_time() < end:
        pass
    return await post(payload)


async def _raises(post: Fire, payload: Payload) -> Never:
    raise RuntimeError("out of order")


async def _crashes(post: Fire, payload: Payload) -> Never:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


async def _hangs(post: Fire, payload: Payload) -> Never:
    time.sleep(3600)  # noqa: ASYNC251 - so that no timeout in its own process could help
    raise AssertionError("unreachable")


HONEST = contender("honest", _honest)
DOUBLES = contender("doubles", _doubles)
DOUBLES_SLYLY = contender("doubles slyly", _doubles_slyly)
LOSES = contender("loses", _loses)
DENIES = contender("denies", _denies)
SLEEPS = contender("sleeps", _sleeps)
BURNS = contender("burns", _burns)
RAISES = contender("raises", _raises)
CRASHES = contender("crashes", _crashes)
HANGS = contender("hangs", _hangs)


def turn(name: str, *, value: int) -> dict[str, int]:
    """A measurement, for a worker, that is a chatterbox."""
    print(f"{name} something")
    os.write(1, b"and something else\n")
    return {"value": value}
