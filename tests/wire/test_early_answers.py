"""Answers that come before the request is at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes.server import OK, Peer, serving
from tests.wire.conftest import MakeTransport
from tests.wire.wire import NOTHING, Answer, exchange, outcome, request_of, settled

pytestmark = pytest.mark.anyio

TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
BLOCK = b"x" * 65_536


async def pieces(count: int, pause: float = 0.002) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BLOCK
        await asyncio.sleep(pause)


@pytest.mark.parametrize("answer", [TOO_LARGE, OK.replace(b"200 OK", b"413 No")], ids=["closing", "keeping"])
async def test_an_answer_during_the_upload_is_given_and_the_upload_stops(
    make_transport: MakeTransport, answer: bytes
) -> None:
    transport = make_transport()
    received = 0

    async def script(peer: Peer) -> None:
        nonlocal received
        await peer.head()
        await peer.send(answer)
        received = len(await peer.gone())

    async with serving(script) as server:
        ending = await exchange(transport, request_of(server.url, method="POST", content=pieces(2000)))
        assert ending.status == 413
        assert await settled(transport, NOTHING) == NOTHING, "half a request is no basis for another"
        await server.emptied()
    assert received < 500 * len(BLOCK)


async def test_an_answer_without_reading_anything(make_transport: MakeTransport) -> None:
    """The body is large, goes out in one piece, and nobody reads it."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(TOO_LARGE)
        await asyncio.sleep(0.2)

    async with serving(script, buffers=65_536) as server:
        ending = await exchange(transport, request_of(server.url, method="POST", content=BLOCK * 256))
        assert (ending.status, ending.body) == (413, b"big")
        assert await settled(transport, NOTHING) == NOTHING


async def test_a_server_that_answers_and_resets_at_once(make_transport: MakeTransport) -> None:
    """The reset may overtake the answer: then it is an error, and never a hang."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(TOO_LARGE)
        peer.reset()

    async with serving(script) as server:
        for _ in range(20):
            ending = await outcome(transport, request_of(server.url, method="POST", content=pieces(50, 0.0)))
            if isinstance(ending, Answer):
                assert (ending.status, ending.body) == (413, b"big")
            else:
                assert isinstance(ending, httpx.NetworkError | httpx.RemoteProtocolError)
    assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_leaves_while_the_source_thinks(make_transport: MakeTransport, reset: bool) -> None:
    """The body's last piece was given; its generator ends only after the connection is gone."""
    transport = make_transport()
    gone = asyncio.Event()

    async def thinking() -> AsyncIterator[bytes]:
        yield b"hello"
        await gone.wait()
        await asyncio.sleep(0.02)

    async def script(peer: Peer) -> None:
        await peer.head()
        if reset:
            peer.reset()
        else:
            peer.close()
        gone.set()

    async with serving(script) as server:
        ending = await outcome(transport, request_of(server.url, method="POST", content=thinking()))
        assert isinstance(ending, httpx.NetworkError | httpx.RemoteProtocolError), ending
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("declared", [False, True])
async def test_an_answer_while_the_source_thinks(make_transport: MakeTransport, declared: bool) -> None:
    transport = make_transport()
    answered = asyncio.Event()

    async def thinking() -> AsyncIterator[bytes]:
        yield b"hello"
        await answered.wait()
        await asyncio.sleep(0.02)
        yield b"never asked for"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(TOO_LARGE)
        answered.set()
        await peer.gone()

    headers = [("Content-Length", "20")] if declared else []
    async with serving(script) as server:
        request = request_of(server.url, method="POST", headers=headers, content=thinking())
        assert (await exchange(transport, request)).status == 413
        assert await settled(transport, NOTHING) == NOTHING
