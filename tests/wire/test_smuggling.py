"""What a server adds after its answer is never served as the answer to anything."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.fakes.server import OK, Peer, Received, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.corpus import SAMPLES
from tests.wire.wire import NOTHING, Answer, exchange, outcome, request_of, settled, turns

pytestmark = [pytest.mark.anyio, needs_ours]

SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSMUGGLED"

FIRST = {
    "content_length": ("GET", OK, b"hello"),
    "chunked": ("GET", SAMPLES["chunked"].wire, b"hello"),
    "trailers": ("GET", SAMPLES["chunked_with_trailers"].wire, b"hello"),
    "empty": ("GET", SAMPLES["empty"].wire, b""),
    "no_content": ("GET", SAMPLES["no_content"].wire, b""),
    "no_content_with_length": ("GET", b"HTTP/1.1 204 No\r\nContent-Length: 8\r\n\r\n", b""),
    "not_modified": ("GET", SAMPLES["not_modified"].wire, b""),
    "head": ("HEAD", SAMPLES["head"].wire, b""),
    "head_chunked": ("HEAD", SAMPLES["head_chunked"].wire, b""),
}
EXTRA = {
    "answer": SMUGGLED,
    "refused_answer": b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\n",
    "informational_and_answer": b"HTTP/1.1 100 Continue\r\n\r\n" + SMUGGLED,
    "first_byte": b"H",
    "half_a_head": SMUGGLED[:20],
    "line_end": b"\r\n",
    "line_end_and_answer": b"\r\n" + SMUGGLED,
    "last_chunk": b"0\r\n\r\n",
    "garbage": b"\x00",
    "a_body": b"hello",
}

Between = Callable[[Peer], Awaitable[None]]


async def at_once(peer: Peer) -> None:
    """Add it to the segment of the answer."""


async def after_some_turns(peer: Peer) -> None:
    await turns(3)


async def while_idle(peer: Peer) -> None:
    await asyncio.sleep(0.003)


first = pytest.mark.parametrize(("method", "answer", "body"), FIRST.values(), ids=FIRST)


def honest(request: Received) -> bytes:
    body = b"to " + request.target
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def adding(answer: bytes, added: bytes, between: Between) -> Callable[[Peer], Awaitable[None]]:
    """Answer the very first request with something extra, and all others honestly."""

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            if between is at_once:
                await peer.send(answer + added)
            else:
                await peer.send(answer)
                await between(peer)
                await peer.send(added)
        while True:
            await peer.send(honest(await peer.request()))

    return script


@first
@pytest.mark.parametrize("between", [at_once, after_some_turns, while_idle])
async def test_extra_bytes_belong_to_nobody(
    make_transport: MakeTransport, method: str, answer: bytes, body: bytes, between: Between
) -> None:
    for name, added in EXTRA.items():
        transport = make_transport()
        async with serving(adding(answer, added, between)) as server:
            one = await exchange(transport, request_of(f"{server.url}/1", method=method))
            assert one.body == body, name
            if between is while_idle:
                assert await settled(transport, NOTHING) == NOTHING, "what is idle and speaks is closed"
            elif between is after_some_turns:
                await asyncio.sleep(0.002)
            assert (await exchange(transport, request_of(f"{server.url}/2"))).body == b"to /2", name
            # An empty line adds no answer, and moves none; only once the connection is idle is it noticed.
            assert len(server.peers) == 2 or (name == "line_end" and between is at_once), name


@first
async def test_an_answer_that_is_not_read_yet_is_not_added_to(
    make_transport: MakeTransport, method: str, answer: bytes, body: bytes
) -> None:
    """Whether the extra bytes come before the answer was read, or after."""
    for name, added in EXTRA.items():
        transport = make_transport()
        async with serving(adding(answer, added, after_some_turns)) as server:
            response = await transport.handle_async_request(request_of(f"{server.url}/1", method=method))
            await asyncio.sleep(0.005)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert b"".join([part async for part in response.stream]) == body, name
            await response.aclose()
            assert (await exchange(transport, request_of(f"{server.url}/2"))).body == b"to /2", name
            assert len(server.peers) == 2, name


@pytest.mark.parametrize("name", ["content_length", "chunked", "trailers", "head"])
async def test_extra_bytes_split_anywhere(make_transport: MakeTransport, name: str) -> None:
    """However the segments fall, the answer is whole, and the connection is not used again."""
    method, answer, body = FIRST[name]
    wire = answer + SMUGGLED
    transport = make_transport()

    async def script(peer: Peer) -> None:
        cut = int((await peer.request()).target[1:])
        await peer.send(wire[:cut])
        await asyncio.sleep(0)
        await peer.send(wire[cut:])
        await peer.gone()

    async with serving(script) as server:
        for cut in range(1, len(wire)):
            one = await exchange(transport, request_of(f"{server.url}/{cut}", method=method))
            assert (one.status, one.body) == (200, body), cut
            assert await settled(transport, NOTHING) == NOTHING, cut


@pytest.mark.parametrize("added", [SMUGGLED, b"H"], ids=["answer", "first_byte"])
async def test_extra_bytes_that_arrive_while_the_loop_is_busy(make_transport: MakeTransport, added: bytes) -> None:
    """They wait in the kernel, unseen by the loop, when the next request is made without a turn in between."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        while True:
            await peer.send(honest(await peer.request()))

    async with serving(script) as server:
        await exchange(transport, request_of(f"{server.url}/1"))
        descriptor = server.peers[0].fileno()
        thread = threading.Timer(0.005, os.write, [descriptor, added])
        thread.start()
        time.sleep(0.03)  # noqa: ASYNC251 - the loop is to be blocked
        assert (await exchange(transport, request_of(f"{server.url}/2"))).body == b"to /2"
        thread.join()
    assert [request.connection for request in server.requests] == [0, 1]


async def test_bytes_before_any_request_spoil_the_connection(make_transport: MakeTransport) -> None:
    """The first of them may be taken for an answer, because it cannot be told from one; nothing after it may."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.send(SMUGGLED + SMUGGLED)
        while True:
            await peer.send(honest(await peer.request()))

    async with serving(script) as server:
        await outcome(transport, request_of(f"{server.url}/1"))
        assert (await exchange(transport, request_of(f"{server.url}/2"))).body == b"to /2"


async def test_a_body_longer_than_declared_is_cut_where_it_said(make_transport: MakeTransport) -> None:
    transport = make_transport()
    answers = iter([OK + b" and more", OK])

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.drip(next(answers))
        await peer.gone()

    async with serving(script) as server:
        for _ in range(2):
            assert (await exchange(transport, request_of(server.url))).body == b"hello"
    assert len(server.peers) == 2


async def test_many_at_once_never_swap_answers(make_transport: MakeTransport) -> None:
    """Every connection says a little more after each of its answers."""
    transport = make_transport(limits=httpx.Limits(max_connections=10))
    endings: dict[bytes, Answer | httpx.TransportError] = {}

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(honest(request))
            await turns(peer.number % 3)
            await peer.send(SMUGGLED)

    async def ask(url: str, number: int) -> None:
        endings[b"to /%d" % number] = await outcome(transport, request_of(f"{url}/{number}"))

    async with serving(script) as server:
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(ask(server.url, number))
    # What comes after the next request was written cannot be told from its answer, by anyone; but an honest answer is
    # never somebody else's.
    bodies = {due: ending.body for due, ending in endings.items() if isinstance(ending, Answer)}
    assert {due: body for due, body in bodies.items() if body not in (due, b"SMUGGLED")} == {}
    assert sum(due == body for due, body in bodies.items()) > 200
