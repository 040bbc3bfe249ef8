"""Closing a transport: what is under way, what waits, what is being opened, and twice."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.server import OK, Gate, answering, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.wire import GUARD, NOTHING, Answer, ask, outcome, request_of, settled, turns

pytestmark = pytest.mark.anyio


async def test_closing_the_transport_ends_everything(make_transport: MakeTransport) -> None:
    """What is under way and what waits; each with an error of httpx, and at once."""
    transport = make_transport(limits=httpx.Limits(max_connections=2))
    gate = Gate()
    async with serving(gate.script) as server:
        tasks = [asyncio.ensure_future(outcome(transport, request_of(f"{server.url}/{n}"))) for n in range(5)]
        await gate.has(2)
        await transport.aclose()
        endings = await asyncio.wait_for(asyncio.gather(*tasks), GUARD)
        assert not any(isinstance(ending, Answer) for ending in endings)
        assert await settled(transport, NOTHING) == NOTHING
        for target in gate.arrived:
            gate.open(target)
        async with asyncio.timeout(GUARD):
            await server.emptied()
        gate.open(b"/")
        assert (await ask(transport, server)).body == b"hello", "it may be used again"


async def test_leaving_the_block_of_an_httpx_client_closes_its_connections(make_transport: MakeTransport) -> None:
    async with serving(answering(OK)) as server:
        transport = make_transport(limits=httpx.Limits(keepalive_expiry=None))
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(server.url)).status_code == 200
        async with asyncio.timeout(GUARD):
            await server.emptied()


@needs_ours
@pytest.mark.parametrize("after", range(12))
async def test_closing_while_a_connection_is_being_opened(make_transport: MakeTransport, after: int) -> None:
    """Whatever becomes of the request, nothing of it outlives it."""
    transport = make_transport(limits=httpx.Limits(keepalive_expiry=None))
    async with serving(answering(OK)) as server:
        task = asyncio.ensure_future(outcome(transport, request_of(server.url)))
        await turns(after)
        await transport.aclose()
        await task
        await transport.aclose()
        async with asyncio.timeout(GUARD):
            await server.emptied()


async def test_closing_twice_and_while_cancelled(make_transport: MakeTransport) -> None:
    transport = make_transport()
    gate = Gate()
    async with serving(gate.script) as server:
        task = asyncio.ensure_future(outcome(transport, request_of(server.url)))
        await gate.has(1)
        closing = asyncio.ensure_future(transport.aclose())
        await turns(1)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await transport.aclose()
        await transport.aclose()
        assert not isinstance(await task, Answer)
        assert await settled(transport, NOTHING) == NOTHING
