"""What is refused and what is taken: exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes.server import BODY, OK, Peer, answering, once, serving
from tests.wire.conftest import MakeTransport, needs_ours, on_asyncio
from tests.wire.corpus import ODD, REFUSED, SAMPLES, Sample
from tests.wire.reference import reference
from tests.wire.wire import NOTHING, ONE_IDLE, Answer, exchange, outcome, request_of, settled

pytestmark = [pytest.mark.anyio, on_asyncio]

_200 = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _200 + b"Transfer-Encoding: chunked\r\n\r\n"


@needs_ours
@pytest.mark.parametrize("drip", [False, True], ids=["at_once", "dripped"])
@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED)
async def test_a_malformed_answer_is_refused(transport: httpx.AsyncHTTPTransport, wire: bytes, drip: bool) -> None:
    async with serving(once(wire, drip=drip)) as server:
        ending = await outcome(transport, request_of(server.url))
        assert type(ending) is httpx.RemoteProtocolError, ending
        assert await settled(transport, NOTHING) == NOTHING
        assert len(server.requests) == 1, "a refused answer is no reason to ask again"


@needs_ours
@pytest.mark.parametrize("wire", [w for w in REFUSED.values() if w], ids=[name for name, w in REFUSED.items() if w])
async def test_a_malformed_answer_is_refused_without_waiting_for_the_end(
    transport: httpx.AsyncHTTPTransport, wire: bytes
) -> None:
    """The server keeps the connection open, and says no more: what cannot become right is refused all the same."""
    async with serving(once(wire, close=False)) as server:
        ending = await outcome(transport, request_of(server.url, timeout=0.3))
        assert isinstance(ending, httpx.RemoteProtocolError | httpx.ReadTimeout), ending
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("sample", (SAMPLES | ODD).values(), ids=SAMPLES | ODD)
async def test_a_good_answer_is_taken_and_its_connection_reused_as_it_says(
    make_transport: MakeTransport, sample: Sample
) -> None:
    transport = make_transport()
    async with serving(once(sample.wire, close=not sample.reusable)) as server:
        answer = await exchange(transport, request_of(server.url, method=sample.method))
        assert (answer.status, answer.body) == (sample.status, sample.body)
        expected = reference(sample.wire, sample.method)
        if expected is not None:  # h11 writes `chunked` in lower case
            assert [(name, value.lower()) for name, value in answer.headers] == [
                (name, value.lower()) for name, value in expected.headers
            ]
            assert (answer.reason, answer.version) == (expected.reason, expected.version)
        kept = ONE_IDLE if sample.reusable else NOTHING
        assert await settled(transport, kept) == kept


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_the_next_request_finds_its_own_answer(make_transport: MakeTransport, sample: Sample) -> None:
    """Whatever came before it on the connection."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == b"/plain":
                await peer.send(_200 + b"Content-Length: 6\r\n\r\nsecond")
                continue
            await peer.send(sample.wire)
            if not sample.reusable:
                return

    async with serving(script) as server:
        for _ in range(3):
            answer = await exchange(transport, request_of(server.url, method=sample.method))
            assert (answer.status, answer.body) == (sample.status, sample.body)
            assert (await exchange(transport, request_of(f"{server.url}/plain"))).body == b"second"
    assert len(server.peers) == (1 if sample.reusable else 4)


async def test_a_request_that_says_close_ends_the_connection(make_transport: MakeTransport) -> None:
    """RFC 9112 §9.6: after it no other request may follow, whatever the server answers."""
    transport = make_transport()
    async with serving(answering(OK)) as server:
        await exchange(transport, request_of(server.url, headers=[("Connection", "close")]))
        assert await settled(transport, NOTHING) == NOTHING
        await exchange(transport, request_of(server.url))
    assert [request.connection for request in server.requests] == [0, 1]


async def test_switching_protocols_unasked_leaves_nothing_to_reuse(make_transport: MakeTransport) -> None:
    transport = make_transport()
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with serving(once(wire + OK, close=False)) as server:
        ending = await outcome(transport, request_of(server.url))
        if isinstance(ending, Answer):
            assert (ending.status, ending.body) == (101, b"")
        else:
            assert isinstance(ending, httpx.RemoteProtocolError)
        assert await settled(transport, NOTHING) == NOTHING


