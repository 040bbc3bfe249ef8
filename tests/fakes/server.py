"""Servers on loopback that do exactly what a script tells them, byte for byte, and remember what they were sent."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from attrs import define, field

from tests.fakes.transport import FIRED

_RESET = struct.pack("ii", 1, 0)
_LONGEST_HEAD = 1 << 16

BODY = b"hello"
FIRED_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n" + FIRED
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + BODY


class Received(bytes):
    """One request, byte for byte as it came over the wire, and its parts.

    :ivar connection: the number of its connection, from 0.
    """

    connection: int
    head: bytes
    body: bytes

    @classmethod
    def of(cls, connection: int, head: bytes, body: bytes) -> Self:
        received = cls(head + body)
        received.connection, received.head, received.body = connection, head, body
        return received

    @property
    def method(self) -> bytes:
        return self.head.partition(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


@define(eq=False)
class Peer:
    """One connection, as the script of the server sees it. A client that leaves ends the script."""

    number: int
    server: RawServer
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """Read the head of a request and no more."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> Received:
        """Read a request, whatever the framing of its body."""
        head = await self.head()
        lines = head.lower().split(b"\r\n")
        if b"transfer-encoding: chunked" in lines:
            body = await self._chunks()
        else:
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            body = await self._reader.readexactly(length)
        received = Received.of(self.number, head, body)
        if self.server.remembers:
            self.server.requests.append(received)
        return received

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = await self._reader.readexactly(size + 2)
            assert chunk.endswith(b"\r\n")
            if not size:
                return body
            body += chunk[:-2]

    async def read(self, most: int = 1 << 16) -> bytes:
        """Read what there is; nothing at the end."""
        return await self._reader.read(most)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send each byte in a segment of its own."""
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(0)

    async def gone(self) -> bytes:
        """Wait until the client closes the connection; give what it still sent."""
        return await self._reader.read()

    def fileno(self) -> int:
        """Give the socket's descriptor, to write to it from another thread."""
        number = self._writer.get_extra_info("socket").fileno()
        assert isinstance(number, int)
        return number

    def shutdown(self) -> None:
        """Tell the client that no more comes (FIN), now and not in a later turn of the loop."""
        with socket.socket(fileno=os.dup(self.fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in order (FIN)."""
        self._writer.close()

    def reset(self) -> None:
        """Close by force (RST)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@define(eq=False)
class RawServer:
    """What a running server has seen.

    :ivar requests: those that were read to their end, in order, over all connections.
    :ivar peers: every connection there was.
    :ivar most_open: how many were open at the same time, at most.
    """

    url: str
    port: int
    remembers: bool = True
    requests: list[Received] = field(factory=list)
    peers: list[Peer] = field(factory=list)
    open: int = 0
    most_open: int = 0
    _changed: asyncio.Event = field(factory=asyncio.Event)

    def changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def emptied(self) -> None:
        """Wait until every connection is closed."""
        while self.open:
            await self._changed.wait()


@asynccontextmanager
async def serving(
    script: Script | bytes = FIRED_ANSWER,
    *,
    tls: ssl.SSLContext | None = None,
    path: Path | None = None,
    buffers: int | None = None,
    remember: bool = True,
) -> AsyncIterator[RawServer]:
    """Run the script for each connection; it is closed when the script ends. Bytes answer every request.

    :param path: of a unix socket to listen on, in place of TCP.
    :param buffers: bytes of the kernel's buffers for each connection, both ways.
    :param remember: keep the requests and connections that there were.
    """
    play = answering(script) if isinstance(script, bytes) else script
    tasks: set[asyncio.Task[None]] = set()
    numbers = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(next(numbers), server, reader, writer)
        if remember:
            server.peers.append(peer)
        server.open += 1
        server.most_open = max(server.most_open, server.open)
        try:
            await play(peer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client left, as many of these tests make it
        finally:
            writer.close()
            server.open -= 1
            server.changed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    sock = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    sock.setblocking(False)
    if buffers is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    sock.bind(("127.0.0.1", 0) if path is None else str(path))
    port = sock.getsockname()[1] if path is None else 0
    server = RawServer(
        f"http{'s' if tls else ''}://127.0.0.1:{port}" if path is None else "http://unix.test", port, remember
    )
    if path is None:
        # uvloop keeps a handshake that was broken off until its timer goes off, which takes a minute by default.
        patience = None if tls is None else 3.0
        listener = await asyncio.start_server(
            accept, sock=sock, ssl=tls, limit=_LONGEST_HEAD, backlog=1024, ssl_handshake_timeout=patience
        )
    else:
        listener = await asyncio.start_unix_server(accept, sock=sock, limit=_LONGEST_HEAD)
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(answer: bytes | Callable[[Received], bytes]) -> Script:
    """Answer each request with these bytes, and keep the connection open."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(answer if isinstance(answer, bytes) else answer(request))

    return script


def once(answer: bytes, *, close: bool = True, drip: bool = False) -> Script:
    """Answer the first request of a connection with these bytes; then close it, or wait until the client does."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await (peer.drip(answer) if drip else peer.send(answer))
        if not close:
            await peer.gone()

    return script


async def hang_up(peer: Peer) -> None:
    """Close each connection without a word, once a request has come."""
    await peer.request()


class Gate:
    """Answers when it is told to, in whatever order. `script` is its script."""

    def __init__(self) -> None:
        self.held: dict[bytes, asyncio.Event] = {}
        self.arrived: list[bytes] = []
        self._arrival = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        while True:
            target = (await peer.request()).target
            self.arrived.append(target)
            self._arrival.set()
            self._arrival = asyncio.Event()
            await self.held.setdefault(target, asyncio.Event()).wait()
            await peer.send(OK)

    def open(self, target: bytes) -> None:
        self.held.setdefault(target, asyncio.Event()).set()

    async def has(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        while len(self.arrived) < count:
            await self._arrival.wait()
