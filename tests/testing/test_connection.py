"""How the mock reads requests: the same whatever their shape and however they are cut."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refold_async.testing import Fault, MockRefold
from refold_async.testing._answers import FIRED, render
from refold_async.testing._connection import Connection, Handler, State
from refold_async.testing.ledger import Entry

ANSWER = render(FIRED, "Date: today")


class Recorder:
    """A handler that keeps requests, and answers at once or when told to."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.entries: list[Entry] = []
        self.at_once = at_once
        self.is_lost = False

    def opened(self, connection: Connection) -> int:
        return 7

    def lost(self, connection: Connection) -> None:
        self.is_lost = True

    def date(self) -> str:
        return "Date: today"

    def handle(self, entry: Entry, connection: Connection) -> None:
        self.entries.append(entry)
        if self.at_once:
            connection.send(ANSWER)


class Pipe:
    """A connection whose bytes come from a test and go to a list, through no socket."""

    def __init__(self, handler: Handler) -> None:
        self.buffer = memoryview(bytearray(65536))
        self.connection = Connection(handler, lambda: 1.0, self.buffer)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    def feed(self, data: bytes) -> None:
        """Have bytes arrive in one piece."""
        self.buffer[: len(data)] = data
        self.connection.buffer_updated(len(data))


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


def read(data: bytes, cuts: list[int]) -> tuple[list[tuple[Any, ...]], int, State]:
    """Feed bytes, cut at these places. Returns the requests, the number of 400s, and the state."""
    handler = Recorder()
    pipe = Pipe(handler)
    for start, end in itertools.pairwise([0, *sorted(cuts), len(data)]):
        if end > start and not pipe.transport.is_closed:
            pipe.feed(data[start:end])
    requests = [(e.method, e.target, [(k.lower(), v) for k, v in e.headers], e.body) for e in handler.entries]
    return requests, sum(b" 400 " in it for it in pipe.transport.written), pipe.connection.state


HEADS = [
    b"POST /a?b=%20 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nhost:x\r\nX-Api-Key:  k \r\nCONTENT-LENGTH: %d\r\nX-Empty:\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a HTTP/1.0\r\nContent-Length: %d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /a HTTP/1.1\r\nContent-Length: %d\r\nContent-Length: %d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nContent-Length: +%d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nContent-Length : %d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nBad Name: x\r\nContent-Length: %d\r\n\r\n",
    b"POST /a HTTP/1.1\r\nX: a\x00b\r\nContent-Length: %d\r\n\r\n",
    b"POST  /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n",
    b"POST /a HTTP/2.0\r\nContent-Length: %d\r\n\r\n",
    b"GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"NONSENSE\r\n\r\n",
]


def request(head: bytes, body: bytes) -> bytes:
    if b"chunked" in head:
        return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else head + b"0\r\n\r\n"
    if b"%d" not in head:
        return head
    return head.replace(b"%d", b"%d" % len(body)) + body


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(HEADS), st.binary(max_size=30)), min_size=1, max_size=4),
    st.lists(st.integers(0, 300), max_size=6),
)
@example([(HEADS[0], b""), (HEADS[7], b"abc"), (HEADS[0], b"x")], [])
@example([(HEADS[0], b"x"), (HEADS[8], b"y")], [])
def test_requests_are_read_the_same_however_they_are_cut(parts: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """One byte at a time everything goes to httptools, so this compares the two ways of reading."""
    data = b"".join(request(head, body) for head, body in parts)
    byte_by_byte = read(data, list(range(1, len(data))))
    assert read(data, [cut for cut in cuts if cut < len(data)]) == byte_by_byte
    whole = list(itertools.accumulate(len(request(head, body)) for head, body in parts))
    assert read(data, whole[:-1]) == byte_by_byte


def test_a_plain_request_needs_no_parser() -> None:
    handler = Recorder()
    pipe = Pipe(handler)
    pipe.feed(request(HEADS[1], b"{}"))
    [entry] = handler.entries
    assert entry.header("x-api-key") == "k"
    assert entry.header("X-EMPTY") == ""
    assert entry.header("none") is None
    assert entry.connection == 7
    assert pipe.connection._parser is None


def test_requests_behind_one_that_waits_are_answered_in_order() -> None:
    handler = Recorder(at_once=False)
    pipe = Pipe(handler)
    pipe.feed(request(HEADS[0], b"1") + request(HEADS[0], b"2"))
    pipe.feed(request(HEADS[0], b"3"))
    pipe.feed(b"NONSENSE\r\n\r\n")
    assert [entry.body for entry in handler.entries] == [b"1"]
    for seen in (2, 3, 3):
        pipe.connection.send(ANSWER)
        assert len(handler.entries) == seen
    assert b" 400 " in pipe.transport.written[-1]
    assert pipe.transport.is_closed


def test_a_request_that_ends_the_connection_ends_it_once_it_is_answered() -> None:
    handler = Recorder(at_once=False)
    pipe = Pipe(handler)
    pipe.feed(request(HEADS[3], b"x"))
    closed = [pipe.transport.is_closed]
    pipe.connection.send(ANSWER)
    closed.append(pipe.transport.is_closed)
    assert (closed, pipe.connection.state) == ([False, True], State.CLOSED)


# Each state, what can happen in it, and the state after it.
TABLE = [
    (State.READING, "request", State.ANSWERING),
    (State.READING, "part", State.READING),
    (State.READING, "send", State.READING),
    (State.READING, "stall", State.READING),
    (State.READING, "close", State.CLOSED),
    (State.READING, "reset", State.CLOSED),
    (State.READING, "lost", State.CLOSED),
    (State.ANSWERING, "request", State.ANSWERING),
    (State.ANSWERING, "send", State.READING),
    (State.ANSWERING, "stall", State.STALLED),
    (State.ANSWERING, "close", State.CLOSED),
    (State.ANSWERING, "reset", State.CLOSED),
    (State.ANSWERING, "lost", State.CLOSED),
    (State.STALLED, "request", State.STALLED),
    (State.STALLED, "send", State.STALLED),
    (State.STALLED, "close", State.CLOSED),
    (State.STALLED, "reset", State.CLOSED),
    (State.STALLED, "lost", State.CLOSED),
    (State.CLOSED, "request", State.CLOSED),
    (State.CLOSED, "send", State.CLOSED),
    (State.CLOSED, "stall", State.CLOSED),
    (State.CLOSED, "lost", State.CLOSED),
]


@pytest.mark.parametrize(("before", "what", "after"), TABLE, ids=lambda it: it.name if isinstance(it, State) else it)
def test_the_states_of_a_connection(before: State, what: str, after: State) -> None:
    handler = Recorder(at_once=False)
    pipe = Pipe(handler)
    connection = pipe.connection
    if before is not State.READING:
        pipe.feed(request(HEADS[0], b"1"))
    if before is State.STALLED:
        connection.stall()
    if before is State.CLOSED:
        connection.close()
    assert connection.state is before
    written = len(pipe.transport.written)
    if what == "request":
        pipe.feed(request(HEADS[0], b"2"))
    elif what == "part":
        pipe.feed(b"POST /a HTT")
        assert not connection.is_idle
    elif what == "send":
        connection.send(ANSWER)
        assert len(pipe.transport.written) == written + (before is State.ANSWERING)
    elif what == "lost":
        connection.connection_lost(None)
        assert handler.is_lost
    else:
        getattr(connection, what)()
    assert connection.state is after


@pytest.fixture
def sock(server: MockRefold) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), timeout=5) as connected:
        yield connected


