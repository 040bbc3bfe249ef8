"""`client.reconcile`: FIRED on sight of a minted token, and never anything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from refold_async import (
    APIError,
    AuthenticationError,
    BatchResult,
    ConfigurationError,
    Delivery,
    Receipt,
    Reconciliation,
    ReconciliationState,
    RefoldClient,
    RefoldError,
    Trigger,
)
from refold_async.testing import Dedupe, Dialect, Fault, MockRefold, RunPlan
from tests.fakes.transport import FakeTransport
from tests.resources.support import mock, unpace

SHOWN = RunPlan(shows_tag=True, tag_field="label")
TAGGED = {"tag": True, "retry": None}


async def fail(client: RefoldClient, server: MockRefold, fault: Fault, **options: Any) -> RefoldError:
    server.next(fault)
    with pytest.raises(RefoldError) as caught:
        await client.trigger("pipedrive", "Deal Created", {"deal": 1}, **options)
    return caught.value


@pytest.mark.asyncio
async def test_an_ambiguous_send_that_fired_is_found_by_its_token() -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client):
        await client.trigger("pipedrive", "Deal Created", {"deal": 0})
        error = await fail(client, server, Fault.close_after_firing())
        assert error.delivery is Delivery.AMBIGUOUS
        found = await client.reconcile(error)
        assert (found.state, found.fired) == (ReconciliationState.FIRED, True)
        assert [each.id for each in found.executions] == [server.runs.all()[1].id]
        assert found.sent is error.sent
        assert found.is_complete
        assert found.requests == 1
        assert error.delivery is Delivery.AMBIGUOUS
        assert not error.safe_to_resend
        assert json.loads(json.dumps(found.to_dict()))["state"] == "fired"


@pytest.mark.asyncio
@pytest.mark.parametrize("fires", [True, False])
async def test_where_tags_are_hidden_nothing_is_known_and_others_are_candidates(fires: bool) -> None:
    async with mock(TAGGED) as (server, client):
        error = await fail(client, server, Fault.stall_head(fires=fires), timeout=0.2)
        await client.trigger("pipedrive", "Deal Created", {"deal": 2})
        found = await client.reconcile(error)
        assert found.state is ReconciliationState.UNRESOLVED
        assert found.executions == ()
        assert len(found.candidates) == 1 + fires
        assert found.control_seen
        assert found.looked_from is not None
        assert found.looked_until is not None
        assert found.looked_from < datetime.now(UTC)


@pytest.mark.asyncio
async def test_a_send_that_did_not_fire_is_unresolved_and_nothing_says_otherwise() -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client):
        error = await fail(client, server, Fault.close_before_firing())
        found = await client.reconcile(error)
        assert found.state is ReconciliationState.UNRESOLVED
        assert not found.control_seen
        assert {state.name for state in ReconciliationState} == {"FIRED", "UNRESOLVED"}
        assert "not fire" not in found.why


@pytest.mark.asyncio
async def test_a_token_in_the_payload_is_found_in_the_nodes_when_asked() -> None:
    async with mock({"tag_field": "trigger_id", "retry": None}) as (server, client):
        error = await fail(client, server, Fault.close_after_firing())
        assert not (await client.reconcile(error)).fired
        found = await client.reconcile(error, details=True)
        assert found.fired
        assert found.requests == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("listed", [".", "..", "", "a/b", "\ud800", "%2e%2e", 7, None])
async def test_an_id_in_the_list_that_no_path_can_hold_hides_nothing(listed: Any) -> None:
    documents = [{"_id": listed, "createdAt": datetime.now(UTC).isoformat()}]
    transport = FakeTransport.answering(
        httpx.ConnectError("away"), httpx.Response(500), httpx.Response(200, content=json.dumps({"docs": documents}))
    )
    options: dict[str, Any] = {
        "tag": True,
        "tag_field": "token",
        "transport": transport,
        "rate_limit": None,
        "retry": None,
    }
    async with RefoldClient(api_key="k", linked_account_id="a", **options) as client:
        with pytest.raises(RefoldError) as never_sent:
            await client.trigger("slack", "E")
        with pytest.raises(RefoldError) as caught:
            await client.trigger("slack", "E")
        assert caught.value.delivery is Delivery.AMBIGUOUS
        [first, found] = await unpace(client).reconcile([never_sent.value, caught.value], details=True)
        assert not first.fired
        assert (found.state, len(found.candidates)) == (ReconciliationState.UNRESOLVED, 1)
    targets = [request.url.raw_path.decode() for request in transport.requests[2:]]
    assert {target.partition("?")[0].rpartition("/")[0] for target in targets} <= {
        "/api/v2/public", "/api/v2/public/execution"
    }  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("tag", ["order-17", "rfa-" + "0" * 32])
async def test_a_tag_of_the_callers_own_proves_nothing(tag: str) -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client):
        await client.trigger("pipedrive", "Deal Created", {"deal": 0}, instance_tag=tag)
        error = await fail(client, server, Fault.close_before_firing(), instance_tag=tag)
        server.ledger.clear()
        found = await client.reconcile(error)
        assert found.state is ReconciliationState.UNRESOLVED
        assert "token" in found.why
        assert server.ledger.targets == []


@pytest.mark.asyncio
async def test_a_key_of_the_callers_own_proves_nothing() -> None:
    async with mock({"retry": None}, runs=RunPlan(custom_fields=("key",))) as (server, client):
        await client.trigger("pipedrive", "Deal Created", {"key": "order-17"}, idempotency_key="order-17")
        error = await fail(client, server, Fault.close_before_firing(), idempotency_key="order-17")
        assert not (await client.reconcile(error, details=True)).fired


@pytest.mark.asyncio
async def test_a_dropped_repeat_with_the_token_is_not_taken_for_a_firing() -> None:
    plan = RunPlan(shows_tag=True, shows_duplicates=True)
    async with mock(TAGGED, runs=plan, dedupe=Dedupe(header="Idempotency-Key")) as (server, client):
        await client.trigger("pipedrive", "Deal Created", {"deal": 0}, idempotency_key="k")
        error = await fail(client, server, Fault.close_after_firing(), idempotency_key="k")
        assert [entry.fired for entry in server.ledger.entries] == [True, False]
        found = await client.reconcile(error, details=True)
        assert found.state is ReconciliationState.UNRESOLVED


@pytest.mark.asyncio
async def test_a_batch_is_answered_in_input_order_and_reads_each_account_once() -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client):
        lost = [Fault.close_after_firing() if n % 3 == 0 else Fault.close_before_firing() for n in range(12)]
        server.next(*lost)
        triggers = [
            Trigger("pipedrive", "Deal Created", {"deal": n}, linked_account_id=f"acct_{n % 2}") for n in range(12)
        ]
        batch = await client.trigger_many(triggers, max_concurrency=1)
        assert len(batch.ambiguous) == 12
        server.ledger.clear()
        found = await client.reconcile(batch)
        assert [each.fired for each in found] == [n % 3 == 0 for n in range(12)]
        assert [each.sent for each in found] == [outcome.sent for outcome in batch]
        assert len(server.ledger.targets) == 2
        assert [each.state for each in await client.reconcile(batch.ambiguous[:2])] == ["fired", "unresolved"]
        assert (await client.reconcile(batch[0])).fired


@pytest.mark.asyncio
async def test_a_receipt_can_be_followed_too() -> None:
    async with mock({"tag": True}, runs=SHOWN) as (server, client):
        receipt = await client.trigger("pipedrive", "Deal Created", {"deal": 1})
        found = await client.reconcile(receipt)
        assert [each.id for each in found.executions] == [server.runs.all()[0].id]


@pytest.mark.asyncio
async def test_what_was_never_written_or_has_no_token_is_unresolved_without_a_request() -> None:
    async with mock({"retry": None}) as (server, client):
        never = RefoldError("x")
        assert "nothing was written" in (await client.reconcile(never)).why
        error = await fail(client, server, Fault.close_after_firing())
        server.ledger.clear()
        found = await client.reconcile(error)
        assert "tag=True" in found.why
        assert await client.reconcile([]) == []
        assert await client.reconcile(BatchResult()) == []
        assert server.ledger.targets == []


@pytest.mark.asyncio
@pytest.mark.parametrize("subject", [None, "x", 3, {"a": 1}, [1], "text"])
async def test_what_tells_nothing_of_a_send_is_refused(subject: Any) -> None:
    async with mock() as (_, client):
        with pytest.raises(ConfigurationError, match="reconcile"):
            await client.reconcile(subject)


@pytest.mark.asyncio
@pytest.mark.parametrize("options", [{"within": 0}, {"within": None}, {"max_requests": 0}, {"max_requests": True}])
async def test_an_option_that_makes_no_sense_is_refused(options: Any) -> None:
    async with mock() as (_, client):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            await client.reconcile([], **options)


@pytest.mark.asyncio
async def test_what_was_sent_to_another_host_is_refused() -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client), mock(TAGGED) as (_, other):
        error = await fail(client, server, Fault.close_after_firing())
        with pytest.raises(ConfigurationError, match="host"):
            await other.reconcile(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("skew", [-3600.0, -40.0, 40.0, 3600.0])
async def test_a_clock_of_the_server_that_is_wrong_hides_nothing(skew: float) -> None:
    async with mock(TAGGED, runs=SHOWN, skew=skew) as (server, client):
        error = await fail(client, server, Fault.close_after_firing())
        assert (await client.reconcile(error)).fired


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "dialect", [Dialect(paging="docs", max_page_size=3), Dialect(endless_pages=True, max_page_size=4)]
)
async def test_a_send_is_found_on_whatever_page_it_is(dialect: Dialect) -> None:
    async with mock(TAGGED, runs=RunPlan(shows_tag=True, grows=2), dialect=dialect) as (server, client):
        error = await fail(client, server, Fault.close_after_firing())
        for n in range(20):
            await client.trigger("pipedrive", "Deal Created", {"deal": n})
        found: Reconciliation = await client.reconcile(error)
        assert found.fired
        cut = await client.reconcile(error, max_requests=1)
        assert not cut.fired
        assert not cut.is_complete
        assert "not all was read" in cut.why


@pytest.mark.asyncio
async def test_a_reading_that_fails_is_raised_and_tells_nothing_of_the_send() -> None:
    async with mock(TAGGED, runs=SHOWN) as (server, client):
        error = await fail(client, server, Fault.close_after_firing())
        server.next(Fault.answer(401), kind="read")
        with pytest.raises(AuthenticationError) as caught:
            await client.reconcile(error)
        assert isinstance(caught.value, APIError)
        assert caught.value.delivery is None


def test_a_receipt_without_a_send_is_unresolved() -> None:
    from refold_async._resources.reconcile import sent_of

    assert sent_of(Receipt(message="", status_code=200)) is None
