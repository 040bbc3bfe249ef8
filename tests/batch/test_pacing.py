"""The pace of a batch for real: default limits against a server that enforces them."""

from __future__ import annotations

import pytest

from refold_async.testing import MockRefold
from tests.batch.support import trigger

pytestmark = pytest.mark.asyncio

SECONDS = 10
BURST = 5


@pytest.mark.timeout(40)
async def test_a_backlog_meets_no_429_and_uses_the_documented_rate() -> None:
    rows = BURST + SECONDS * 20
    with MockRefold() as server:
        async with server.client() as client:
            result = await client.trigger_many(map(trigger, range(rows)))
    times = [entry.received_at for entry in server.ledger.entries]
    assert len(result.accepted) == rows
    assert server.ledger.statuses() == {200: rows}
    assert (rows - BURST) / (times[-1] - times[0]) >= 0.96 * 20
