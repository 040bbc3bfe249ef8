"""One connection between its exchange, its socket and its pool, each of which is played here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from refold_async._wire.connect import Target
from refold_async._wire.connection import Connection
from refold_async._wire.request import Outgoing
from refold_async._wire.streamed import StreamedExchange
from refold_async._wire.timer import LoopTimer

DATA = b"POST / HTTP/1.1\r\n\r\n"


class Socket:
    """Takes so many bytes of each send, or raises."""

    def __init__(self, takes: int | Exception) -> None:
        self.takes = takes
        self.taken = b""

    def send(self, data: bytes) -> int:
        if isinstance(self.takes, Exception):
            raise self.takes
        self.taken += data[: self.takes]
        return min(self.takes, len(data))


class Transport:
    """Keeps what it is told to write, as if nothing could be written at the moment."""

    def __init__(self) -> None:
        self.buffer = b""
        self.closing = False
        self.reading: list[str] = []

    def write(self, data: Any) -> None:
        self.buffer += bytes(data)

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        self.reading.append("pause")

    def resume_reading(self) -> None:
        self.reading.append("resume")


class Pool:
    def __init__(self) -> None:
        self.read_buffer = memoryview(bytearray(64))
        self.released: list[bool] = []
        self.lost = 0
        self.loop = None

    def release(self, connection: Connection, *, reusable: bool) -> None:
        self.released.append(reusable)

    def on_connection_lost(self, connection: Connection) -> None:
        self.lost += 1


class Exchange:
    def __init__(self) -> None:
        self.fed = b""
        self.told: list[Any] = []

    def feed(self, data: bytes) -> None:
        self.fed += data

    def on_writable(self) -> None:
        self.told.append("writable")

    def on_connection_lost(self, error: Exception | None) -> None:
        self.told.append(error)

    def fail(self, error: Exception) -> None:
        self.told.append(type(error))


def connected(play: Callable[[Connection, Any, Any], None]) -> None:
    """Play with a connection that is open and idle."""
    pool: Any = Pool()
    connection = Connection(pool, Target("127.0.0.1", 1, tls=False))
    transport: Any = Transport()
    connection.connection_made(transport)
    play(connection, pool, transport)
    connection.check()


@pytest.mark.parametrize("takes", [0, 1, 7, len(DATA) - 1, len(DATA), BlockingIOError(), InterruptedError()])
def test_what_the_socket_does_not_take_is_left_to_the_transport(takes: int | Exception) -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        sock: Any = Socket(takes)
        connection.adopt_socket(sock)
        connection.begin(Exchange())
        assert connection.write_first(DATA) == (takes == len(DATA))
        assert sock.taken + transport.buffer == DATA
        assert connection.unwritten == len(transport.buffer)
        connection.write(b"more")
        assert transport.buffer.endswith(b"more")

    connected(play)


@pytest.mark.parametrize("closing", [True, False])
def test_a_broken_socket_takes_nothing_and_says_so(closing: bool) -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        sock: Any = Socket(len(DATA) if closing else BrokenPipeError())
        connection.adopt_socket(sock)
        connection.begin(Exchange())
        transport.closing = closing
        with pytest.raises(httpx.WriteError, match="before anything was written"):
            connection.write_first(DATA)
        assert (sock.taken, transport.buffer) == (b"", b"")

    connected(play)


def test_without_a_socket_of_its_own_all_goes_to_the_transport() -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        connection.begin(Exchange())
        assert not connection.write_first(DATA)
        assert transport.buffer == DATA

    connected(play)


@pytest.mark.parametrize(
    ("before", "asked", "reusable"),
    [
        ("nothing", True, True),
        ("nothing", False, False),
        ("eof", True, False),
        ("paused writing", True, False),
        ("paused and resumed", True, True),
        ("aborted", True, False),
        ("paused reading", True, True),
    ],
)
def test_only_a_connection_in_order_is_used_again(before: str, asked: bool, reusable: bool) -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        exchange = Exchange()
        connection.begin(exchange)
        with pytest.raises(httpx.WriteError):
            connection.begin(Exchange())
        pool.read_buffer[:5] = b"bytes"
        connection.buffer_updated(3)
        assert (exchange.fed, connection.is_usable(), connection.is_closed) == (b"byt", False, False)
        if before in {"paused writing", "paused and resumed"}:
            connection.pause_writing()
        if before == "paused and resumed":
            connection.resume_writing()
            assert exchange.told == ["writable"]
        if before == "paused reading":
            connection.pause_reading()
            connection.pause_reading()
            assert (transport.reading, connection.is_reading_paused) == (["pause"], True)
        if before == "aborted":
            connection.abort()
            assert transport.closing
        connection.finish(reusable=asked)
        if before == "eof":
            connection.eof_received()
            assert connection.is_closed
        assert pool.released == [True if before == "eof" else reusable]
        if reusable:
            assert connection.is_usable()
        if before == "paused reading":
            assert (transport.reading, connection.is_reading_paused) == (["pause", "resume"], False)

    connected(play)


def test_bytes_that_nobody_asked_for_close_the_connection() -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        connection.buffer_updated(3)
        assert transport.closing
        assert connection.is_closed
        assert not connection.is_usable()

    connected(play)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_the_exchange_and_the_pool_hear_of_a_lost_connection_once(error: Exception | None) -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        exchange = Exchange()
        connection.begin(exchange)
        connection.connection_lost(error)
        assert (exchange.told, pool.lost, connection.is_closed) == ([error], 1, True)
        connection.close()
        assert exchange.told == [error]

    connected(play)


def test_closing_tells_the_exchange_under_way_and_an_abort_does_not() -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        exchange = Exchange()
        connection.begin(exchange)
        connection.close()
        assert exchange.told == [httpx.ReadError]
        connection.connection_lost(None)
        assert exchange.told == [httpx.ReadError], "it is over"

    connected(play)


RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("fed", [b"", RESPONSE[:-1], RESPONSE])
def test_a_streamed_exchange_fails_once_and_not_after_its_response(fed: bytes) -> None:
    def play(connection: Connection, pool: Any, transport: Any) -> None:
        loop: Any = None
        outgoing: Any = Outgoing(b"POST", b"/", [(b"content-length", b"0")], httpx.ByteStream(b""))
        exchange = StreamedExchange(connection, LoopTimer(loop), None, outgoing)
        connection.begin(exchange)
        exchange.sent = True
        if fed:
            exchange.feed(fed)
        first, second = httpx.ReadError("first"), httpx.ReadError("second")
        released = list(pool.released)
        exchange.fail(first)
        exchange.fail(second)
        if fed == RESPONSE:
            assert (exchange.error, pool.released) == (None, released)
        else:
            assert (exchange.error, pool.released) == (first, [False])

    connected(play)
