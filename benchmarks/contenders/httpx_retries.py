"""httpx-retries: stock httpx with a transport that retries."""

# By default it retries no POST. Where it is told to, the settings are those of the first example in its documentation
# (`Retry(total=5, backoff_factor=0.5)`), with POST among the methods. The wire below is stock httpx with everybody's
# limits.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from httpx_retries import Retry, RetryTransport

from ..contender import Contender, Fire, Setup, Target
from .httpx import firing, limits


@asynccontextmanager
async def _firing(target: Target, retry: Retry) -> AsyncIterator[Fire]:
    wire = httpx.AsyncHTTPTransport(limits=limits(target))
    async with firing(target, RetryTransport(transport=wire, retry=retry)) as fire:
        yield fire


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    async with _firing(target, Retry()) as fire:
        yield fire


@asynccontextmanager
async def _retrying_posts(target: Target) -> AsyncIterator[Fire]:
    retry = Retry(total=5, backoff_factor=0.5, allowed_methods=[*Retry.RETRYABLE_METHODS, "POST"])
    async with _firing(target, retry) as fire:
        yield fire


CONTENDER = Contender(
    name="httpx-retries",
    imports="httpx_retries",
    distributions=("httpx-retries", "httpx"),
    open=_open,
    setups=(Setup(name="defaults", open=_open), Setup(name="POST retried", open=_retrying_posts)),
    paced=(Setup(name="POST retried", open=_retrying_posts),),
)
