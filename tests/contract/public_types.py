"""What a type checker makes of the public interface: mypy and pyright both read this, and nothing runs it."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterable
from typing import assert_type

import httpx

from refold_async import (
    APIError,
    BatchInterruptedError,
    BatchResult,
    Delivery,
    Idempotency,
    Outcome,
    RateLimit,
    Receipt,
    RefoldClient,
    RefoldError,
    RetryPolicy,
    Trigger,
)
from refold_async.hooks import CallFinished, HookEvent
from refold_async.limiters import MemoryRateLimiter, RateLimiter
from refold_async.testing import Fault, MockRefold
from refold_async.transports import ConcurrencyTransport, PoolTransport, RateLimitTransport, RetryTransport


def watch(event: HookEvent) -> None:
    if isinstance(event, CallFinished):
        assert_type(event.delivery, Delivery)
        assert_type(event.receipt, Receipt | None)


async def fetch_key() -> str:
    return "tk_1"


def clients() -> Iterable[RefoldClient]:
    yield RefoldClient()
    yield RefoldClient(api_key="tk_1", linked_account_id="a", rate_limit=None, retry=None, deadline=None)
    yield RefoldClient(api_key=fetch_key, timeout=3, hooks=[watch], idempotency=Idempotency(header="X-Key"))
    yield RefoldClient(session_token=lambda: "t", timeout=httpx.Timeout(3), rate_limit=RateLimit(20, 5))
    yield RefoldClient(api_key="tk_1", http_client=httpx.AsyncClient(), rate_limit=MemoryRateLimiter())
    yield RefoldClient(api_key="tk_1", transport=PoolTransport(), retry=RetryPolicy(classify=lambda s, h: None))
    yield RefoldClient(api_key="tk_1").for_account("a", config_id="c").with_options(retry=None, deadline=1.5)


async def triggers(client: RefoldClient) -> None:
    receipt = await client.trigger("slack", "E", {"a": 1}, idempotency_key="k", timeout=None, retry=RetryPolicy())
    assert_type(receipt, Receipt)
    assert_type(receipt.delivery, Delivery)
    assert_type(receipt.message, str)
    try:
        await client.trigger("slack", "E")
    except APIError as error:
        assert_type(error.status_code, int)
    except RefoldError as error:
        assert_type(error.safe_to_resend, bool)
        assert_type(error.trigger, Trigger | None)
        assert_type(error.retry_after, float | None)


async def rows() -> AsyncIterator[Trigger]:
    yield Trigger("slack", "E", {"at": datetime.date.today().isoformat()}, ordering_key="k", context=object())


async def batches(client: RefoldClient) -> None:
    result = await client.trigger_many([Trigger("slack", "E")], max_concurrency=3, on_outcome=lambda outcome: None)
    assert_type(result, BatchResult)
    assert_type(result[0], Outcome)
    async with client.trigger_stream(rows(), ordered=True) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            assert_type(outcome.ok, bool)
    try:
        result.raise_for_failures()
    except* BatchInterruptedError:
        pass


async def transports() -> httpx.AsyncClient:
    limiter: RateLimiter = MemoryRateLimiter(RateLimit(1, 1))
    paced = RateLimitTransport(PoolTransport(), limiter=limiter)
    return httpx.AsyncClient(transport=RetryTransport(ConcurrencyTransport(paced, max_concurrency=3)))


def mocks(refold_server: MockRefold) -> RefoldClient:
    refold_server.next(Fault.answer(500), None)
    with MockRefold(rate_limit=None) as server:
        return server.client(retry=None)
