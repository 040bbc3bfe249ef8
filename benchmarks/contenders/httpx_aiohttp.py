"""httpx over aiohttp: the package httpx-aiohttp, under httpx's own API."""

# `HttpxAiohttpClient` is how its documentation uses it; the rest is as with stock httpx.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx_aiohttp

from ..contender import EVENT, Contender, Fire, Setup, Target
from .httpx import limits


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    async with httpx_aiohttp.HttpxAiohttpClient(
        headers=target.headers, timeout=target.timeout, limits=limits(target)
    ) as client:

        async def fire(payload: dict[str, Any]) -> object:
            response = await client.post(target.address, json={"event": EVENT, "payload": payload})
            response.raise_for_status()
            return response.json()

        yield fire


CONTENDER = Contender(
    name="httpx over aiohttp",
    imports="httpx_aiohttp",
    distributions=("httpx-aiohttp", "httpx", "aiohttp"),
    open=_open,
    setups=(Setup(name="defaults", open=_open),),
)
