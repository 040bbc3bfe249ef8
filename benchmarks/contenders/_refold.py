"""What the refold_async contenders share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from refold_async import ConfigurationError, RefoldClient

from ..contender import EVENT, SLUG, Fire, Target


def client(target: Target, **options: Any) -> RefoldClient:
    """Make a client for the target; the rate limit is off, because nobody else has one."""
    given = {
        "api_key": target.api_key,
        "linked_account_id": target.linked_account_id,
        "base_url": target.url,
        "rate_limit": None,
        **options,
    }
    try:
        return RefoldClient(**given)
    except ConfigurationError:
        if given.pop("transport", None) != "httpx":
            raise
        return RefoldClient(**given)  # a version whose only wire is the stock one has no such option


@asynccontextmanager
async def firing(target: Target, **options: Any) -> AsyncIterator[Fire]:
    """Open a client and give what fires through it; each call gives a full `Receipt`."""
    async with client(target, **options) as opened:

        async def fire(payload: dict[str, Any]) -> object:
            return await opened.trigger(SLUG, EVENT, payload)

        yield fire


def wire_of(target: Target, **options: Any) -> str:
    """Name the class that is a client's wire."""
    return type(client(target, **options).session._transport).__name__  # noqa: SLF001
