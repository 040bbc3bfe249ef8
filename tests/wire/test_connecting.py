"""Opening a connection: from where, to which of several addresses, and given up at any turn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.server import OK, answering, serving
from tests.wire.conftest import MakeTransport
from tests.wire.wire import GUARD, NOTHING, ONE_IDLE, exchange, outcome, request_of, settled, state_of, turns

pytestmark = pytest.mark.anyio


async def test_local_address_and_socket_options(make_transport: MakeTransport) -> None:
    transport = make_transport(local_address="127.0.0.2", socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])
    async with serving(answering(OK)) as server:
        response = await transport.handle_async_request(request_of(server.url))
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"
        assert stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await response.aread()
        await response.aclose()
        assert state_of(transport) == ONE_IDLE


Addresses = Callable[..., None]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """Let the name `several.test` have these addresses, in this order."""

    def resolve(*hosts: str) -> None:
        kind = type(asyncio.get_running_loop())
        original = kind.getaddrinfo

        async def lookup(loop: Any, host: Any, port: Any, **options: Any) -> Any:
            if host != "several.test":
                return await original(loop, host, port, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

        monkeypatch.setattr(kind, "getaddrinfo", lookup)

    return resolve


@pytest.fixture
def full_queue() -> Iterator[Callable[[int], None]]:
    """Let connections to 127.0.0.2 hang at a port: neither made nor refused."""
    with contextlib.ExitStack() as stack:

        def fill(port: int) -> None:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.2", port))
            listener.listen(0)
            for _ in range(2):
                queued = stack.enter_context(socket.socket())
                queued.setblocking(False)
                queued.connect_ex(("127.0.0.2", port))

        yield fill


async def test_the_next_address_is_tried_when_one_refuses(make_transport: MakeTransport, several: Addresses) -> None:
    transport = make_transport()
    async with serving(answering(OK)) as server:
        several("127.0.0.3", "127.0.0.4", "127.0.0.1")
        assert (await exchange(transport, request_of(f"http://several.test:{server.port}/"))).body == b"hello"
        assert state_of(transport) == ONE_IDLE


async def test_the_next_address_is_tried_when_one_hangs(
    make_transport: MakeTransport, several: Addresses, full_queue: Callable[[int], None]
) -> None:
    """Long before the connect timeout, on uvloop too; and the one that hangs is given up."""
    transport = make_transport()
    loop = asyncio.get_running_loop()
    async with serving(answering(OK)) as server:
        full_queue(server.port)
        several("127.0.0.2", "127.0.0.1")
        began = loop.time()
        assert (await exchange(transport, request_of(f"http://several.test:{server.port}/", timeout=5.0))).status == 200
        assert loop.time() - began < 2.0
        assert len(server.peers) == 1


async def test_every_address_fails(make_transport: MakeTransport, several: Addresses) -> None:
    transport = make_transport()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        several("127.0.0.3", "127.0.0.1")
        ending = await outcome(transport, request_of(f"http://several.test:{nobody.getsockname()[1]}/"))
    assert type(ending) is httpx.ConnectError
    assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("hanging", [False, True])
async def test_cancelled_while_addresses_are_tried(
    make_transport: MakeTransport, several: Addresses, full_queue: Callable[[int], None], hanging: bool
) -> None:
    """At any turn: no socket of any of the tries is left, and no place is lost."""
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    async with serving(answering(OK)) as server:
        if hanging:
            full_queue(server.port)
        several("127.0.0.2" if hanging else "127.0.0.3", "127.0.0.1", "127.0.0.4")
        for after in range(30):
            request = request_of(f"http://several.test:{server.port}/")
            task = asyncio.ensure_future(exchange(transport, request))
            await turns(after)
            task.cancel()
            await asyncio.wait([task], timeout=GUARD)
            assert await settled(transport, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)
            await transport.aclose()
        assert (await exchange(transport, request_of(server.url))).body == b"hello"
