"""Batches over real sockets, on asyncio, uvloop and trio; verdicts held against the mock's ledger."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import anyio.to_thread
import pytest

from refold_async import Delivery, Outcome, RateLimit, RefoldClient, Trigger
from refold_async.testing import Fault, MockRefold, SeededFaults
from tests.batch.support import Told, trigger
from tests.support import QUICK, abandons_sockets

pytestmark = pytest.mark.anyio

ROWS = 400

CHANCES = {
    Fault.reset_before_reading(): 0.03,
    Fault.close_before_firing(): 0.03,
    Fault.reset_after_firing(): 0.03,
    Fault.close_after_firing(): 0.03,
    Fault.truncate_head(): 0.02,
    Fault.truncate_body(): 0.02,
    Fault.garbage(): 0.02,
    Fault.html_502(): 0.03,
    Fault.answer(404): 0.03,
    Fault.throttle("0"): 0.03,
    Fault.stall_head(): 0.02,
    Fault.stall_head(fires=False): 0.02,
}


@pytest.fixture(
    params=[("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})], ids=["asyncio", "uvloop", "trio"]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def check_against(server: MockRefold, outcomes: list[Outcome]) -> None:
    """Every verdict is true of what the server has fired."""
    counts = server.ledger.count_fired_by("n")
    for outcome in outcomes:
        assert outcome.trigger.payload is not None
        fired = counts[outcome.trigger.payload["n"]]
        assert fired <= 1
        if outcome.delivery is Delivery.ACCEPTED:
            assert fired == 1
        elif outcome.delivery is not Delivery.AMBIGUOUS:
            assert fired == 0


def unpaced(server: MockRefold, **options: Any) -> RefoldClient:
    return server.client(**{"rate_limit": None, "retry": QUICK, "timeout": 0.3, **options})


async def slowly(count: int) -> AsyncIterator[Trigger]:
    for n in range(count):
        await anyio.sleep(0.0005)
        yield trigger(n, f"key {n % 50}")


async def test_over_every_fault_each_verdict_is_true() -> None:
    with MockRefold(rate_limit=None, faults=SeededFaults(7, CHANCES)) as server:
        async with unpaced(server) as client:
            result = await client.trigger_many(map(trigger, range(ROWS)))
            check_against(server, list(result))
            server.ledger.clear()
            async with client.trigger_stream(slowly(ROWS), ordered=True) as outcomes:
                seen = [outcome async for outcome in outcomes]
            check_against(server, seen)
        assert len(result) == ROWS
        assert [outcome.index for outcome in seen] == list(range(ROWS))
        assert len(result.accepted) > ROWS * 0.7
        assert result.ambiguous
        assert [n for n, count in server.ledger.count_fired_by("n").items() if count > 1] == []


@abandons_sockets
@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 0.12])
async def test_cancelled_at_any_time_each_verdict_is_true(seconds: float) -> None:
    told = Told()
    with MockRefold(rate_limit=None, latency=0.02, faults=SeededFaults(3, {Fault.stall_head(): 0.2})) as server:
        async with unpaced(server, timeout=30) as client:
            with anyio.move_on_after(seconds) as scope:
                await client.trigger_many(slowly(10_000), on_outcome=told)
            assert scope.cancelled_caught
        assert sorted(told.indexes) == list(range(len(told.outcomes)))
        check_against(server, told.outcomes)


@abandons_sockets
async def test_leaving_early_never_hangs() -> None:
    """With rows on the wire to a server that stalls, waiting to try again, and waiting for the limiter."""
    told = Told()
    with MockRefold(rate_limit=None) as server:
        # The 429 comes last: it pauses the limiter, and what had no slot by then would not be sent.
        server.next(None, Fault.stall_head(seconds=1.0), Fault.stall_head(seconds=1.0), Fault.throttle("50"))
        async with server.client(rate_limit=RateLimit(4, 4), timeout=30) as client:
            async with client.trigger_stream(map(trigger, range(1000)), max_concurrency=8, on_outcome=told) as outcomes:
                await anext(outcomes)
                await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests >= 4)
                await anyio.sleep(0.05)
                left = time.monotonic()
            assert time.monotonic() - left < 3
        check_against(server, told.outcomes)
    assert {"NotAttemptedError", "RateLimitedError", "accepted", "RefoldConnectionError"} >= set(told.kinds)
    assert told.kinds.count("RefoldConnectionError") == 2, "the server closed them, in the five seconds they had"
    assert told.kinds.count("RateLimitedError") == 1
    assert told.kinds.count("NotAttemptedError") >= 1


async def test_a_wrong_key_stops_it(server: MockRefold) -> None:
    async with RefoldClient(api_key="tk_wrong", base_url=server.url, linked_account_id="a", rate_limit=None) as client:
        result = await client.trigger_many(map(trigger, range(200)), max_concurrency=5)
    assert len(result) == 200
    assert server.ledger.requests <= 5
    assert {outcome.delivery for outcome in result} == {Delivery.REJECTED, Delivery.NOT_SENT}


async def test_one_key_in_order_while_others_proceed(server: MockRefold) -> None:
    async with unpaced(server) as client:
        result = await client.trigger_many(slowly(ROWS), max_concurrency=10)
    assert len(result.accepted) == ROWS
    order = [entry.payload["n"] for entry in server.ledger.entries]
    for key in range(50):
        assert [n for n in order if n % 50 == key] == list(range(key, ROWS, 50))


async def test_a_429_in_mid_run_pauses_it_and_then_it_carries_on() -> None:
    with MockRefold(rate_limit=None) as server:
        server.next(*[None] * 30, Fault.throttle("1"))
        async with server.client(rate_limit=RateLimit(100, 5), deadline=0.9) as client:
            result = await client.trigger_many(map(trigger, range(60)))
    assert len(result.accepted) == 60
    times = [entry.received_at for entry in server.ledger.entries]
    assert max(later - earlier for earlier, later in pairwise(times)) >= 0.9


async def test_closing_the_client_in_the_middle() -> None:
    told = Told()
    with MockRefold(rate_limit=None, latency=0.05) as server:
        client = unpaced(server)
        async with anyio.create_task_group() as group:

            async def close() -> None:
                await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests >= 20)
                await client.aclose()

            group.start_soon(close)
            result = await client.trigger_many(map(trigger, range(2000)), max_concurrency=5, on_outcome=told)
        check_against(server, list(result))
    assert len(result) == 2000
    assert {outcome.delivery for outcome in result} == {Delivery.ACCEPTED, Delivery.NOT_SENT}
