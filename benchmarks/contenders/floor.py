"""The floor: an asyncio protocol with httptools and nothing else, to show the least that a client in Python costs.

No timeouts, no errors worth the name, no pool but a list. One buffer serves all connections (a plain `Protocol`
allocates 256 KiB for each read), and the connection that became free last is used next.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import urlsplit

from ..contender import PATH, Event, Fire, Target, contender

_VIEW = memoryview(bytearray(65536))


class _Connection(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        import httptools

        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: asyncio.Future[bytes] | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not say that it is one

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self._parser.feed_data(_VIEW[:nbytes])

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._response is not None and not self._response.done():
            self._response.set_result(body)

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        assert self.transport is not None
        self._response = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._response


@contender("floor", "httptools")
async def floor(target: Target) -> AsyncIterator[Fire]:
    """The payload is encoded, and the response parsed, for each call as with the others."""
    parts = urlsplit(target.url)
    assert parts.hostname is not None
    assert parts.port is not None
    start = f"POST {PATH}".encode()
    lines = [f" HTTP/1.1\r\nHost: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    rest = "\r\n".join(lines).encode() + b"\r\nContent-Length: "
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(_Connection, parts.hostname, parts.port))[1] for _ in range(target.connections)
    ]
    free, waiters = list(made), deque[asyncio.Future[None]]()

    async def fire(event: Event) -> object:
        body = json.dumps(event.body, separators=(",", ":")).encode()
        while not free:
            waiter = loop.create_future()
            waiters.append(waiter)
            await waiter
        connection = free.pop()
        try:
            return json.loads(
                await connection.send(b"%b%b%b%d\r\n\r\n%b" % (start, event.slug.encode(), rest, len(body), body))
            )
        finally:
            free.append(connection)
            while waiters:
                waiter = waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    break

    try:
        yield fire
    finally:
        for connection in made:
            if connection.transport is not None:
                connection.transport.abort()
