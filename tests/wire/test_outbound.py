"""What a caller passes cannot add a byte to the request it stands for, and what is right goes out as it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import h11
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.server import OK, Peer, answering, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.wire import NOTHING, Headers, exchange, outcome, raw, request_of, settled

pytestmark = pytest.mark.anyio

EXAMPLES = int(os.environ.get("POOL_FUZZ", "0"))

EVIL = b"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n"

BAD_TEXT = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\r\nEvil: 1",
    b"\nEvil: 1",
    b"\r\n\r\n" + EVIL,
    b"\r\n x",
]
BAD_NAMES = [
    b"",
    b" ",
    b"X ",
    b" X",
    b"X:",
    b"X: 1\r\nEvil",
    b"X Y",
    b"X\t",
    b"\xe9",
    b"X\r\n",
    b"(x)",
    b"X\x00",
    b"X/1",
]
BAD_TARGETS = [
    b"", b" ", b"/a b", b"/ HTTP/1.1\r\nEvil: 1\r\nX: ", b"/\r\n", b"/\n", b"/\x00", b"/\x7f", b"/\xc3\xa9", b"/\t",
    b"/ HTTP/1.0",
]  # fmt: skip
BAD_METHODS = ["", "GET ", "GET /evil HTTP/1.1\r\nX:", "G\tT", "G\r\n", "GÉT", "G:T", "G\x00T", "GET\n"]


async def refuses(make_transport: MakeTransport, method: str = "GET", headers: Headers = (), **options: Any) -> None:
    """See that the request is refused before a byte of it is sent, and that it costs the pool nothing."""
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    received = b""

    async def script(peer: Peer) -> None:
        nonlocal received
        received += await peer.gone()

    async with serving(script) as server:
        request = request_of(server.url, method="GET", timeout=0.3, **options)
        request.method = method
        request.headers = httpx.Headers([*request.headers.raw, *raw(headers)])
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await exchange(transport, request)
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()
    assert received == b""
    assert "evil" not in str(caught.value).lower(), "an error repeats nothing of the request: it may be a secret"


@needs_ours
@pytest.mark.parametrize("bad", BAD_TEXT)
async def test_no_header_value_can_add_a_byte(make_transport: MakeTransport, bad: bytes) -> None:
    for value in (bad, b"a" + bad, bad + b"a", b"a" + bad + b"b"):
        await refuses(make_transport, headers=[(b"X", value)])


@needs_ours
@pytest.mark.parametrize("name", BAD_NAMES)
async def test_no_header_name_can_add_a_byte(make_transport: MakeTransport, name: bytes) -> None:
    await refuses(make_transport, headers=[(name, b"1")])


@needs_ours
@pytest.mark.parametrize("target", BAD_TARGETS)
async def test_no_target_can_add_a_byte(make_transport: MakeTransport, target: bytes) -> None:
    await refuses(make_transport, target=target)


@needs_ours
@pytest.mark.parametrize("method", BAD_METHODS)
async def test_no_method_can_add_a_byte(make_transport: MakeTransport, method: str) -> None:
    await refuses(make_transport, method=method)


@needs_ours
@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"hello", [("Content-Length", "4")]),
        (b"hello", [("Content-Length", "6")]),
        (b"hello", [("Content-Length", "5"), ("Content-Length", "5")]),
        (b"hello", [("Content-Length", "5"), ("Content-Length", "6")]),
        (b"hello", [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]),
        (b"hello", [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]),
        (b"hello", [("Transfer-Encoding", "gzip, chunked")]),
        (b"hello", [("Transfer-Encoding", "gzip")]),
        (b"hello", [("Transfer-Encoding", "identity")]),
        (b"hello", [("Content-Length", "+5")]),
        (b"hello", [("Content-Length", "5, 5")]),
        (b"hello", [("Content-Length", "")]),
        (b"hello", [("Content-Length", "0x5")]),
        (b"hello", []),
        (b"", [("Content-Length", "5")]),
        (b"", [("Host", "other.test")]),
    ],
)
async def test_the_framing_of_a_request_is_one_and_right(
    make_transport: MakeTransport, content: bytes, headers: Headers
) -> None:
    transport = make_transport()
    received = b""

    async def script(peer: Peer) -> None:
        nonlocal received
        received += await peer.gone()

    async with serving(script) as server:
        request = httpx.Request("POST", server.url, stream=httpx.ByteStream(content))
        request.headers = httpx.Headers([(b"Host", b"a.test"), *raw(headers)])
        ending = await outcome(transport, request)
        assert type(ending) is httpx.LocalProtocolError, ending
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()
    assert received == b""


async def test_a_request_without_a_host_is_refused(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(answering(OK)) as server:
        request = request_of(server.url)
        del request.headers["host"]
        assert type(await outcome(transport, request)) is httpx.LocalProtocolError


@pytest.mark.parametrize("declared", [4, 6, 10_000_000])
async def test_a_stream_of_another_length_than_declared(make_transport: MakeTransport, declared: int) -> None:
    """What it has too much is never sent; what it has too little ends the connection."""
    transport = make_transport()

    async def five() -> AsyncIterator[bytes]:
        for byte in (b"he", b"", b"l", b"lo"):
            yield byte

    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.gone())

    async with serving(script) as server:
        request = request_of(server.url, method="POST", headers=[("Content-Length", str(declared))], content=five())
        assert type(await outcome(transport, request)) is httpx.LocalProtocolError
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()
    assert all(b"hello".startswith(body) and len(body) <= declared for body in bodies)


async def test_order_and_case_of_headers_are_kept(make_transport: MakeTransport) -> None:
    transport = make_transport()
    headers = [
        (b"HOST", b"a.test"), (b"x-Second", b"1"), (b"X-FIRST", b"\xe9\xff"), (b"x-second", b"2 \t 3"), (b"Empty", b""),
        (b"!#$%&'*+-.^_`|~", b"token"),
    ]  # fmt: skip
    async with serving(answering(OK)) as server:
        request = request_of(f"{server.url}/p%20q?a=%C3%A9&b")
        request.headers = httpx.Headers(headers)
        await exchange(transport, request)
    lines = [b"GET /p%20q?a=%C3%A9&b HTTP/1.1", *(name + b": " + value for name, value in headers)]
    assert server.requests[0].head == b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("target", [b"*", b"/other?x#y", b"http://absolute.test/", "/text"])
async def test_the_target_extension_takes_the_place_of_the_path(
    make_transport: MakeTransport, target: bytes | str
) -> None:
    transport = make_transport()
    async with serving(answering(OK)) as server:
        await exchange(transport, request_of(f"{server.url}/path", method="OPTIONS", target=target))
    assert server.requests[0].target == (target.encode() if isinstance(target, str) else target)


NAMES = st.one_of(st.sampled_from([b"Content-Length", b"transfer-encoding", b"Host", b"X"]), st.binary(max_size=8))
VALUES = st.one_of(st.sampled_from([b"0", b"chunked", b"5"]), st.binary(max_size=20), st.from_regex(rb"[ -~\t]{,9}"))


def parse(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]] | None:
    """Read it with h11; None unless it is exactly one request."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    try:
        event = server.next_event()
        if not isinstance(event, h11.Request) or not isinstance(server.next_event(), h11.EndOfMessage):
            return None
    except h11.RemoteProtocolError:
        return None
    if server.trailing_data[0]:
        return None
    return event.method, event.target, [(name, value) for name, value in event.headers.raw_items()]


@needs_ours
@given(
    method=st.one_of(st.just("GET"), st.text(max_size=8)),
    target=st.one_of(st.just(b"/"), st.binary(max_size=20)),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
@settings(
    max_examples=EXAMPLES or 400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_is_passed_goes_out_as_itself_or_not_at_all(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    from refold_async._wire.request import Outgoing

    given_headers = [(b"Host", b"a.test"), *headers]
    outgoing = Outgoing(method.encode("ascii", "replace"), target, given_headers, httpx.ByteStream(b""))
    try:
        outgoing.check()
    except httpx.LocalProtocolError:
        return
    assert outgoing.body is not None
    assert parse(outgoing.head + outgoing.body) == (
        method.encode(),
        target,
        [(n, v.strip(b" \t")) for n, v in given_headers],
    )
