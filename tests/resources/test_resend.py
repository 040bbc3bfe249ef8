"""`client.resend`: the same key and body within the window, and refused otherwise."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from refold_async import Delivery, Idempotency, InvalidTriggerError, RefoldClient, RefoldError, RetryPolicy
from refold_async._resources.resend import check
from refold_async.testing import Dedupe, Fault, MockRefold, RunPlan
from tests.resources.support import mock

ONCE = RetryPolicy(max_attempts=1)
HEADER = Idempotency(header="X-Key", window=300.0)
FIELD = Idempotency(payload_field="key", window=300.0)
DROPS = Dedupe(header="X-Key", window=300.0)


def at(moment: datetime) -> datetime:
    return moment


async def lose(
    client: RefoldClient, server: MockRefold, payload: Any = None, fault: Fault | None = None, **options: Any
) -> RefoldError:
    server.next(fault or Fault.close_after_firing())
    with pytest.raises(RefoldError) as caught:
        await client.trigger("pipedrive", "Deal Created", {"deal": 1} if payload is None else payload, **options)
    assert caught.value.delivery is Delivery.AMBIGUOUS
    return caught.value


async def refused(client: RefoldClient, server: MockRefold, error: Any) -> InvalidTriggerError:
    before = len(server.ledger.targets)
    with pytest.raises(InvalidTriggerError) as caught:
        await client.resend(error)
    assert len(server.ledger.targets) == before, "something was sent"
    return caught.value


@pytest.mark.asyncio
@pytest.mark.parametrize("fired", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"idempotency": HEADER},
        {"idempotency": FIELD},
        {"idempotency": HEADER, "tag": True},
        {"idempotency": FIELD, "tag": True, "tag_field": "trigger_id"},
        {"idempotency": FIELD, "tag_field": "trigger_id"},
    ],
)
async def test_what_is_sent_again_is_the_same_and_fires_once(options: dict[str, Any], fired: bool) -> None:
    drops = DROPS
    if options["idempotency"] is FIELD:
        drops = Dedupe(payload_field="key", window=300.0)
    async with mock({"retry": ONCE, **options}, dedupe=drops) as (server, client):
        fault = Fault.close_after_firing() if fired else Fault.close_before_firing()
        error = await lose(client, server, fault=fault)
        receipt = await client.resend(error)
        first, second = server.ledger.entries
        assert first.body == second.body
        assert first.head == second.head
        assert len(server.ledger.fired) == 1
        assert receipt.after_ambiguous
        assert receipt.sent is not None
        assert error.sent is not None
        assert receipt.sent.token == error.sent.token
        assert receipt.idempotency_key == error.sent.idempotency_key
        assert receipt.sent.first_sent_at == error.sent.first_sent_at


@pytest.mark.asyncio
async def test_a_key_and_an_account_of_the_callers_own_are_kept() -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(
            client, server, idempotency_key="k", linked_account_id="other", config_id="c", instance_tag="label"
        )
        await client.resend(error)
        first, second = server.ledger.entries
        assert first.head == second.head
        assert (second.linked_account_id, second.config_id, second.instance_tag) == ("other", "c", "label")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "attempts"),
    [(Fault.answer(400), 1), (Fault.answer(409), 1), (Fault.close_before_firing(), 1), (Fault.answer(429), 1)],
)
async def test_a_resend_that_settles_nothing_stays_ambiguous(fault: Fault, attempts: int) -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(client, server)
        server.next(fault)
        with pytest.raises(RefoldError) as caught:
            await client.resend(error)
        again = caught.value
        assert again.delivery is Delivery.AMBIGUOUS
        assert not again.safe_to_resend
        assert again.attempts == attempts
        assert again.sent is not None
        assert error.sent is not None
        assert again.sent.first_sent_at == error.sent.first_sent_at
        assert (await client.resend(again)).after_ambiguous
        assert len(server.ledger.fired) == 1


@pytest.mark.asyncio
async def test_nothing_is_sent_again_once_too_much_of_the_window_has_passed() -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(client, server)
        server.next(Fault.close_before_firing())
        with pytest.raises(RefoldError) as caught:
            await client.resend(error)
        for each in (error, caught.value):
            assert each.sent is not None
            assert error.sent is not None
            for seconds, is_late in ((239.9, False), (240.0, True), (100_000.0, True)):
                now = partial(at, error.sent.first_sent_at + timedelta(seconds=seconds))
                if is_late:
                    with pytest.raises(InvalidTriggerError, match="window") as late:
                        check(client._sender, each, now=now)
                    assert late.value.delivery is Delivery.AMBIGUOUS
                else:
                    check(client._sender, each, now=now)


@pytest.mark.asyncio
async def test_without_a_declaration_nothing_is_sent_again() -> None:
    async with mock({"retry": ONCE}) as (server, client):
        found = await refused(client, server, await lose(client, server, idempotency_key="k"))
        assert "idempotency" in found.message
        assert found.delivery is Delivery.AMBIGUOUS


@pytest.mark.asyncio
async def test_an_error_that_another_client_or_process_has_raised_is_refused() -> None:
    options = {"retry": ONCE, "idempotency": HEADER}
    async with mock(options, dedupe=DROPS) as (server, client), server.client(**options) as other:
        error = await lose(client, server)
        await refused(other, server, error)
        await refused(client, server, pickle.loads(pickle.dumps(error)))
        await refused(client, server, copy.copy(error))
        async with mock(options) as (_, elsewhere):
            await refused(elsewhere, server, error)
        await client.resend(error)


@pytest.mark.asyncio
async def test_an_error_of_a_view_is_refused_by_others_than_the_same_view() -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(client.for_account("other"), server)
        await refused(client, server, error)
        await refused(client.for_account("third"), server, error)
        await refused(client.for_account("other", config_id="c"), server, error)
        mine = await lose(client, server)
        await refused(client.with_options(idempotency=Idempotency(header="Y-Key")), server, mine)
        await refused(client.with_options(idempotency=None), server, mine)
        await refused(client.with_options(json_encoder=lambda document: b'{"event": "Deal Created"}'), server, mine)
        await client.for_account("other").resend(error)
        assert len(server.ledger.fired) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [{"deal": 2}, {"deal": 1, "more": 1}, {}])
async def test_a_payload_that_was_changed_since_is_refused(change: dict[str, Any]) -> None:
    payload: dict[str, Any] = {"deal": 1}
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(client, server, payload)
        payload.clear()
        payload.update(change)
        assert "body" in (await refused(client, server, error)).message


@pytest.mark.asyncio
async def test_what_was_lost_or_fired_nothing_is_refused() -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        server.next(Fault.answer(400))
        with pytest.raises(RefoldError) as rejected:
            await client.trigger("pipedrive", "Deal Created")
        found = await refused(client, server, rejected.value)
        assert found.delivery is Delivery.REJECTED
        assert found.safe_to_resend
        error = await lose(client, server)
        error.trigger = None
        await refused(client, server, error)
        for subject in (None, "x", ValueError("x"), RefoldError("x")):
            await refused(client, server, subject)


@pytest.mark.asyncio
async def test_files_are_not_sent_again_because_their_bytes_are_not_kept(tmp_path: Path) -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        error = await lose(client, server, files={"cv": b"%PDF"})
        assert "files" in (await refused(client, server, error)).message


@pytest.mark.asyncio
async def test_an_event_for_every_application_is_sent_again_as_one() -> None:
    async with mock({"retry": ONCE, "idempotency": HEADER}, dedupe=DROPS) as (server, client):
        server.next(Fault.close_after_firing())
        with pytest.raises(RefoldError) as caught:
            await client.trigger_all("Deal Created", {"deal": 1})
        await client.resend(caught.value)
        assert len(server.ledger.fired) == 1
        assert len({entry.path for entry in server.ledger.entries}) == 1


@pytest.mark.asyncio
async def test_an_error_of_a_batch_can_be_sent_again_and_be_found_afterwards() -> None:
    from refold_async import Trigger

    options = {"retry": ONCE, "idempotency": HEADER, "tag": True}
    async with mock(options, dedupe=DROPS, runs=RunPlan(shows_tag=True)) as (server, client):
        server.next(Fault.close_before_firing())
        [outcome] = await client.trigger_many([Trigger("pipedrive", "Deal Created", {"deal": 1}, context="row 1")])
        assert outcome.error is not None
        receipt = await client.resend(outcome.error)
        assert (await client.reconcile(receipt)).fired
        assert (await client.reconcile(outcome)).fired


@pytest.mark.asyncio
async def test_over_stock_httpx_a_resend_is_the_same() -> None:
    options = {"retry": ONCE, "idempotency": HEADER, "transport": httpx.AsyncHTTPTransport()}
    async with mock(options, dedupe=DROPS) as (server, client):
        error = await lose(client, server)
        await client.resend(error)
        assert len(server.ledger.fired) == 1
