"""One connection of the mock: bytes in, requests out, bytes back."""

from __future__ import annotations

import asyncio
import enum
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from ._answers import Reply, render
from .ledger import Entry

_RESET = struct.pack("ii", 1, 0)
_MAX_BODY = 8_000_000
_NOT_HTTP = Reply(400, b'{"message":"this is not HTTP"}', (("Connection", "close"),))

# A whole head: the request line, then header lines of characters that HTTP allows.
_HEAD = re.compile(
    rb"([A-Z]++) (/[!-~]*+) HTTP/1\.1(\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+)\r\n"
)
_LENGTH = b"\r\ncontent-length:"


class Handler(Protocol):
    """What deals with the requests of all connections."""

    def opened(self, connection: Connection) -> int:
        """Record a connection. Returns its number."""

    def lost(self, connection: Connection) -> None:
        """Record that a connection is gone."""

    def handle(self, entry: Entry, connection: Connection) -> None:
        """Deal with a request; exactly one of `send`, `stall`, `close` and `reset` ends it, now or later."""

    def date(self) -> str:
        """Return the Date header."""


class State(enum.Enum):
    """The states of a connection.

    | state | meaning | leaves by |
    | --- | --- | --- |
    | READING | waits for a request, or for the rest of one | a whole request → ANSWERING; `close`, `reset` → CLOSED |
    | ANSWERING | the handler has a request; others wait their turn | `send` → READING or CLOSED; `stall` → STALLED |
    | STALLED | nothing is read or answered any more | `close`, `reset`, the peer → CLOSED |
    | CLOSED | nothing is written any more | never |

    Only ANSWERING has a request under way, and only then may others be queued.
    """

    READING = enum.auto()
    ANSWERING = enum.auto()
    STALLED = enum.auto()
    CLOSED = enum.auto()


# The two that every request passes through: looking a member up on its class costs more than a global.
_READING, _ANSWERING = State.READING, State.ANSWERING


