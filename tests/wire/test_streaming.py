"""Bodies as streams, both ways: read once, held back when the other side is slow, and given up in order."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes.server import OK, Peer, answering, serving
from tests.wire.conftest import MakeTransport
from tests.wire.wire import GUARD, NOTHING, ONE_IDLE, exchange, outcome, request_of, settled, state_of, turns, until

pytestmark = pytest.mark.anyio

BLOCK = b"0123456789abcdef" * 4096
SMALL_BUFFERS = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536), (socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)]


class Source(httpx.AsyncByteStream):
    """A body that counts how often it is begun, pulled and closed."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = blocks
        self.begun = self.pulled = self.ended = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            for block in self.blocks:
                self.pulled += 1
                await asyncio.sleep(0)
                yield block
        finally:
            self.ended += 1


def streaming_request(url: str, source: httpx.AsyncByteStream, *, length: int | None = None) -> httpx.Request:
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    extensions = {"timeout": httpx.Timeout(3.0).as_dict()}
    headers = [("Host", "a.test"), framing]
    return httpx.Request("POST", url, headers=headers, stream=source, extensions=extensions)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("blocks", [(), (b"hello",), (b"", b"he", b"", b"llo", b""), (BLOCK,) * 40])
async def test_a_stream_arrives_whole_and_is_read_once(
    make_transport: MakeTransport, blocks: tuple[bytes, ...], declared: bool
) -> None:
    transport = make_transport()
    source, body = Source(*blocks), b"".join(blocks)
    async with serving(answering(OK)) as server:
        request = streaming_request(server.url, source, length=len(body) if declared else None)
        assert (await exchange(transport, request)).status == 200
        assert await settled(transport, ONE_IDLE) == ONE_IDLE
    assert [request.body for request in server.requests] == [body]
    assert (source.begun, source.pulled, source.ended) == (1, len(blocks), 1)


async def test_a_body_of_bytes_may_say_that_it_comes_in_chunks(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(answering(OK)) as server:
        request = streaming_request(server.url, httpx.ByteStream(b"hello"))
        assert (await exchange(transport, request)).status == 200
    assert server.requests[0].body == b"hello"


async def test_a_stream_is_read_once_whatever_becomes_of_it(make_transport: MakeTransport) -> None:
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    source = Source(*[BLOCK] * 100)
    async with serving(script) as server:
        ending = await outcome(transport, streaming_request(server.url, source))
        assert isinstance(ending, httpx.NetworkError | httpx.RemoteProtocolError)
        assert await settled(transport, NOTHING) == NOTHING
    assert (source.begun, source.ended) == (1, 1)
    assert source.pulled < 100


async def test_a_stream_that_raises_ends_the_request_as_it_is(make_transport: MakeTransport) -> None:
    transport = make_transport()

    async def broken() -> AsyncIterator[bytes]:
        yield b"hel"
        raise KeyError("the caller's own")

    async with serving(answering(OK)) as server:
        with pytest.raises(KeyError, match="own"):
            await exchange(transport, request_of(server.url, method="POST", content=broken()))
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()
    assert server.requests == []


async def test_a_cancelled_upload_closes_its_stream(make_transport: MakeTransport) -> None:
    transport = make_transport()
    started, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                started.set()
                yield b"x"
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    async with serving(answering(OK)) as server:
        task = asyncio.ensure_future(exchange(transport, request_of(server.url, method="POST", content=endless())))
        assert await until(started.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed.is_set()
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "in_one_piece"])
async def test_an_upload_goes_no_faster_than_it_is_read(make_transport: MakeTransport, whole: bool) -> None:
    transport = make_transport(socket_options=SMALL_BUFFERS)
    source = Source(*[BLOCK] * 64)
    reading = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await reading.wait()
        left = 64 * len(BLOCK)
        while left:
            left -= len(await peer.read())
        await peer.send(OK)
        await peer.gone()

    stream = httpx.ByteStream(BLOCK * 64) if whole else source
    async with serving(script, buffers=65_536) as server:
        task = asyncio.ensure_future(exchange(transport, streaming_request(server.url, stream, length=64 * len(BLOCK))))
        await asyncio.sleep(0.1)
        assert source.pulled < 24, "it was pulled far ahead of its reader"
        reading.set()
        assert (await task).status == 200
        assert await settled(transport, ONE_IDLE) == ONE_IDLE


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "in_one_piece"])
async def test_an_upload_that_nobody_reads_times_out(make_transport: MakeTransport, whole: bool) -> None:
    transport = make_transport(socket_options=SMALL_BUFFERS)
    stream = httpx.ByteStream(BLOCK * 256) if whole else Source(*[BLOCK] * 256)

    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(GUARD)

    async with serving(script, buffers=65_536) as server:
        request = streaming_request(server.url, stream, length=256 * len(BLOCK))
        request.extensions["timeout"] = {"connect": 2.0, "write": 0.15, "read": 2.0, "pool": 2.0}
        assert type(await outcome(transport, request)) is httpx.WriteTimeout
        assert await settled(transport, NOTHING) == NOTHING