def _event(server: MockRefold, number: int, *lines: str) -> bytes:
    body = b'{"event":"E","payload":{"n":%d}}' % number
    head = ["POST /api/v2/public/event/x HTTP/1.1", f"x-api-key: {server.api_key}", "linked_account_id: a", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def test_pipelined_requests_are_answered_in_order_whatever_their_latency() -> None:
    waits = iter([0.03, 0.0, 0.01])
    with MockRefold(rate_limit=None, latency=lambda: next(waits)) as server:
        server.plan(lambda entry: Fault.answer(200 + entry.payload["n"]))
        with socket.create_connection((server.host, server.port), timeout=5) as sock:
            sock.sendall(b"".join(_event(server, number) for number in range(3)))
            got = b""
            while got.count(b"HTTP/1.1 ") < 3 or not got.endswith(b"}"):
                got += sock.recv(65536)
        assert [got.index(b"HTTP/1.1 20%d" % number) for number in range(3)] == sorted(
            got.index(b"HTTP/1.1 20%d" % number) for number in range(3)
        )


def test_a_connection_is_closed_when_the_client_asks_for_it(server: MockRefold, sock: socket.socket) -> None:
    sock.sendall(_event(server, 1, "Connection: close"))
    got = b""
    while chunk := sock.recv(65536):
        got += chunk
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.ledger.fired_count(n=1) == 1


def test_the_answer_to_head_has_no_body(server: MockRefold, sock: socket.socket) -> None:
    sock.sendall(b"HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" + _event(server, 1, "Connection: close"))
    got = b""
    while chunk := sock.recv(65536):
        got += chunk
    first, _, rest = got.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 404 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_far_too_large_is_refused_before_it_has_arrived(server: MockRefold, sock: socket.socket) -> None:
    answer = b""
    with contextlib.suppress(ConnectionError):
        sock.sendall(b"POST /api/v2/public/event/x HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(9000):
            sock.sendall(b"x" * 1000)
        answer = sock.recv(100)
    assert answer.startswith(b"HTTP/1.1 400 ") or not answer, "the connection may be reset before its answer is read"
    assert server.ledger.requests == 0


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault.truncate_head(),
        Fault.truncate_body(),
        Fault.garbage(),
        Fault.stall_body(),
        Fault.answer(500),
        Fault.close_idle(),
    ],
    ids=lambda fault: "no fault" if fault is None else fault.name,
)
def test_the_ledger_has_a_request_before_the_client_can_see_an_answer(fault: Fault | None) -> None:
    """Without a socket: what is written is seen by the test at once, as a fast client would see it."""
    server = MockRefold(rate_limit=None, faults=[fault])
    seen: list[tuple[int, int | None]] = []

    class Watching(FakeTransport):
        def write(self, data: Any) -> None:
            seen.append((server.ledger.requests, server.ledger.entries[0].status))

    pipe = Pipe(server._service)
    pipe.connection.connection_made(Watching())
    pipe.feed(_event(server, 1))
    status = 500 if fault is not None and fault.name == "status_500" else 200
    unanswered = fault is not None and fault.name in ("truncate_head", "garbage")
    assert seen == [(1, None if unanswered else status)]
