"""The pace of single calls in virtual time, against a server that enforces the documented limit in both readings."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from refold_async import Delivery, RateLimit, RefoldError
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing._limits import EnforcedLimit
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over

LIMIT = RateLimit()
SECONDS = 10
STALL = 5.0


async def fire_all(wire: FakeTransport, calls: int, **options: Any) -> list[Delivery | None]:
    """Make so many calls at once, and return what became of them."""
    endings: list[Delivery | None] = []
    limiter = MemoryRateLimiter(LIMIT, clock=anyio.current_time)

    async with client_over(wire, rate_limit=limiter, **options) as client:

        async def fire(n: int) -> None:
            try:
                endings.append((await client.trigger("pipedrive", "Deal Created", {"n": n})).delivery)
            except RefoldError as error:
                endings.append(error.delivery)

        async with anyio.create_task_group() as group:
            for n in range(calls):
                group.start_soon(fire, n)
    return endings


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("latency", [0.0, 0.05, 0.9])
def test_ten_seconds_of_backlog_meet_no_429(backend: str, latency: float) -> None:
    calls = LIMIT.burst + int(SECONDS * LIMIT.rate)
    enforced = EnforcedLimit(LIMIT)

    def answer(n: int, before: int) -> Reply:
        return Reply(200 if enforced.admit(anyio.current_time()) else 429, seconds=latency * (n % 3) / 2)

    wire = FakeTransport(answer)
    endings = run(backend, lambda: fire_all(wire, calls, deadline=60))
    assert endings == [Delivery.ACCEPTED] * calls
    assert {status for _, status in wire.answered} == {200}
    assert (calls - LIMIT.burst) / (wire.times[-1] - wire.times[0]) >= 0.96 * LIMIT.rate, "and the limit is used"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_stalls_and_recovers_never_gets_more_than_the_rate(backend: str) -> None:
    """What was granted during the stall is on the wire already; it does not pile up and burst."""
    began: list[float] = []

    def answer(n: int, before: int) -> Reply:
        now = anyio.current_time()
        began.append(now)
        return Reply(seconds=max(0.0, began[0] + STALL - now))

    wire = FakeTransport(answer)
    endings = run(backend, lambda: fire_all(wire, 200, deadline=14, max_connections=10))
    times = wire.times
    per_second = max(sum(start <= at < start + 1 for at in times) for start in times)
    assert per_second <= LIMIT.rate
    assert endings.count(Delivery.ACCEPTED) >= 50, "it recovered"
    assert len(endings) == 200
