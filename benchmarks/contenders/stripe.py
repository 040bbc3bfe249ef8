"""stripe's async client: `StripeClient.raw_request_async`."""

# Its JSON API is told by a path that begins with /v2, so Refold's /api is put into the base address. httpx is what its
# documentation names for async use (`stripe[async]`). It takes no connection limits, so its session is made anew with
# everybody's. A `StripeClient` does not retry unless told; the older, global way of calling it retries twice. It sends
# an `Idempotency-Key` with each POST, the same one on every attempt.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import stripe

from ..contender import EVENT, PATH, Contender, Fire, Setup, Target
from .httpx import limits


@asynccontextmanager
async def _firing(target: Target, **options: Any) -> AsyncIterator[Fire]:
    wire: Any = stripe.HTTPXClient(timeout=target.timeout)
    await wire.close_async()
    wire._client_async = httpx.AsyncClient(limits=limits(target))  # noqa: SLF001 - there is no other way
    client = stripe.StripeClient(
        target.api_key,
        base_addresses={"api": f"{target.url}/api"},
        http_client=wire,
        **options,
    )

    async def fire(payload: dict[str, Any]) -> object:
        answer = await client.raw_request_async(
            "post", PATH.removeprefix("/api"), event=EVENT, payload=payload, headers=target.headers
        )
        return answer.data

    try:
        yield fire
    finally:
        await wire.close_async()


def _open(target: Target) -> AbstractAsyncContextManager[Fire]:
    return _firing(target)


def _retrying(target: Target) -> AbstractAsyncContextManager[Fire]:
    return _firing(target, max_network_retries=2)


CONTENDER = Contender(
    name="stripe",
    imports="stripe",
    distributions=("stripe", "httpx"),
    open=_open,
    setups=(
        Setup(name="defaults", open=_open),
        Setup(name="max_network_retries=2", open=_retrying),
        Setup(name="max_network_retries=2, server drops repeats", open=_retrying, deduped=True),
    ),
)
