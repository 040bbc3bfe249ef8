"""Bare aiohttp: `session.post` and `json()`. The ratios in the tables are to this one."""

# One session, as its documentation asks; 100 connections are its default, kept alive all of them. `raise_for_status`
# is its own switch for it. It never retries a POST.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from ..contender import EVENT, Contender, Fire, Setup, Target


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    timeout = aiohttp.ClientTimeout(
        total=None, connect=None, sock_connect=target.timeout, sock_read=target.timeout
    )  # per attempt and per read, as the others have it; a total would also count the time spent queueing
    connector = aiohttp.TCPConnector(limit=target.connections)
    async with aiohttp.ClientSession(
        connector=connector, headers=target.headers, timeout=timeout, raise_for_status=True
    ) as session:

        async def fire(payload: dict[str, Any]) -> object:
            async with session.post(target.address, json={"event": EVENT, "payload": payload}) as response:
                return await response.json()

        yield fire


CONTENDER = Contender(
    name="aiohttp",
    imports="aiohttp",
    distributions=("aiohttp",),
    open=_open,
    setups=(Setup(name="defaults", open=_open),),
)
