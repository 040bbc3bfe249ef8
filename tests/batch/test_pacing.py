"""The pace of a batch in virtual time: default limits against a server that enforces them in both readings."""

from __future__ import annotations

import anyio
import pytest

from refold_async import RateLimit
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing._limits import EnforcedLimit
from tests.batch.support import trigger
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over

SECONDS = 60
LIMIT = RateLimit()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("latency", [0.0, 0.05, 0.9])
def test_a_backlog_meets_no_429_and_uses_the_documented_rate(backend: str, latency: float) -> None:
    rows = LIMIT.burst + int(SECONDS * LIMIT.rate)
    enforced = EnforcedLimit(LIMIT)

    def answer(n: int, before: int) -> Reply:
        status = 200 if enforced.admit(anyio.current_time()) else 429
        return Reply(status, seconds=latency * (n % 3) / 2)

    wire = FakeTransport(answer)

    async def main() -> None:
        limiter = MemoryRateLimiter(LIMIT, clock=anyio.current_time)
        async with client_over(wire, rate_limit=limiter) as client:
            result = await client.trigger_many(map(trigger, range(rows)))
        assert len(result.accepted) == rows

    run(backend, main)
    times = wire.times
    assert {status for _, status in wire.answered} == {200}
    assert (rows - LIMIT.burst) / (times[-1] - times[0]) >= 0.96 * LIMIT.rate