class Connection(asyncio.BufferedProtocol):
    """Reads requests and hands them to the handler one at a time, in order.

    A request that arrives in one piece and in the plain shape is read with one regular expression. Any other goes to
    httptools with the same bytes, and so does everything behind it until that request is complete.
    """

    def __init__(self, handler: Handler, clock: Callable[[], float], buffer: memoryview) -> None:
        self._handler = handler
        self._clock = clock
        self._buffer = buffer  # shared by all connections: it holds nothing between two callbacks
        self._transport: asyncio.Transport | None = None
        self._parser: _Parser | None = None
        self._queue: deque[tuple[Entry | None, bool]] = deque()
        self._keep_alive = True
        self._number = 0
        self.state = _READING

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way here, not even a part of one."""
        return self.state is _READING and (self._parser is None or not self._parser.is_within)

    @property
    def is_open(self) -> bool:
        """Whether an answer would still be written."""
        return self.state is _ANSWERING and self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._number = self._handler.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = State.CLOSED
        self._transport = None
        self._parser = None
        self._queue.clear()
        self._handler.lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.state is not _READING and self.state is not _ANSWERING:
            return
        data = bytes(self._buffer[:nbytes])
        if self._parser is None or not self._parser.is_within:
            entry = self._read_plain(data)
            if entry is not None:
                self._accept(entry, keep_alive=True)
                return
        self._read_carefully(data)

    def _read_plain(self, data: bytes) -> Entry | None:
        """Read a plain request that `data` holds exactly; None for any other."""
        match = _HEAD.match(data)
        if match is None:
            return None
        method, target, head = match.groups()
        start, lowered = match.end(), head.lower()
        at = lowered.find(_LENGTH)
        if at < 0:
            if start != len(data):
                return None
        else:
            length = head[at + 17 : head.find(b"\r\n", at + 17)].strip(b" ")
            if not length.isdigit() or start + int(length) != len(data) or lowered.find(_LENGTH, at + 17) >= 0:
                return None
        # What changes how a request is read or ended. One by one: that is far cheaper than one expression for all.
        if b"\r\ntransfer-encoding:" in lowered or b"\r\nupgrade:" in lowered:
            return None
        connections = lowered.count(b"\r\nconnection:")
        if connections and (connections > 1 or b"\r\nconnection: keep-alive\r\n" not in lowered):
            return None
        return Entry(self._clock(), self._number, method.decode(), target.decode(), head, data[start:], lowered=lowered)

    def _read_carefully(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = _Parser()
        for method, target, head, body, keep_alive in parser.feed(data):
            entry = Entry(self._clock(), self._number, method, target, head, body)
            self._accept(entry, keep_alive=keep_alive)
        if parser.has_failed:
            self._accept(None, keep_alive=False)

    def _accept(self, entry: Entry | None, *, keep_alive: bool) -> None:
        """Have a request answered now or in its turn; None stands for bytes that are not HTTP."""
        if self.state is _READING:
            self.state = _ANSWERING
            self._keep_alive = keep_alive
            if entry is None:
                self.send(render(_NOT_HTTP, self._handler.date()))
            else:
                self._handler.handle(entry, self)
        elif self.state is _ANSWERING:
            self._queue.append((entry, keep_alive))

    # What the handler does.

    def send(self, data: bytes) -> None:
        """Write an answer and go on to the next request; does nothing where the connection is gone."""
        if self.state is not _ANSWERING or self._transport is None:
            return
        self._transport.write(data)
        if not self._keep_alive:
            self.close()
            return
        self.state = _READING
        if self._queue:
            entry, keep_alive = self._queue.popleft()
            self._accept(entry, keep_alive=keep_alive)

    def close_when_answered(self) -> None:
        """Close once the request under way has been answered."""
        self._keep_alive = False

    def send_part(self, data: bytes) -> None:
        """Write a part of an answer, after which `stall`, `close` or `reset` follows."""
        if self.state is _ANSWERING and self._transport is not None:
            self._transport.write(data)

    def stall(self) -> None:
        """Never answer again; the client, or the server's end, closes the connection."""
        if self.state is _ANSWERING:
            self.state = State.STALLED

    def close(self) -> None:
        """Close in order (FIN), once what was written is on its way."""
        self.state = State.CLOSED
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close by force (RST)."""
        self.state = State.CLOSED
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:  # it is gone already where TLS is closing
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()


_Parsed = tuple[str, str, bytes, bytes, bool]
"""Method, target, head, body, and whether the connection goes on."""


class _Parser:
    """Reads requests of any shape with httptools.

    States: between requests, within one (`is_within`), failed (`has_failed`). The callbacks of httptools only collect,
    so that no error of the handler's passes through it.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._parsed: list[_Parsed] = []
        self.is_within = False
        self.has_failed = False
        self._start()

    def _start(self) -> None:
        self._url = b""
        self._head = [b""]
        self._body: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[_Parsed]:
        """Parse bytes. Returns the requests that are complete now."""
        self.is_within = True  # also before the first line is complete
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # nothing here speaks another protocol
            self._parsed[-1] = (*self._parsed[-1][:-1], False)
        except httptools.HttpParserError:
            self.has_failed = True
        parsed, self._parsed = self._parsed, []
        return parsed

    def on_message_begin(self) -> None:
        self._start()
        self.is_within = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append(name + b": " + value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        if self._size > _MAX_BODY:
            raise ValueError("a body that no test means to send")

    def on_message_complete(self) -> None:
        self.is_within = False
        head = b"\r\n".join([*self._head, b""]) if len(self._head) > 1 else b"\r\n"
        method, keep_alive = self._parser.get_method().decode("latin-1"), self._parser.should_keep_alive()
        self._parsed.append((method, self._url.decode("latin-1"), head, b"".join(self._body), keep_alive))
