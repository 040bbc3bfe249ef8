"""Stock httpx: `AsyncClient.post` and `.json()`."""

# One client for all calls, as its documentation asks. Its default is 100 connections of which 20 are kept alive;
# here all are, as with the others, because dropping 80 after each burst would only make it slower. `raise_for_status`,
# because a user wants to know. The retries it offers are of failures to connect only, which the faults have none of.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ..contender import EVENT, Contender, Fire, Setup, Target


@asynccontextmanager
async def firing(target: Target, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Fire]:
    """Open a client, over this transport if one is given."""
    async with httpx.AsyncClient(
        headers=target.headers, timeout=target.timeout, limits=limits(target), transport=transport
    ) as client:

        async def fire(payload: dict[str, Any]) -> object:
            response = await client.post(target.address, json={"event": EVENT, "payload": payload})
            response.raise_for_status()
            return response.json()

        yield fire


def limits(target: Target) -> httpx.Limits:
    """Give the pool's limits: as many connections as everybody has, all kept alive."""
    return httpx.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)


CONTENDER = Contender(
    name="httpx",
    imports="httpx",
    distributions=("httpx", "httpcore"),
    open=firing,
    setups=(Setup(name="defaults", open=firing),),
)
