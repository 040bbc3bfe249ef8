"""Arbitrary bytes in arbitrary pieces against the connection object, with h11 to compare with.

`POOL_FUZZ` says how many examples; without it they are few, and always the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import h11
import httpx
import pytest
from attrs import astuple, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.conftest import needs_ours
from tests.wire.corpus import ODD, REFUSED, SAMPLES
from tests.wire.wire import NOTHING, ONE_IDLE

pytestmark = needs_ours

EXAMPLES = int(os.environ.get("POOL_FUZZ", "0"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """There are no sockets here, and each example has a loop of its own."""


TARGET = ("fuzz.test", 80, False)


class FakeTransport:
    """An event loop's transport without a socket: it keeps what is written, and closes when it is told to."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False
        self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "it writes to what it has closed"
        self.written += data

    def abort(self) -> None:
        self.closing = True

    close = abort

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class FakeConnector:
    """Opens connections that lead nowhere."""

    async def connect(self, connection: Any, target: Any, timeout: float | None, timer: Any) -> None:
        connection.connection_made(FakeTransport())


@frozen
class Ending:
    """What became of the bytes.

    :ivar error: the class of the error; None for a complete answer.
    :ivar reusable: whether the connection may serve another request.
    """

    error: type[Exception] | None
    status: int | None
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    reusable: bool


def ours(pieces: list[bytes], method: str) -> Ending:
    """Feed the pieces to a connection that has sent a request, then end it; on a loop of its own that stands still."""
    return asyncio.run(_ours(pieces, method))


async def _ours(pieces: list[bytes], method: str) -> Ending:
    from refold_async._wire.connect import Target
    from refold_async._wire.pool import Pool
    from refold_async._wire.request import Outgoing
    from refold_async._wire.streamed import StreamedExchange

    loop = asyncio.get_running_loop()
    pool = Pool(loop, FakeConnector(), max_connections=1, max_keepalive=1, keepalive_expiry=None)  # type: ignore[arg-type]
    connection = await pool.acquire(Target(*TARGET), {})
    outgoing = Outgoing(method.encode(), b"/", [(b"Host", b"fuzz.test")], httpx.ByteStream(b""))
    outgoing.check()
    exchange = StreamedExchange(connection, pool.timer, None, outgoing)
    running = asyncio.ensure_future(exchange.run(outgoing, {}))
    await asyncio.sleep(0)
    transport = connection._transport
    for piece in pieces:
        if transport.closing:
            break
        buffer = connection.get_buffer(len(piece))
        buffer[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    reusable = astuple(pool.state) == ONE_IDLE and not transport.closing
    connection.connection_lost(None)
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    error: type[Exception] | None = None
    body = b""
    try:
        await running
        status, headers = exchange.parser.status, tuple(exchange.parser.headers)
        while (chunk := await exchange.next_chunk()) is not None:
            assert chunk
            body += chunk
    except httpx.TransportError as raised:
        error = type(raised)
    assert astuple(pool.state) == NOTHING
    return Ending(error, status, headers, body, reusable)


def h11s(data: bytes, method: str) -> Ending:
    """What h11 makes of the same."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "fuzz.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body, ended = b"", False
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                assert not ended
                connection.receive_data(b"")
                ended = True
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, tuple(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                return Ending(httpx.RemoteProtocolError, status, headers, body, False)
    except h11.RemoteProtocolError:
        return Ending(httpx.RemoteProtocolError, status, headers, body, False)
    reusable = connection.their_state is h11.DONE and not connection.trailing_data[0]
    return Ending(None, status, headers, body, reusable)


def comparable(headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """Let be what h11 normalises: `chunked` in lower case."""
    return [(name, value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in headers]


def agree(data: bytes, method: str, ending: Ending) -> None:
    """See that ours takes nothing that h11 does not, and takes it for the same."""
    if ending.error is not None:
        assert ending.error in (httpx.RemoteProtocolError, httpx.ReadError)
        assert not ending.reusable
        return
    other = h11s(data, method)
    if other.error is not None:
        assert is_known_difference(data, ending), (ending, other)
        return
    assert (ending.status, comparable(ending.headers), ending.body) == (
        other.status,
        comparable(other.headers),
        other.body,
    )
    if ending.reusable and not other.reusable:
        # HTTP/1.0 with keep-alive, which h11 does not do; and empty lines after the answer, which belong to nothing.
        assert data.lstrip().startswith(b"HTTP/1.0") or b"HTTP/1.0 " in data or data.endswith((b"\r", b"\n"))


def is_known_difference(data: bytes, ending: Ending) -> bool:
    """h11 refuses lengths of more than 20 digits, leading zeros included, and a 101 that nobody asked for."""
    return ending.status == 101 or b"0" * 15 in data


FRAGMENTS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 304 No\r\n",
    b"HTTP/1.1 100 C\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.1 99 X\r\n", b"HTTP/2.0 200 OK\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n", b"Content-Length: 5, 5\r\n",
    b"Content-Length : 5\r\n", b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:CHUNKED \r\n",
    b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: y\r\n", b"X:\r\n", b" folded\r\n", b"\r\n", b"\n", b"\r", b"\x00",
    b"\xff", b"hello", b"5\r\nhello\r\n", b"5;x=y\r\nhello\r\n", b"0\r\n", b"0\r\n\r\n", b"1\r\n",
    b"ffffffffffffffff\r\n", b"Trailer: 1\r\n",
]  # fmt: skip

WIRES = [sample.wire for sample in [*SAMPLES.values(), *ODD.values()] if len(sample.wire) < 500]
WIRES += [wire for wire in REFUSED.values() if wire]


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        if len(data) <= size:
            break
        yield data[:size]
        data = data[size:]
    if data:
        yield data


@st.composite
def built(draw: st.DrawFn) -> bytes:
    """Put a response together that is right, but for what may follow it."""
    body = draw(st.binary(max_size=30))
    head = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"]))
    head += draw(st.sampled_from(FRAGMENTS[:4]))
    head += b"".join(draw(st.lists(st.sampled_from([b"X: y\r\n", b"X:\r\n", *FRAGMENTS[16:18]]), max_size=3)))
    if draw(st.booleans()):
        sizes = draw(st.lists(st.integers(1, 9), max_size=4))
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, sizes)]
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
    else:
        wire = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return wire + draw(st.sampled_from([b""] * 12 + FRAGMENTS))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take a response and change it in a place or two."""
    data = draw(st.one_of(built(), st.sampled_from(WIRES)))
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 6, len(data))))
        new = draw(st.one_of(st.just(b""), st.binary(max_size=4), st.sampled_from(FRAGMENTS)))
        data = data[:start] + new + data[end:]
    return data


