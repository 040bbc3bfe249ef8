"""A response is read in one look or with care, and means the same either way."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async._core.settings import Timeouts
from refold_async._wire.flight import Flight, FlightState
from refold_async._wire.timer import LoopTimer
from tests.wire.corpus import REFUSED, SAMPLES

JSON = b'{"message": "Webhook Fired Success"}'


class FakeConnection:
    """Takes everything at once, and remembers how it was returned."""

    unwritten = 0

    def __init__(self) -> None:
        self.is_reusable: bool | None = None

    def begin(self, exchange: Any) -> None:
        self.exchange = exchange

    def write_first(self, data: bytes) -> bool:
        return True

    def finish(self, *, reusable: bool) -> None:
        self.is_reusable = reusable

    def abort(self) -> None:
        self.is_reusable = False


class Request:
    rest = None

    def first(self) -> bytes:
        return b"POST / HTTP/1.1\r\n\r\n"


class CarefulFlight(Flight):
    """Reads nothing in one look."""

    __slots__ = ()

    def _read_plain(self, data: bytes) -> bool:
        return False


class Owner:
    max_response_bytes = 1_000_000

    def landed(self, status: int | None) -> None:
        pass


async def fly(kind: type[Flight], pieces: list[bytes], *, closes: bool) -> tuple[Any, ...]:
    loop = asyncio.get_running_loop()
    timer = LoopTimer(loop)
    flight = kind(loop.create_future(), timer, Timeouts(), loop.time() + 60, Owner())
    flight.check()
    connection = FakeConnection()
    flight.launch(connection, Request(), loop.time())  # type: ignore[arg-type]
    flight.check()
    for piece in pieces:
        if flight.state is FlightState.DONE:
            break
        flight.feed(piece)
        flight.check()
    if closes and flight.state is not FlightState.DONE:
        flight.on_connection_lost(None)
        flight.check()
    timer.close()
    found = flight.evidence
    if found is None:
        return ("waits",)
    fields = sorted((name.lower(), value) for name, value in found.headers)
    error = None if found.error is None else type(found.error).__name__
    return found.status, fields, found.body, found.complete, found.written, error, connection.is_reusable


def compare(pieces: list[bytes], *, closes: bool = True) -> tuple[Any, ...]:
    async def both() -> tuple[Any, Any]:
        return await fly(Flight, pieces, closes=closes), await fly(CarefulFlight, pieces, closes=closes)

    plain, careful = asyncio.run(both())
    assert plain == careful, pieces
    return tuple(plain)


CORPUS = {**{name: sample.wire for name, sample in SAMPLES.items()}, **REFUSED}


@pytest.mark.parametrize("wire", CORPUS.values(), ids=CORPUS.keys())
def test_a_response_of_the_corpus_is_read_alike_in_one_piece_and_cut_in_two(wire: bytes) -> None:
    compare([wire])
    compare([wire + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
    for cut in range(1, min(len(wire), 200)):
        compare([wire[:cut], wire[cut:]])
    for cut in range(0, len(wire), 7):
        compare([wire[:cut]])


FIELDS = st.sampled_from(
    [
        b"Content-Length: 36", b"content-length:36", b"Content-Length: 36 ", b"Content-Length: 35",
        b"Content-Length: x",
        b"Content-Length: 0", b"Content-Length: +36", b"Content-Length : 36", b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip", b"Content-Encoding: identity", b"Connection: keep-alive", b"Connection: Keep-Alive",
        b"Connection: close", b"Connection: keep-alive, close", b"Connection: upgrade", b"Upgrade: h2c",
        b"Trailer: Digest", b"Date: Wed, 25 Nov 2026 04:00:00 GMT", b"X-Request-Id: abc", b"X-Long: " + b"y" * 300,
        b"X-Odd: \xff\x80", b"X-Bare: a\nb", b"X-Return: a\rb", b"X-Nul: a\0b", b": nameless", b"no colon",
        b" folded: x",
        b"Keep-Alive: timeout=5", b"X-Empty:", b"X-Fake: \r\nContent-Length: 36",
    ]
)  # fmt: skip
STATUSES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 204 No Content", b"HTTP/1.1 205 Reset",
        b"HTTP/1.0 200 OK", b"HTTP/1.1 202 Accepted", b"HTTP/1.1 299 Odd", b"HTTP/1.1 404 Not Found",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"http/1.1 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 content-length: 36",
    ]
)  # fmt: skip


@given(
    status=STATUSES,
    fields=st.lists(FIELDS, max_size=6),
    body=st.sampled_from([JSON, b"", JSON + b"x", JSON[:-1], b"24\r\n" + JSON + b"\r\n0\r\n\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=3),
    closes=st.booleans(),
)
def test_any_response_is_read_alike(
    status: bytes, fields: list[bytes], body: bytes, cuts: list[int], closes: bool
) -> None:
    wire = b"\r\n".join([status, *fields]) + b"\r\n\r\n" + body
    edges = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    pieces = [wire[a:b] for a, b in itertools.pairwise(edges) if a < b]
    compare(pieces, closes=closes)


@pytest.mark.parametrize("count", [62, 63, 64, 65, 255, 256, 257, 300])
def test_many_header_fields_are_read_alike(count: int) -> None:
    fields = b"".join(b"X-%d: y\r\n" % n for n in range(count - 1))
    compare([b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 36\r\n\r\n" + JSON])


def test_the_plain_shape_is_accepted_and_keeps_the_connection() -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n" + JSON
    status, _, body, complete, written, error, is_reusable = compare([wire])
    assert (status, body, complete, written, error, is_reusable) == (200, JSON, True, True, None, True)
