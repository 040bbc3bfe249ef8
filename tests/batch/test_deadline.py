"""The deadline of a row stands still for the rate limit alone: whatever else takes for ever, the row ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from refold_async import Delivery, RateLimit, Trigger
from refold_async.testing import MockRefold

pytestmark = pytest.mark.asyncio


async def for_ever(*_: object) -> Any:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("limit", [None, RateLimit(1000, 10)], ids=["no limit", "limit"])
@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("what", ["before_send", "api_key"])
@pytest.mark.parametrize("max_connections", [1, 50])
async def test_a_row_ends_at_its_deadline_although_code_of_the_users_own_never_returns(
    server: MockRefold, what: str, wire: Any, limit: RateLimit | None, max_connections: int
) -> None:
    options: dict[str, Any] = {what: for_ever}
    async with server.client(
        rate_limit=limit, transport=wire, deadline=0.05, max_connections=max_connections, retry=None, **options
    ) as client:
        result = await asyncio.wait_for(client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(3)]), 10)
        assert [outcome.delivery for outcome in result] == [Delivery.NOT_SENT] * 3
        assert client._sender.life.calls == set()
    assert server.ledger.requests == 0
