"""When the client tries again, and what goes along each time."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from refold_async import (
    Delivery,
    Idempotency,
    InvalidTriggerError,
    RateLimitedError,
    RefoldClient,
    RefoldError,
    RetryPolicy,
    ServerError,
)
from refold_async.hooks import RetryScheduled
from refold_async.testing import Dedupe, Fault, MockRefold
from tests.fakes.transport import FakeTransport, fired
from tests.support import QUICK

pytestmark = pytest.mark.asyncio

WINDOW = Idempotency(header="Idempotency-Key", window=60)
DEDUPE = Dedupe(header="Idempotency-Key", window=60)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.reset_before_reading(),
        Fault.close_before_firing(),
        Fault.reset_after_firing(),
        Fault.close_after_firing(),
        Fault.truncate_head(),
        Fault.stall_head(),
        Fault.garbage(),
        Fault.html_502(),
        Fault.answer(500, fires=True),
        Fault.answer(408),
        Fault.answer(503),
        Fault.throttle("0"),
        Fault.answer(425),
    ],
    ids=lambda fault: fault.name,
)
async def test_with_a_declared_window_an_event_fires_once_whatever_happens(fault: Fault) -> None:
    with MockRefold(rate_limit=None, dedupe=DEDUPE) as server:
        server.next(fault)
        seconds = 0.2 if fault.name == "stall_head" else 5.0
        async with server.client(rate_limit=None, retry=QUICK, idempotency=WINDOW, timeout=seconds) as client:
            receipt = await client.trigger("pipedrive", "Deal Created", {"id": 1})
        keys = [entry.idempotency_key for entry in server.ledger.entries]
        assert receipt.attempts == 2
        assert receipt.after_ambiguous is fault.hides_truth
        assert keys == [receipt.idempotency_key] * 2, "one key, on every attempt"
        assert server.ledger.fired_count(id=1) == 1


async def test_a_key_that_a_failed_call_has_claimed_is_marked() -> None:
    with MockRefold(rate_limit=None, dedupe=DEDUPE) as server:
        server.next(Fault.claim_then_500())
        async with server.client(rate_limit=None, retry=QUICK, idempotency=WINDOW) as client:
            receipt = await client.trigger("pipedrive", "Deal Created", {"id": 1})
        assert server.ledger.fired_count(id=1) == 0
        assert receipt.after_ambiguous, "Refold's yes may stand for a repeat that was dropped"


async def test_a_field_of_the_payload_as_the_key() -> None:
    transport = FakeTransport.answering(httpx.Response(500), fired())
    seen = transport.requests
    client = RefoldClient(
        api_key="k",
        linked_account_id="a",
        transport=transport,
        retry=QUICK,
        idempotency=Idempotency(payload_field="event_id"),
    )
    receipt = await client.trigger("slack", "E")
    assert len(seen) == 2
    assert seen[0].content == seen[1].content
    assert receipt.idempotency_key is not None
    assert receipt.idempotency_key.encode() in seen[0].content
    assert (await client.trigger("slack", "E", {"event_id": 77})).idempotency_key == "77"
    assert seen[-1].content == b'{"event":"E","payload":{"event_id":77}}'
    for payload, key in (({"event_id": "x"}, "y"), ({"event_id": True}, None), ({"event_id": " "}, None)):
        with pytest.raises(InvalidTriggerError, match=r"payload\.event_id"):
            await client.trigger("slack", "E", payload, idempotency_key=key)
    await client.aclose()


async def test_without_a_declaration_a_key_proves_nothing() -> None:
    transport = FakeTransport.answering(httpx.Response(500))
    seen = transport.requests
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=QUICK)
    with pytest.raises(ServerError) as caught:
        await client.trigger("slack", "E", idempotency_key="k-1")
    assert caught.value.delivery is Delivery.AMBIGUOUS
    assert len(seen) == 1
    await client.aclose()


async def test_at_least_once_is_an_explicit_choice() -> None:
    transport = FakeTransport.answering(httpx.Response(500), fired())
    seen = transport.requests
    policy = RetryPolicy(base_delay=0.001, retry_ambiguous=True)
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=policy)
    receipt = await client.trigger("slack", "E")
    assert (len(seen), receipt.after_ambiguous) == (2, True)
    await client.aclose()


async def test_all_attempts_end_within_the_window() -> None:
    transport = FakeTransport.answering(httpx.Response(429, headers={"Retry-After": "2"}))
    seen = transport.requests
    client = RefoldClient(
        api_key="k",
        linked_account_id="a",
        transport=transport,
        rate_limit=None,
        idempotency=Idempotency(header="Idempotency-Key", window=2.0),
    )
    with pytest.raises(RateLimitedError) as caught:
        await client.trigger("slack", "E")
    assert (len(seen), caught.value.retry_after) == (1, 2.0), "2 s is beyond 0.8 of 2 s"
    await client.aclose()


@pytest.mark.parametrize(("retry_after", "attempts"), [("61", 1), ("1e3", 3), ("-1", 3), ("nan", 3), ("junk", 3)])
async def test_a_retry_after_that_is_too_long_fails_now(retry_after: str, attempts: int) -> None:
    transport = FakeTransport.answering(httpx.Response(429, headers={"Retry-After": retry_after}))
    seen = transport.requests
    client = RefoldClient(
        api_key="k", linked_account_id="a", transport=transport, rate_limit=None, retry=QUICK, deadline=None
    )
    with pytest.raises(RateLimitedError) as caught:
        await client.trigger("slack", "E")
    assert caught.value.retry_after == (61.0 if retry_after == "61" else None)
    assert len(seen) == attempts
    await client.aclose()


async def test_retries_can_be_turned_off_for_one_call_or_a_view() -> None:
    transport = FakeTransport.answering(httpx.ConnectError("refused"))
    seen = transport.requests
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=QUICK)

    async def attempts(view: RefoldClient, **options: Any) -> int:
        before = len(seen)
        with pytest.raises(RefoldError):
            await view.trigger("slack", "E", **options)
        return len(seen) - before

    assert await attempts(client) == 3
    assert await attempts(client, retry=None) == 1
    assert await attempts(client.with_options(retry=None)) == 1
    assert await attempts(client.with_options(retry=None), retry=RetryPolicy(max_attempts=2, base_delay=0)) == 2
    await client.aclose()


async def test_an_outage_spends_the_budget_and_then_calls_fail_at_once() -> None:
    transport = FakeTransport.answering(httpx.ConnectError("refused"))
    seen = transport.requests
    delays: list[float] = []

    def watch(event: object) -> None:
        if isinstance(event, RetryScheduled):
            delays.append(event.delay)

    client = RefoldClient(
        api_key="k", linked_account_id="a", transport=transport, retry=QUICK, rate_limit=None, hooks=[watch]
    )
    for _ in range(100):
        with pytest.raises(RefoldError):
            await client.trigger("slack", "E")
    assert len(delays) == len(seen) - 100
    assert 10 <= len(delays) <= 35, "20 % of the calls, and one a second over the 10 s of the window"
    assert all(0 <= delay <= 0.002 for delay in delays)
    await client.aclose()


async def test_waiting_out_a_429_does_not_spend_the_budget() -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "0"}), fired()] * 40
    transport = FakeTransport.answering(*answers)
    seen = transport.requests
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=QUICK, rate_limit=None)
    for _ in range(40):  # and the 80 answers give back their places among 50
        assert (await client.trigger("slack", "E")).attempts == 2
    assert len(seen) == 80
    await client.aclose()
