"""A connection that is another exchange's by the time the one before wakes up."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from refold_async._wire.connection import Connection
from refold_async.transports import PoolTransport
from tests.fakes.server import OK, Peer, serving
from tests.wire.wire import GUARD, outcome, request_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_one_before_leaves_the_next_exchange_alone(monkeypatch: pytest.MonkeyPatch, cancelled: bool) -> None:
    """Neither its waking up nor its late cancellation takes the next one's read timeout, or connection, away."""
    following: list[asyncio.Task[Any]] = []
    timeout = {"connect": GUARD, "read": 0.1, "write": GUARD, "pool": GUARD}

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if cancelled:
            await peer.send(OK)
        await peer.gone()

    async with serving(script) as server, PoolTransport(limits=httpx.Limits(max_connections=1)) as transport:
        finish = Connection.finish

        def finish_and_start_the_next(self: Connection, *, reusable: bool) -> None:
            finish(self, reusable=reusable)
            if not following:
                following.append(asyncio.create_task(outcome(transport, request_of(server.url, timeout=timeout))))
                if cancelled:
                    asyncio.get_running_loop().call_soon(first.cancel)

        monkeypatch.setattr(Connection, "finish", finish_and_start_the_next)
        first = asyncio.create_task(outcome(transport, request_of(server.url, timeout=timeout)))
        await asyncio.wait([first])
        async with asyncio.timeout(GUARD):
            ending = await following[0]
        if cancelled:
            assert not isinstance(ending, Exception)
        else:
            assert type(ending) is httpx.ReadTimeout