async def _endless(head: bytes, unit: bytes) -> AsyncIterator[bytes]:
    yield head
    block = unit * (8192 // len(unit) or 1)
    for _ in range(8192):
        yield block


ENDLESS = {
    "status_line": (b"HTTP/1.1 200 ", b"O"),
    "header_name": (_200, b"X"),
    "header_value": (_200 + b"X: ", b"x"),
    "headers": (_200, b"X: 1\r\n"),
    "informational": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "informational_with_headers": (b"", b"HTTP/1.1 103 Early Hints\r\n" + b"Link: x\r\n" * 50 + b"\r\n"),
    "chunk_extension": (_CHUNKED + b"5;", b"x"),
    "chunk_extension_quoted": (_CHUNKED + b'5;a="', b"x"),
    "chunk_extensions": (_CHUNKED, b"1;" + b"x" * 500 + b"\r\nx\r\n"),
    "chunk_size_zeros": (_CHUNKED, b"0"),
    "trailer_name": (_CHUNKED + b"0\r\n", b"X"),
    "trailer_value": (_CHUNKED + b"0\r\nX: ", b"x"),
    "trailers": (_CHUNKED + b"0\r\n", b"X: 1\r\n"),
    "garbage": (b"", b"\x00\xff"),
    "empty_lines": (b"", b"\r\n"),
}


@needs_ours
@pytest.mark.parametrize(("head", "unit"), ENDLESS.values(), ids=ENDLESS)
async def test_the_endless_is_refused_early(transport: httpx.AsyncHTTPTransport, head: bytes, unit: bytes) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        async for block in _endless(head, unit):
            await peer.send(block)
            sent += len(block)

    async with serving(script, buffers=65_536) as server:
        ending = await outcome(transport, request_of(server.url, timeout=2.0))
        assert type(ending) is httpx.RemoteProtocolError, ending
        await server.emptied()
    assert sent < 2_000_000, "what the buffers on the way hold is all that was sent"


@needs_ours
@pytest.mark.parametrize("wire", [_200 + b"X: 1\r\n" * 5000 + b"\r\n", _200 + b"X: " + b"x" * 200_000 + b"\r\n\r\n"])
async def test_an_oversized_head_is_refused(transport: httpx.AsyncHTTPTransport, wire: bytes) -> None:
    async with serving(once(wire + BODY)) as server:
        assert type(await outcome(transport, request_of(server.url))) is httpx.RemoteProtocolError


async def test_a_body_in_very_many_chunks_is_taken(make_transport: MakeTransport) -> None:
    """A limit on what surrounds the chunks is none on the chunks."""
    transport = make_transport()
    wire = _CHUNKED + b"1\r\nx\r\n" * 40_000 + b"2\r\nyy\r\n" * 5000 + b"0\r\n\r\n"
    async with serving(once(wire, close=False)) as server:
        answer = await exchange(transport, request_of(server.url))
        assert answer.body == b"x" * 40_000 + b"yy" * 5000
        assert await settled(transport, ONE_IDLE) == ONE_IDLE


async def test_some_informational_answers_are_passed_over(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(once(b"HTTP/1.1 102 Processing\r\n\r\n" * 8 + OK, close=False, drip=True)) as server:
        answer = await exchange(transport, request_of(server.url))
        assert (answer.status, answer.body) == (200, BODY)


@needs_ours
async def test_informational_answers_without_end_are_refused_by_their_number(
    transport: httpx.AsyncHTTPTransport,
) -> None:
    """However small they are."""
    async with serving(once(b"HTTP/1.1 102 \r\n\r\n" * 40 + OK)) as server:
        assert type(await outcome(transport, request_of(server.url))) is httpx.RemoteProtocolError


async def test_the_body_is_passed_on_as_it_came(make_transport: MakeTransport) -> None:
    """The transport does not decompress, and does not mind what the bytes are."""
    transport = make_transport()
    body = bytes(range(256)) * 400
    head = _200 + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(once(head + body, close=False)) as server:
        assert (await exchange(transport, request_of(server.url))).body == body
