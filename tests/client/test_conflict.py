"""A 409 with a key that may have been used before may be a dropped repeat of what fired."""

from __future__ import annotations

from typing import Any

import pytest

from refold_async import ConflictError, Delivery, Idempotency, Receipt, RefoldError
from refold_async.testing import Fault, MockRefold
from tests.support import QUICK, ending

pytestmark = pytest.mark.asyncio

REJECTED, AMBIGUOUS = Delivery.REJECTED, Delivery.AMBIGUOUS
HEADER = Idempotency(header="Idempotency-Key")
FIELD = Idempotency(payload_field="event_id")


@pytest.mark.parametrize("declared", [None, HEADER, FIELD], ids=["undeclared", "header", "field"])
async def test_a_409_with_a_key_of_the_callers_own_is_ambiguous_and_not_retried(
    server: MockRefold, declared: Idempotency | None
) -> None:
    server.plan(lambda entry: Fault.answer(409))
    async with server.client(rate_limit=None, retry=QUICK, idempotency=declared) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}, idempotency_key="order-7"))
    assert isinstance(got, ConflictError)
    assert (got.delivery, got.attempts, got.safe_to_resend) == (AMBIGUOUS, 1, False)


async def test_a_409_with_a_key_that_stands_in_the_callers_payload_is_ambiguous(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.answer(409))
    async with server.client(rate_limit=None, retry=QUICK, idempotency=FIELD) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1, "event_id": "order-7"}))
    assert got.delivery is AMBIGUOUS


@pytest.mark.parametrize("declared", [None, HEADER, FIELD], ids=["undeclared", "header", "field"])
async def test_a_409_with_a_key_that_was_just_minted_is_a_rejection(
    server: MockRefold, declared: Idempotency | None
) -> None:
    server.plan(lambda entry: Fault.answer(409))
    async with server.client(rate_limit=None, retry=QUICK, idempotency=declared) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, RefoldError)
    assert (got.delivery, got.attempts, got.safe_to_resend) == (REJECTED, 1, True)


async def test_a_409_after_an_ambiguous_attempt_is_ambiguous(server: MockRefold) -> None:
    server.next(Fault.answer(500, fires=True), Fault.answer(409))
    async with server.client(rate_limit=None, retry=QUICK, idempotency=HEADER) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, RefoldError)
    assert (got.delivery, got.attempts) == (AMBIGUOUS, 2)


async def test_a_409_in_a_batch_with_keys_of_the_callers_own_is_ambiguous(server: MockRefold) -> None:
    from refold_async import Trigger

    server.plan(lambda entry: Fault.answer(409))
    rows = [Trigger("slack", "E", {"id": n}, idempotency_key=f"order-{n}") for n in range(3)]
    async with server.client(rate_limit=None, retry=QUICK, idempotency=HEADER) as client:
        result = await client.trigger_many(rows)
    assert [outcome.delivery for outcome in result] == [AMBIGUOUS] * 3


@pytest.mark.parametrize("first", [None, Fault.answer(500, fires=True)], ids=["own key", "after a 500"])
async def test_a_409_that_is_declared_to_mean_duplicate_is_accepted_as_one(
    server: MockRefold, first: Fault | None
) -> None:
    given: dict[str, Any] = {"conflict": "duplicate"}
    declared = Idempotency(header="Idempotency-Key", **given)
    server.next(*([first] if first else []), Fault.answer(409))
    async with server.client(rate_limit=None, retry=QUICK, idempotency=declared) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}, idempotency_key=None if first else "order-7"))
    assert isinstance(got, Receipt)
    assert got.duplicate
