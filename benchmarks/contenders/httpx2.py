"""httpx2, the maintained fork of httpx: `AsyncClient.post` and `.json()`."""

# As stock httpx: one client, every connection kept alive, `raise_for_status`.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from ..contender import EVENT, Contender, Fire, Setup, Target


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    limits = httpx2.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)
    async with httpx2.AsyncClient(headers=target.headers, timeout=target.timeout, limits=limits) as client:

        async def fire(payload: dict[str, Any]) -> object:
            response = await client.post(target.address, json={"event": EVENT, "payload": payload})
            response.raise_for_status()
            return response.json()

        yield fire


CONTENDER = Contender(
    name="httpx2",
    imports="httpx2",
    distributions=("httpx2", "httpcore2"),
    open=_open,
    setups=(Setup(name="defaults", open=_open),),
)
