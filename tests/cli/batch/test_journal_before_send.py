"""What a journal needs of a call: to be asked once the slot is granted, before anything is written."""

from __future__ import annotations

import anyio
import pytest

from refold_async import Delivery, Idempotency, RateLimit, RefoldError, Sending, Trigger
from refold_async.testing import Fault, MockRefold
from tests.support import QUICK

pytestmark = pytest.mark.asyncio


class NoRoomError(RefoldError):
    """The journal cannot be written."""


async def test_before_send_is_called_before_each_attempt_is_written(server: MockRefold) -> None:
    server.next(Fault.answer(425), Fault.throttle("0"))
    arrived: list[tuple[int, int, str | None]] = []

    def ask(sending: Sending) -> None:
        arrived.append((sending.attempt, server.ledger.requests, sending.idempotency_key))

    async with server.client(retry=QUICK, before_send=ask) as client:
        await client.trigger("slack", "E", {"n": 1}, idempotency_key="k")
    assert arrived == [(1, 0, "k"), (2, 1, "k"), (3, 2, "k")]


@pytest.mark.parametrize("limit", [None, RateLimit(1000, 1)])
async def test_a_refusal_ends_the_call_unsent_and_gives_the_slot_back(
    server: MockRefold, limit: RateLimit | None
) -> None:
    asked: list[Trigger | None] = []

    def refuse(sending: Sending) -> None:
        asked.append(sending.trigger)
        raise NoRoomError("no room")

    async with server.client(rate_limit=limit) as client:
        for _ in range(3):
            with pytest.raises(NoRoomError, match="no room") as caught:
                await client.trigger("slack", "E", before_send=refuse)
            assert (caught.value.delivery, caught.value.attempts) == (Delivery.NOT_SENT, 0)
        assert (len(asked), server.ledger.requests) == (3, 0), "it was asked again, or sent"
        with anyio.fail_after(5):
            await client.trigger("slack", "E")


async def test_a_refusal_does_not_hide_that_an_earlier_attempt_may_have_fired(server: MockRefold) -> None:
    server.next(Fault.close_after_firing())

    def refuse_the_second(sending: Sending) -> None:
        if sending.attempt > 1:
            raise NoRoomError("no room")

    async with server.client(retry=QUICK, idempotency=Idempotency(header="K"), before_send=refuse_the_second) as client:
        with pytest.raises(NoRoomError) as caught:
            await client.trigger("slack", "E")
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.AMBIGUOUS, 1)
    assert len(server.ledger.fired) == 1


async def test_before_send_is_called_for_batches_and_views(server: MockRefold) -> None:
    asked: list[object] = []

    async with server.client(before_send=lambda sending: asked.append(sending.trigger.context)) as client:
        await client.for_account("other").trigger_many(
            [Trigger("slack", "E", context=n) for n in range(3)], max_concurrency=1
        )
    assert asked == [0, 1, 2]
