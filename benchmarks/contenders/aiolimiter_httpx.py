"""aiolimiter and stock httpx: the usual way to pace requests. Only in the measurement of pacing."""

# The documented limit is 20 a second and a burst of 5. `AsyncLimiter(20, 1)` is how most would write it; aiolimiter
# then allows a burst of 20. `AsyncLimiter(5, 0.25)` has the documented burst, for those who have read how it works.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiolimiter import AsyncLimiter

from ..contender import Contender, Fire, Setup, Target
from .httpx import firing


@asynccontextmanager
async def _paced(target: Target, limiter: AsyncLimiter) -> AsyncIterator[Fire]:
    async with firing(target) as post:

        async def fire(payload: dict[str, Any]) -> object:
            async with limiter:
                return await post(payload)

        yield fire


@asynccontextmanager
async def _twenty_a_second(target: Target) -> AsyncIterator[Fire]:
    async with _paced(target, AsyncLimiter(20, 1)) as fire:
        yield fire


@asynccontextmanager
async def _with_the_burst(target: Target) -> AsyncIterator[Fire]:
    async with _paced(target, AsyncLimiter(5, 0.25)) as fire:
        yield fire


CONTENDER = Contender(
    name="aiolimiter + httpx",
    imports="aiolimiter",
    distributions=("aiolimiter", "httpx"),
    open=_twenty_a_second,
    paced=(
        Setup(name="AsyncLimiter(20, 1)", open=_twenty_a_second),
        Setup(name="AsyncLimiter(5, 0.25)", open=_with_the_burst),
    ),
)
