"""One client, a thousand concurrent calls, twenty connections, and cancellation wherever it may strike."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio
import httpx
import pytest

from refold_async import Delivery, RefoldClient, RefoldTimeoutError
from refold_async.testing import MockRefold
from tests.support import abandons_sockets

pytestmark = pytest.mark.asyncio

CALLS = 1000
CONNECTIONS = 20
TIMEOUT = httpx.Timeout(30, pool=0.5)


def pool_of(client: RefoldClient) -> Any:
    return client.session._transport._pool  # type: ignore[attr-defined]


def check_nothing_is_left(client: RefoldClient) -> None:
    pool = pool_of(client)
    assert not pool._requests
    assert all(connection.is_idle() for connection in pool._connections), pool._connections
    assert len(pool._connections) <= CONNECTIONS
    slots = client._sender.life.slots
    assert slots is not None
    assert slots.available == CONNECTIONS
    assert not client._sender.life.calls
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_thousand_calls_over_twenty_connections(server: MockRefold) -> None:
    async with server.client(rate_limit=None, max_connections=CONNECTIONS, timeout=TIMEOUT) as client:
        calls = (client.trigger("pipedrive", "Deal Created", {"n": n}) for n in range(CALLS))
        receipts = await asyncio.gather(*calls)
        check_nothing_is_left(client)
    assert {receipt.delivery for receipt in receipts} == {Delivery.ACCEPTED}
    assert server.ledger.count_fired_by("n") == dict.fromkeys(range(CALLS), 1)
    assert server.most_connections <= CONNECTIONS


async def _by_task(call: Any, turns: int) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):  # unless it was faster than the cancellation
        await task


async def _by_timeout(call: Any, turns: int) -> None:
    try:
        async with asyncio.timeout(turns * 0.0002):
            await call
    except RefoldTimeoutError:
        raise  # the pool's, which must not be
    except TimeoutError:
        pass


async def _by_wait_for(call: Any, turns: int) -> None:
    try:
        await asyncio.wait_for(call, turns * 0.0002)
    except RefoldTimeoutError:
        raise  # the pool's, which must not be
    except TimeoutError:
        pass


async def _by_scope(call: Any, turns: int) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(cancel)
            await call
            group.cancel_scope.cancel()


@abandons_sockets
@pytest.mark.parametrize("cancel", [_by_task, _by_timeout, _by_wait_for, _by_scope])
async def test_cancelling_any_third_leaves_the_rest_unharmed(server: MockRefold, cancel: Any) -> None:
    async with server.client(rate_limit=None, max_connections=CONNECTIONS, timeout=TIMEOUT) as client:

        async def fire(n: int) -> Delivery | None:
            call = client.trigger("pipedrive", "Deal Created", {"n": n})
            if n % 3:
                return (await call).delivery
            await cancel(call, n % 97)
            return None

        endings = await asyncio.gather(*(fire(n) for n in range(CALLS)))
        await asyncio.sleep(0.01)
        check_nothing_is_left(client)
        assert endings.count(Delivery.ACCEPTED) == CALLS - len(range(0, CALLS, 3))
        again = await asyncio.gather(*(client.trigger("pipedrive", "Deal Created") for _ in range(50)))
        assert {receipt.delivery for receipt in again} == {Delivery.ACCEPTED}
    counts = server.ledger.count_fired_by("n")
    assert all(counts[n] == 1 for n in range(CALLS) if n % 3)
    assert max(count for n, count in counts.items() if n is not None) == 1


@abandons_sockets
@pytest.mark.parametrize("turn", range(40))
async def test_cancelling_at_each_turn_of_the_loop_costs_no_slot(server: MockRefold, turn: int) -> None:
    async with server.client(rate_limit=None, max_connections=2, timeout=TIMEOUT) as client:
        for _ in range(8):
            await _by_task(client.trigger("pipedrive", "Deal Created"), turn)
        receipts = await asyncio.gather(*(client.trigger("pipedrive", "Deal Created") for _ in range(6)))
        assert {receipt.delivery for receipt in receipts} == {Delivery.ACCEPTED}
        assert not pool_of(client)._requests
