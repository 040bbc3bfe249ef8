"""The floor: an asyncio protocol with httptools and nothing else. Nobody should use this.

No timeouts, no errors worth the name, no URL, no pool but a list. It shows what is the least that any client in Python
could cost.
"""

# The settings are those that make it fastest: the head is made once, one buffer serves all connections (a plain
# `Protocol` allocates 256 KiB for each read), and the last connection that came free is used next. The payload is
# encoded, and the answer parsed, for each call as with the others.

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from ..contender import EVENT, PATH, Contender, Fire, Target

_BUFFER = bytearray(65536)
_VIEW = memoryview(_BUFFER)


class _Connection(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not say that it is one

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self._parser.feed_data(_VIEW[:nbytes])

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer


@asynccontextmanager
async def _open(target: Target) -> AsyncIterator[Fire]:
    parts = urlsplit(target.url)
    assert parts.hostname is not None
    assert parts.port is not None
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    head = "\r\n".join(lines).encode() + b"\r\nContent-Length: "
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(_Connection, parts.hostname, parts.port))[1] for _ in range(target.connections)
    ]
    free, waiters = list(made), deque[asyncio.Future[None]]()

    async def fire(payload: dict[str, Any]) -> object:
        body = json.dumps({"event": EVENT, "payload": payload}, separators=(",", ":")).encode()
        while not free:
            waiter = loop.create_future()
            waiters.append(waiter)
            await waiter
        connection = free.pop()
        try:
            return json.loads(await connection.send(b"%b%d\r\n\r\n%b" % (head, len(body), body)))
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


CONTENDER = Contender(name="floor: protocol + httptools", imports="httptools", distributions=("httptools",), open=_open)
