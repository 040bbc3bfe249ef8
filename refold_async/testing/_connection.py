"""One connection of the mock: bytes in, bytes out."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING

import httptools

from .ledger import Entry

if TYPE_CHECKING:
    from ._service import Service

_RESET = struct.pack("ii", 1, 0)
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_MAX_BODY = 8_000_000


def render(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    """Put an answer together."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
    if not any(name.lower() == "content-type" for name, _ in headers):
        lines.append("Content-Type: application/json; charset=utf-8")
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """Parses requests with httptools, and does to each what the service says."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._number = 0
        self._stalled = False
        self._busy = False
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    @property
    def idle(self) -> bool:
        """Whether no request is under way here."""
        return not self._busy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._number = self._service.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._service.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self._stalled:
            return
        self._busy = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()
        except httptools.HttpParserError:
            self.write(render(400, (("Connection", "close"),), b'{"message":"this is not HTTP"}'))
            self.close()

    # What httptools calls as it parses.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        if sum(map(len, self._body)) > _MAX_BODY:
            self.reset()

    def on_message_complete(self) -> None:
        if self._stalled:
            return
        path = self._url.decode("latin-1").partition("?")[0]
        entry = Entry(
            time.monotonic(),
            self._number,
            self._parser.get_method().decode("latin-1"),
            path,
            path.rpartition("/")[2],
            self._headers,
            b"".join(self._body),
        )
        self._service.serve(entry, self)

    # What the service does.

    def write(self, data: bytes) -> None:
        """Send bytes, if the connection is still there."""
        self._busy = False
        if self._transport is not None:
            self._transport.write(data)

    def stall(self) -> None:
        """Never answer again; the client, or the server's end, closes the connection."""
        self._stalled = True
        self._busy = True

    def close(self) -> None:
        """Close in order (FIN)."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close by force (RST)."""
        if self._transport is not None:
            self._stalled = True
            sock = self._transport.get_extra_info("socket")
            if sock is not None:  # it is gone already where TLS is closing
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
