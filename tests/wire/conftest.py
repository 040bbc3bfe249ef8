"""Transports that are closed behind each test, on either loop, and a look at what they have left."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import trustme

from tests.wire.wire import NOTHING, WIRE, make_wire, open_sockets, settled

LOOPS = {"asyncio": {}, "uvloop": {"use_uvloop": True}}

MakeTransport = Callable[..., httpx.AsyncHTTPTransport]


on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For what is about bytes alone, which are the same on any loop."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", LOOPS[request.param]


@pytest.fixture(autouse=True)
async def _nothing_is_left(anyio_backend: Any) -> AsyncIterator[None]:
    """Fail a test that leaves a socket or a task behind."""
    before = open_sockets()
    yield
    loop = asyncio.get_running_loop()
    end = loop.time() + 20.0
    while (left := (open_sockets() - before, other_tasks())) != (0, set()):
        if loop.time() > end:
            pytest.fail(f"left behind: {left[0]} sockets, tasks {left[1]}")
        await asyncio.sleep(0.005)


def other_tasks() -> set[asyncio.Task[Any]]:
    """Give the tasks that run beside the current one, without the test runner's own."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in tasks if task is not None and "TestRunner" not in repr(task)}


@pytest.fixture
async def make_transport() -> AsyncIterator[MakeTransport]:
    """Make transports as `make_transport(**arguments)`; each must hold nothing once it is closed."""
    made: list[httpx.AsyncHTTPTransport] = []

    def make(**options: Any) -> httpx.AsyncHTTPTransport:
        made.append(make_wire(**options))
        return made[-1]

    yield make
    for transport in made:
        await transport.aclose()
        assert await settled(transport, NOTHING) == NOTHING


@pytest.fixture
def transport(make_transport: MakeTransport) -> httpx.AsyncHTTPTransport:
    """Give one without a limit on connections."""
    return make_transport(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make a certificate authority, for the servers and for whom trusts them."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost", "sni.test").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port at which nobody accepts: its queue is full, so a connection is neither made nor refused."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
async def instant_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look addresses up without a thread, so that every step of a connection falls into a turn of its own."""

    async def lookup(loop: object, host: str, port: int, **options: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", lookup)


needs_ours = pytest.mark.skipif(WIRE == "httpx", reason="a promise of our own wire")
"""For what the stock wire cannot do, or hangs at."""
