"""A modern SDK's generic client: `AsyncOpenAI(...).post(...)`, which parses the answer and retries."""

# `DefaultAsyncHttpxClient` is how it lets connection limits be set. Two retries, POST included, are its default; it
# makes a key for each call, but sends it only where a header is configured for it, and none is.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from ..contender import EVENT, PATH, Contender, Fire, Setup, Target


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    limits = httpx2.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)
    async with openai.AsyncOpenAI(
        api_key=target.api_key,
        base_url=target.url,
        default_headers=target.headers,
        timeout=target.timeout,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits),
    ) as client:

        async def fire(payload: dict[str, Any]) -> object:
            return await client.post(PATH, body={"event": EVENT, "payload": payload}, cast_to=object)

        yield fire


CONTENDER = Contender(
    name="openai",
    imports="openai",
    distributions=("openai", "httpx2"),
    open=_open,
    setups=(Setup(name="defaults", open=_open),),
)
