"""The client's side: the transport under test, one exchange over it, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from attrs import frozen

from tests.fakes.server import RawServer

WIRE = os.environ.get("POOL_TESTS_WIRE", "pool")
"""Which transport is tested: ours, or `httpx` for the stock one."""

GUARD = 30.0
"""Seconds after which an exchange counts as hung; every timeout that a test waits for is far shorter."""

Headers = Iterable[tuple[bytes | str, bytes | str]]


class State(NamedTuple):
    """How many connections a pool has, by what they do, and how many requests wait for one."""

    connections: int
    idle: int
    active: int
    connecting: int
    waiting: int


NOTHING = State(0, 0, 0, 0, 0)
ONE_IDLE = State(1, 1, 0, 0, 0)


def make_wire(wire: str = WIRE, **options: Any) -> httpx.AsyncHTTPTransport:
    """Make the transport under test, or the other one."""
    if wire == "httpx":
        return httpx.AsyncHTTPTransport(**options)
    from refold_async.transports import PoolTransport

    return PoolTransport(**options)


def state_of(transport: Any) -> State:
    """Count what a transport holds, ours or httpx's own."""
    state = getattr(transport, "state", None)
    if state is not None:
        return State(state.connections, state.idle, state.active, state.connecting, state.waiting)
    pool = transport._pool
    idle = sum(connection.is_idle() for connection in pool._connections)
    waiting = sum(request.is_queued() for request in pool._requests)
    active = len(pool._requests) - waiting
    return State(len(pool._connections), idle, active, 0, waiting)


@frozen
class Answer:
    """A response, read to its end."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    reason: bytes = b""
    version: bytes = b"HTTP/1.1"


def request_of(
    url: str,
    *,
    method: str = "GET",
    headers: Headers = (),
    content: bytes | AsyncIterable[bytes] | None = None,
    timeout: float | Mapping[str, float | None] | None = 20.0,
    **extensions: Any,
) -> httpx.Request:
    """Build a request as a caller of the transport would; a number of seconds is for each read, not for connecting."""
    times = timeout if isinstance(timeout, Mapping) else httpx.Timeout(timeout, connect=10.0, pool=10.0).as_dict()
    return httpx.Request(
        method, url, headers=raw(headers), content=content, extensions={"timeout": times, **extensions}
    )


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Give headers as bytes."""
    return [(as_bytes(name), as_bytes(value)) for name, value in headers]


def as_bytes(text: bytes | str) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


async def exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
    """Send a request and read its answer; closed in any case."""
    async with asyncio.timeout(GUARD):
        response = await transport.handle_async_request(request)
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = b"".join([part async for part in response.stream])
        finally:
            await response.aclose()
    extensions = response.extensions
    return Answer(
        response.status_code, response.headers.raw, body, extensions["reason_phrase"], extensions["http_version"]
    )


async def outcome(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer | httpx.TransportError:
    """Send a request; give its answer, or httpx's own error. Any other exception is a failure of the test."""
    try:
        return await exchange(transport, request)
    except httpx.TransportError as error:
        return error


async def turns(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], *, within: float = 20.0) -> bool:
    """Wait until something holds, at most so long; give whether it does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not condition():
        if loop.time() > end:
            return False
        await asyncio.sleep(0.001)
    return True


async def settled(transport: Any, *expected: State) -> State:
    """Give the state once it is one of those expected; or as it is, when that takes too long."""
    await until(lambda: state_of(transport) in expected)
    return state_of(transport)


def open_sockets() -> int:
    """Count the open sockets of this process; 0 where the system does not say."""
    listed = Path("/proc/self/fd")
    count = 0
    for entry in listed.iterdir() if listed.exists() else ():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this very listing
            count += str(entry.readlink()).startswith("socket:")
    return count


def ask(transport: httpx.AsyncBaseTransport, server: RawServer, target: str = "/") -> asyncio.Task[Answer]:
    """Begin an exchange, and return its task."""
    return asyncio.ensure_future(exchange(transport, request_of(server.url + target)))
