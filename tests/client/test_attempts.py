"""What an attempt takes in hand and returns: slots, connections, and what is told before the write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from refold_async import ConflictError, Delivery, NotFoundError, RateLimitedError, ServerError
from refold_async._core.plain import was_answered
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Fault, MockRefold
from tests.support import QUICK, ending

pytestmark = pytest.mark.asyncio


def slots_of(client: Any) -> int:
    slots = client._sender.life.slots
    assert slots is not None
    return int(slots.available)


@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("watched", [False, True])
async def test_of_many_calls_that_are_tried_again_no_more_than_the_slots_are_under_way(
    server: MockRefold, wire: Any, watched: bool
) -> None:
    options: dict[str, Any] = {"before_send": lambda sending: None} if watched else {}
    server.plan(lambda entry: Fault.answer(503, headers={"Retry-After": "0.001"}) if entry.payload["id"] % 3 else None)
    async with server.client(rate_limit=None, retry=QUICK, max_connections=2, transport=wire, **options) as client:
        for _ in range(2):
            await asyncio.gather(*(ending(client.trigger("slack", "E", {"id": n})) for n in range(12)))
            assert slots_of(client) == 2
    assert server.most_connections == 2


@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_a_call_that_waited_for_its_slot_returns_it(server: MockRefold, wire: Any) -> None:
    async def before_send(sending: object) -> None:
        await asyncio.sleep(0)

    async with server.client(rate_limit=None, max_connections=1, transport=wire, before_send=before_send) as client:
        async with asyncio.timeout(20):
            for _ in range(3):
                await asyncio.gather(*(client.trigger("slack", "E") for _ in range(4)))
                assert slots_of(client) == 1


async def test_before_send_is_told_again_when_the_connection_was_lost_meanwhile(server: MockRefold) -> None:
    told: list[int] = []

    async def before_send(sending: Any) -> None:
        told.append(sending.attempt)
        if len(told) == 2:
            server.close_idle()
            await asyncio.to_thread(server.ledger.wait_for, lambda _: server.open_connections == 0)

    async with server.client(rate_limit=None, retry=None, before_send=before_send) as client:
        await client.trigger("slack", "E")
        receipt = await client.trigger("slack", "E")
    assert receipt.delivery is Delivery.ACCEPTED
    assert told == [1, 1, 1]
    assert server.ledger.requests == 2


async def test_a_call_that_a_closed_client_refuses_has_taken_no_time(server: MockRefold) -> None:
    seen: list[float] = []

    def watch(event: HookEvent) -> None:
        if isinstance(event, CallFinished):
            seen.append(event.elapsed)

    client = server.client(rate_limit=None, hooks=[watch])
    await client.aclose()
    assert (await ending(client.trigger("slack", "E"))).delivery is Delivery.NOT_SENT
    assert seen == [0.0]


class StaleAtFirst:
    """A limiter whose first grants are stale; notes who asked to go first."""

    def __init__(self, stale: int) -> None:
        self.stale = stale
        self.first: list[bool] = []
        self.told: list[str] = []
        self.waited = 0.0

    def try_take(self) -> bool:
        return False

    def try_reserve(self, *, first: bool = False) -> Any:
        self.first.append(first)
        return self

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Any:
        return self.try_reserve(first=first)

    async def throttled(self, retry_after: float | None) -> None: ...

    async def aclose(self) -> None: ...

    def is_fresh(self) -> bool:
        return len(self.first) > self.stale

    def sent(self) -> None:
        self.told.append("sent")

    def dropped(self) -> None:
        self.told.append("dropped")


@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("stale", [0, 1, 3])
async def test_a_call_whose_grant_went_stale_has_had_its_turn_and_goes_first(
    server: MockRefold, wire: Any, stale: int
) -> None:
    limiter: Any = StaleAtFirst(stale)
    async with server.client(rate_limit=limiter, retry=None, transport=wire) as client:
        await client.trigger("slack", "E")
        assert limiter.told.count("sent") == 1
        assert len(limiter.first) > stale
        assert limiter.first == [False] + [True] * (len(limiter.first) - 1)
        seen = len(limiter.first)
        await client.trigger("slack", "E")
    assert limiter.first[seen] is False, "another call's turn is its own"


@pytest.mark.parametrize("error", [NotFoundError, ConflictError, RateLimitedError])
async def test_a_read_that_refold_refuses_was_answered(error: Any) -> None:
    assert was_answered(error("no", status_code={NotFoundError: 404, ConflictError: 409}.get(error, 429))) is True


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_read_that_fails_in_refold_was_not_answered(status: int) -> None:
    assert was_answered(ServerError("no", status_code=status)) is False