answers = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join),
    st.sampled_from(WIRES),
    built(),
    built(),
    mutated(),
    mutated(),
)
cuts = st.lists(st.integers(1, 40), max_size=30)
methods = st.sampled_from(["GET", "GET", "POST", "HEAD"])


@given(data=answers, sizes=cuts, method=methods)
@settings(max_examples=EXAMPLES or 1500, derandomize=not EXAMPLES)
def test_any_bytes_in_any_pieces(data: bytes, sizes: list[int], method: str) -> None:
    """An answer that h11 reads the same, or an error of httpx; the same one however it was cut."""
    whole = ours([data] if data else [], method)
    agree(data, method, whole)
    in_pieces = ours(list(cut(data, sizes)), method)
    agree(data, method, in_pieces)
    assert (whole.error is None) == (in_pieces.error is None)
    if whole.error is None:
        assert (whole.status, whole.headers, whole.body) == (in_pieces.status, in_pieces.headers, in_pieces.body)


@given(
    body=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 700), max_size=10), cuts_=cuts, chunked=st.booleans()
)
@example(body=b"", sizes=[], cuts_=[1] * 30, chunked=True)
@settings(max_examples=EXAMPLES or 300, derandomize=not EXAMPLES)
def test_any_body_comes_through(body: bytes, sizes: list[int], cuts_: list[int], chunked: bool) -> None:
    """Whatever it is, however the server frames it, and wherever the segments end; and the connection can be kept."""
    if chunked:
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, sizes))
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
    else:
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    ending = ours(list(cut(data, cuts_)), "GET")
    assert (ending.error, ending.body, ending.reusable) == (None, body, True)


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED)
def test_the_table_of_refusals_holds_in_any_pieces(wire: bytes) -> None:
    for size in (1, 2, 3, 7, 64):
        pieces = [wire[start : start + size] for start in range(0, len(wire), size)]
        ending = ours(pieces, "GET")
        assert (ending.error, ending.reusable) == (httpx.RemoteProtocolError, False)
