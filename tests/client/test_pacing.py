"""The pace for real: against a server that enforces the documented limit."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from refold_async import Delivery, RateLimit, RefoldError
from refold_async.testing import Fault, MockRefold

pytestmark = pytest.mark.asyncio

SECONDS = 10


@pytest.mark.timeout(30)
async def test_ten_seconds_of_backlog_meet_no_429() -> None:
    with MockRefold() as server:
        async with server.client(deadline=60) as client:
            started = time.monotonic()
            calls = SECONDS * 20
            await asyncio.gather(*(client.trigger("pipedrive", "Deal Created", {"n": n}) for n in range(calls)))
            took = time.monotonic() - started
        assert server.ledger.statuses() == {200: calls}
        assert server.ledger.max_per_second() <= 20
        assert calls / took >= 0.95 * 20, "and the limit is used"


@pytest.mark.timeout(30)
async def test_a_server_that_stalls_and_recovers_never_gets_more_than_the_rate() -> None:
    """What was granted during the stall is on the wire already; it does not pile up and burst."""
    stalled_until = time.monotonic() + 5
    plan = [Fault.stall_head(seconds=5)]
    with MockRefold(
        rate_limit=None, faults=lambda entry: plan[0] if entry.received_at < stalled_until else None
    ) as server:
        async with server.client(rate_limit=RateLimit(), deadline=12, timeout=2.0, max_connections=10) as client:
            endings: list[Delivery | None] = []

            async def fire(n: int) -> None:
                try:
                    endings.append((await client.trigger("pipedrive", "Deal Created", {"n": n})).delivery)
                except RefoldError as error:
                    endings.append(error.delivery)

            async with anyio.create_task_group() as group:
                for n in range(200):
                    group.start_soon(fire, n)
        assert server.ledger.max_per_second() <= 20
        assert endings.count(Delivery.ACCEPTED) >= 50, "it recovered"
        assert len(endings) == 200