async def test_a_slow_upload_that_moves_does_not_time_out(make_transport: MakeTransport) -> None:
    """The write timeout is for each write, not for the whole body."""
    transport = make_transport(socket_options=SMALL_BUFFERS)

    async def script(peer: Peer) -> None:
        await peer.head()
        left = 48 * len(BLOCK)
        while left:
            left -= len(await peer.read(1 << 18))
            await asyncio.sleep(0.02)
        await peer.send(OK)
        await peer.gone()

    async with serving(script, buffers=65_536) as server:
        request = streaming_request(server.url, Source(*[BLOCK] * 48), length=48 * len(BLOCK))
        request.extensions["timeout"] = {"connect": 2.0, "write": 0.1, "read": 2.0, "pool": 2.0}
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await exchange(transport, request)).status == 200
        assert loop.time() - began > 0.1


@pytest.mark.parametrize("chunked", [False, True], ids=["content_length", "chunked"])
async def test_a_download_is_read_no_faster_than_it_is_taken(make_transport: MakeTransport, chunked: bool) -> None:
    transport = make_transport(socket_options=SMALL_BUFFERS)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (256 * len(BLOCK))
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        for _ in range(256):
            await peer.send(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
            sent += len(BLOCK)
        await peer.send(b"0\r\n\r\n" if chunked else b"")
        await peer.gone()

    async with serving(script, buffers=65_536) as server:
        response = await transport.handle_async_request(request_of(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        await asyncio.sleep(0.1)
        held = sent
        assert held < 3_000_000, "it was read far ahead of whom it is for"
        await asyncio.sleep(0.05)
        assert sent == held
        received = 0
        async for part in response.stream:
            assert len(part) < 1_000_000
            received += len(part)
        assert received == 256 * len(BLOCK)
        await response.aclose()
        assert await settled(transport, ONE_IDLE) == ONE_IDLE


async def test_the_head_is_given_before_the_body_has_come(make_transport: MakeTransport) -> None:
    transport = make_transport()
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-5])
        for byte in b"hello":
            await more.wait()
            more.clear()
            await peer.send(bytes([byte]))
        await peer.gone()

    async with serving(script) as server, asyncio.timeout(GUARD):
        response = await transport.handle_async_request(request_of(server.url))
        assert response.status_code == 200
        parts = []
        more.set()
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for part in response.stream:
            parts.append(part)
            more.set()
        assert parts == [b"h", b"e", b"l", b"l", b"o"]
        await response.aclose()


@pytest.mark.parametrize("read", [0, 1])
async def test_a_response_left_early_frees_its_place(make_transport: MakeTransport, read: int) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number:
            await peer.send(OK)
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        await peer.gone()

    async with serving(script) as server:
        response = await transport.handle_async_request(request_of(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        if read:
            async for _ in response.stream:
                break
        await response.aclose()
        for _ in range(3):
            await response.aclose()
            await response.stream.aclose()
        assert (await exchange(transport, request_of(server.url))).body == b"hello"
        assert await settled(transport, ONE_IDLE) == ONE_IDLE
    assert len(server.peers) == 2


async def test_closing_a_response_that_was_read_gives_nothing_twice(make_transport: MakeTransport) -> None:
    """Its connection may be somebody else's by then."""
    transport = make_transport(limits=httpx.Limits(max_connections=1))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await asyncio.sleep(0.05)
        await peer.send(OK)
        await peer.gone()

    async with serving(script) as server:
        response = await transport.handle_async_request(request_of(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert b"".join([part async for part in response.stream]) == b"hello"
        second = asyncio.ensure_future(exchange(transport, request_of(server.url)))
        await asyncio.sleep(0.01)
        for _ in range(3):
            await response.aclose()
            await response.stream.aclose()
        assert (await second).body == b"hello"
        assert [part async for part in response.stream] == []
    assert len(server.peers) == 1


@pytest.mark.parametrize("after", range(8))
async def test_cancelled_while_reading_the_body(make_transport: MakeTransport, after: int) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number:
            await peer.send(OK)
            await peer.gone()
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await peer.drip(b"x" * 999)
        await peer.gone()

    async with serving(script) as server:
        task = asyncio.ensure_future(exchange(transport, request_of(server.url)))
        assert await until(lambda: bool(server.requests))
        await turns(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await exchange(transport, request_of(server.url))).body == b"hello"
        assert await settled(transport, ONE_IDLE) == ONE_IDLE


async def test_httpx_itself_decompresses(make_transport: MakeTransport) -> None:
    packed = gzip.compress(b"hello " * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with serving(answering(head + packed)) as server:
        async with httpx.AsyncClient(transport=make_transport()) as session:
            assert (await session.get(server.url)).content == b"hello " * 1000
            async with session.stream("GET", server.url) as response:
                assert b"".join([part async for part in response.aiter_raw()]) == packed
            assert state_of(session._transport) == ONE_IDLE
