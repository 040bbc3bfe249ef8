"""Calls that wait behind others, and clients that are closed under them: nobody hangs, and no verdict lies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from refold_async import ClientClosedError, Delivery, RateLimit, RefoldClient, RefoldError
from refold_async.hooks import CallFinished
from tests.fakes.server import FIRED_ANSWER, Peer, RawServer, serving
from tests.support import abandons_sockets
from tests.wire.wire import GUARD, turns, until

pytestmark = pytest.mark.anyio

HOOKS: list[list[Any]] = [[], [lambda event: None]]


def client_of(server: RawServer, **options: Any) -> RefoldClient:
    given = {"api_key": "tk_secret", "linked_account_id": "acct_1", "retry": None, "rate_limit": None, **options}
    return RefoldClient(base_url=server.url, **given)


@pytest.mark.parametrize("hooks", HOOKS, ids=["unwatched", "watched"])
@pytest.mark.parametrize("limit", [None, RateLimit(1000, 100)], ids=["unpaced", "paced"])
async def test_those_who_queue_go_on_when_all_on_the_wire_are_cancelled(
    hooks: list[Any], limit: RateLimit | None
) -> None:
    """Whoever leaves hands the slot on, also when nobody is left on the wire to be answered."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if json.loads(request.body)["payload"]["n"] < 3:
                await peer.gone()
            await peer.send(FIRED_ANSWER)

    async with serving(script) as server, client_of(server, max_connections=3, hooks=hooks, rate_limit=limit) as client:
        stuck = [asyncio.ensure_future(client.trigger("slack", "E", {"n": n})) for n in range(3)]
        assert await until(lambda: len(server.requests) == 3)
        queued = [asyncio.ensure_future(client.trigger("slack", "E", {"n": n})) for n in range(3, 40)]
        await turns(5)
        for task in stuck:
            task.cancel()
        async with asyncio.timeout(GUARD):
            receipts = await asyncio.gather(*queued)
        assert all(receipt.attempts == 1 for receipt in receipts)
        slots = client._sender.life.slots
        assert slots is not None
        assert (slots.available, slots.waiting) == (3, 0)
        assert not client._sender.life.calls


@abandons_sockets
@pytest.mark.parametrize("hooks", HOOKS, ids=["unwatched", "watched"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_client_closed_at_any_turn_of_a_call_tells_the_truth(hooks: list[Any], warm: bool) -> None:
    """`aclose` with no grace: what is said not to have been sent was not, and what was accepted is said to be."""
    endings: list[CallFinished] = []

    def watch(event: object) -> None:
        if isinstance(event, CallFinished):
            endings.append(event)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(FIRED_ANSWER)

    seen: set[Delivery] = set()
    for after in range(30):
        async with serving(script) as server:
            client = client_of(server, hooks=[*hooks, watch] if hooks else [], max_connections=1)
            if warm:
                await client.trigger("slack", "E")
            server.requests.clear()
            on_wire = asyncio.ensure_future(client.trigger("slack", "E", {"n": 0}))
            queued = asyncio.ensure_future(client.trigger("slack", "E", {"n": 1}))
            await turns(after)
            async with asyncio.timeout(GUARD):
                await client.aclose(grace=0)
                results = await asyncio.gather(on_wire, queued, return_exceptions=True)
            await asyncio.wait_for(server.emptied(), GUARD)
            arrived = {json.loads(request.body)["payload"]["n"] for request in server.requests}
            for number, result in enumerate(results):
                if isinstance(result, RefoldError):
                    assert isinstance(result, ClientClosedError)
                    assert result.delivery in (Delivery.NOT_SENT, Delivery.AMBIGUOUS)
                    seen.add(result.delivery)
                    if result.delivery is Delivery.NOT_SENT:
                        assert number not in arrived, f"sent, and said not to be, after {after} turns"
                else:
                    assert not isinstance(result, BaseException), result
                    seen.add(Delivery.ACCEPTED)
                    assert number in arrived
            assert not client._sender.life.calls
    assert Delivery.NOT_SENT in seen, "or nothing was tested"


@pytest.mark.parametrize("cancelled", [False, True], ids=["by_deadline", "by_cancellation"])
async def test_a_crowd_that_leaves_the_queue_stays_neither_in_it_nor_in_the_timer(cancelled: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with serving(script) as server:
        client = client_of(server, max_connections=1, timeout=None, deadline=None)
        stuck = asyncio.ensure_future(client.trigger("slack", "E"))
        assert await until(lambda: bool(server.requests))
        deadline = None if cancelled else 0.05
        crowd = [asyncio.ensure_future(client.trigger("slack", "E", deadline=deadline)) for _ in range(500)]
        await turns(3)
        life = client._sender.life
        assert life.slots is not None
        assert life.timer is not None
        assert life.slots.waiting == 500
        for task in crowd if cancelled else ():
            task.cancel()
        results = await asyncio.gather(*crowd, return_exceptions=True)
        for result in results:
            if not cancelled:
                assert isinstance(result, RefoldError)
                assert result.delivery is Delivery.NOT_SENT
        assert life.slots.waiting == 0
        assert len(life.timer.timed) <= 1, "the one that is on the wire"
        await client.aclose(grace=0)
        with pytest.raises(ClientClosedError) as caught:
            await stuck
        assert caught.value.delivery is Delivery.AMBIGUOUS
