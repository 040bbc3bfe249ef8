"""What each transport of ours tells of the requests that it sends, alone and on top of each other."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from refold_async import RateLimit, RetryPolicy
from refold_async._wire.loop_pool import was_written
from refold_async.policies.budget import RetryBudget
from refold_async.testing import Fault, MockRefold
from refold_async.transports import ConcurrencyTransport, PoolTransport, RateLimitTransport, RetryTransport
from refold_async.transports._evidence import send_observed
from tests.fakes.transport import FakeTransport, Reply

pytestmark = pytest.mark.asyncio


def stacks(below: httpx.AsyncBaseTransport) -> list[Any]:
    """Each of them over this one, and all of them together."""
    return [
        RetryTransport(below),
        ConcurrencyTransport(below),
        RateLimitTransport(below, limiter=RateLimit()),
        RetryTransport(ConcurrencyTransport(RateLimitTransport(below, limiter=None))),
    ]


async def test_a_stack_tells_what_was_written_where_the_transport_below_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with PoolTransport() as pool:
        told = [pool.reports_written]
        assert [stack.reports_written for stack in stacks(pool)] == [True] * 4
        replaced = FakeTransport(lambda n, before: Reply()).handle_async_request
        monkeypatch.setattr(pool, "handle_async_request", replaced)
        told.append(pool.reports_written)
        assert [stack.reports_written for stack in stacks(pool)] == [False] * 4
        monkeypatch.undo()
        bound = pool.handle_async_request
        monkeypatch.setattr(pool, "handle_async_request", bound)  # as a tracer leaves it behind
        assert [*told, pool.reports_written] == [True, False, True]
    for other in (httpx.AsyncHTTPTransport(), FakeTransport(lambda n, before: Reply())):
        assert [stack.reports_written for stack in stacks(other)] == [False] * 4


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "1", None])
async def test_a_number_of_requests_in_flight_is_a_whole_one_from_1(count: Any) -> None:
    with pytest.raises(ValueError, match="max_concurrency must be a whole number of at least 1"):
        ConcurrencyTransport(httpx.AsyncHTTPTransport(), max_concurrency=count)


async def test_what_is_no_failure_of_the_transport_is_raised_at_once() -> None:
    for error in (ValueError("mine"), httpx.InvalidURL("odd"), KeyError("x")):
        wire = FakeTransport(lambda n, before, error=error: Reply(error))  # type: ignore[misc]
        async with httpx.AsyncClient(transport=RetryTransport(wire, policy=RetryPolicy(base_delay=0))) as client:
            with pytest.raises(type(error)) as caught:
                await client.get("http://127.0.0.1/")
        assert caught.value is error
        assert len(wire.requests) == 1


@pytest.mark.parametrize(("most", "floor", "requests"), [(1, 9.0, 1), (3, 9.0, 3), (3, 0.1, 2), (3, 0.0, 1)])
async def test_a_request_is_tried_as_often_as_policy_and_budget_allow(most: int, floor: float, requests: int) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    wire = FakeTransport(lambda n, before: Reply(503, headers={"retry-after": "2"}))
    transport = RetryTransport(
        wire,
        policy=RetryPolicy(max_attempts=most),
        budget=RetryBudget(0.0, floor, 10.0, clock=lambda: 0.0),
        random=lambda: 0.0,
        sleep=sleep,
    )
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get("http://127.0.0.1/")
    assert (response.status_code, len(wire.requests)) == (503, requests)
    assert slept == [2.0] * (requests - 1)


@pytest.mark.parametrize(
    ("fault", "written"), [(Fault.close_after_firing(), True), (Fault.answer(503), None), (None, None)]
)
async def test_an_error_of_the_pool_tells_whether_the_request_was_written(
    server: MockRefold, fault: Fault | None, written: bool | None
) -> None:
    if fault is not None:
        server.next(fault)
    async with PoolTransport() as pool:
        headers = {"x-api-key": server.api_key, "x-linked-account-id": "a", "linked_account_id": "a"}
        request = httpx.Request(
            "POST", f"{server.url}/api/v2/public/event/slack", content=b'{"event": "E"}', headers=headers
        )
        result, seen = await send_observed(pool, request)
        assert isinstance(result, Exception) == (written is not None)
        if isinstance(result, Exception):
            assert was_written(result) is written
            assert seen.written is written
        else:
            await result.aclose()
        server.stop()
        refused, seen = await send_observed(pool, request)
        assert isinstance(refused, httpx.ConnectError)
        assert (was_written(refused), seen.written) == (False, False)
    assert was_written(ValueError("of somebody else")) is None
