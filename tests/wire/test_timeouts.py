"""The four timeouts: each on its own, missing or None, and never that of another request."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.server import OK, Peer, answering, once, serving
from tests.wire.conftest import MakeTransport
from tests.wire.wire import GUARD, NOTHING, exchange, outcome, request_of, settled

pytestmark = pytest.mark.anyio


async def silent(peer: Peer) -> None:
    await peer.gone()


async def test_a_connect_timeout_is_raised_for_a_full_port(transport: httpx.AsyncHTTPTransport, full_port: int) -> None:
    timeout = {"connect": 0.1, "read": GUARD, "write": GUARD, "pool": GUARD}
    ending = await outcome(transport, request_of(f"http://127.0.0.1:{full_port}", timeout=timeout))
    assert type(ending) is httpx.ConnectTimeout
    assert await settled(transport, NOTHING) == NOTHING


async def test_a_handshake_has_the_connect_timeout(transport: httpx.AsyncHTTPTransport) -> None:
    timeout = {"connect": 0.1, "read": GUARD, "write": GUARD, "pool": GUARD}
    async with serving(silent) as server:
        ending = await outcome(transport, request_of(server.url.replace("http:", "https:"), timeout=timeout))
        assert type(ending) is httpx.ConnectTimeout
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()


async def test_a_read_timeout_is_raised_for_a_silent_server(transport: httpx.AsyncHTTPTransport) -> None:
    timeout = {"connect": GUARD, "read": 0.1, "write": GUARD, "pool": GUARD}
    async with serving(silent) as server:
        assert type(await outcome(transport, request_of(server.url, timeout=timeout))) is httpx.ReadTimeout
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()


@pytest.mark.parametrize("part", ["informational", "head", "body"])
async def test_the_read_timeout_is_for_each_read(make_transport: MakeTransport, part: str) -> None:
    """What keeps coming does not time out, however long it takes."""
    transport = make_transport()
    pieces = {
        "informational": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 6 + [OK],
        "head": [b"HTTP/1.1 ", b"200 OK\r\n", b"X: 1\r\n", b"Y: ", b"2\r\n", b"Content-Length: 5\r\n", b"\r\nhello"],
        "body": [OK[:-5], b"h", b"e", b"l", b"l", b"o"],
    }[part]

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await asyncio.sleep(0.05)
            await peer.send(piece)
        await peer.gone()

    async with serving(script) as server:
        timeout = {"connect": GUARD, "read": 0.15, "write": GUARD, "pool": GUARD}
        assert (await exchange(transport, request_of(server.url, timeout=timeout))).body == b"hello"


async def test_a_body_that_stalls_times_out(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(once(OK[:-2], close=False)) as server:
        response = await transport.handle_async_request(request_of(server.url, timeout=0.1))
        assert response.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            await response.aread()
        with pytest.raises(httpx.TransportError):
            await anext(aiter(response.stream))  # type: ignore[arg-type]
        await response.aclose()
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("missing", ["connect", "read", "write", "pool"])
async def test_each_timeout_may_be_missing_or_none(make_transport: MakeTransport, missing: str) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    full = dict.fromkeys(["connect", "read", "write", "pool"], 1.0)
    async with serving(answering(OK)) as server:
        for timeout in (
            {name: value for name, value in full.items() if name != missing},
            {**full, missing: None},
            dict.fromkeys(full, None),
            {missing: 1.0},
            {},
        ):
            request = request_of(server.url, method="POST", content=b"x" * 100_000, timeout=timeout)
            both = await asyncio.gather(exchange(transport, request), exchange(transport, request))
            assert [answer.body for answer in both] == [b"hello"] * 2
        request = httpx.Request("GET", server.url)
        assert "timeout" not in request.extensions
        assert (await exchange(transport, request)).body == b"hello"


async def test_a_timeout_of_one_request_is_none_of_the_next(make_transport: MakeTransport) -> None:
    """On the same connection, a short one first, then a long one, then none."""
    transport = make_transport()
    pauses = iter([0.0, 0.15, 0.15, 0.0])

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(next(pauses))
            await peer.send(OK)

    async with serving(script) as server:
        for timeout in (0.1, 1.0, None, 0.1):
            assert (await exchange(transport, request_of(server.url, timeout=timeout))).body == b"hello"
    assert len(server.peers) == 1
