"""One connection: bytes from and to the event loop's transport, for one exchange at a time."""

from __future__ import annotations

import asyncio
import enum
import select
import socket
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from .connect import ConnectionLike, Target

if TYPE_CHECKING:
    from .pool import Pool


class ConnectionState(enum.Enum):
    """What a connection is doing."""

    CONNECTING = "the socket or the TLS handshake is not ready"
    IDLE = "in the pool, or in the hand of whoever took it and has written nothing"
    ACTIVE = "an exchange is under way"
    CLOSING = "closed from here; the event loop has not confirmed it yet"
    CLOSED = "the socket is gone"


TRANSITIONS = {
    ConnectionState.CONNECTING: {ConnectionState.IDLE, ConnectionState.CLOSING, ConnectionState.CLOSED},
    ConnectionState.IDLE: {ConnectionState.ACTIVE, ConnectionState.CLOSING, ConnectionState.CLOSED},
    ConnectionState.ACTIVE: {ConnectionState.IDLE, ConnectionState.CLOSING, ConnectionState.CLOSED},
    ConnectionState.CLOSING: {ConnectionState.CLOSED},
    ConnectionState.CLOSED: set[ConnectionState](),
}
"""The event loop moves it to IDLE first and to CLOSED last; `begin`, `finish` and `abort` do the rest."""

# Looked up once: in Python 3.11 each look at a member goes through a `__getattr__` of the metaclass.
_CONNECTING, _IDLE, _ACTIVE, _CLOSING, _CLOSED = ConnectionState


class Exchange(Protocol):
    """What a connection tells of what happens to it."""

    def feed(self, data: bytes) -> None:
        """Read what has arrived."""
        ...

    def on_connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone: broken by `error`, or None where the server closed it in order."""
        ...

    def on_writable(self) -> None:
        """Note that the event loop has written most of what it was given."""
        ...

    def fail(self, error: Exception) -> None:
        """End with this error, and give the connection up."""
        ...


class Connection(ConnectionLike, asyncio.BufferedProtocol):
    """A connection of a pool. It knows the exchange under way, and keeps nothing of it.

    :ivar state: see `ConnectionState` and `TRANSITIONS`.
    :ivar origin: the host, port and TLS name it leads to.
    :ivar idle_since: loop time at which it was last returned to the pool.
    """

    __slots__ = (
        "_closed_waiter", "_exchange", "_poll", "_pool", "_sock", "_transport", "idle_since", "is_reading_paused",
        "is_writing_paused", "loop", "origin", "state",
    )  # fmt: skip

    def __init__(self, pool: Pool, origin: Target) -> None:
        self._pool = pool
        self.loop = pool.loop
        self.origin = origin
        self.state = _CONNECTING
        self.idle_since = 0.0
        self.is_reading_paused = False
        self.is_writing_paused = False
        self._transport: Any = None
        self._exchange: Exchange | None = None
        self._sock: socket.socket | None = None
        self._poll: Any = None
        self._closed_waiter: asyncio.Future[None] | None = None

    def move(self, state: ConnectionState) -> None:
        """Change the state; only along `TRANSITIONS`."""
        assert state in TRANSITIONS[self.state], (self.state, state)
        self.state = state

    def check(self) -> None:
        """Assert what always holds, between two turns of the event loop."""
        assert (self._exchange is not None) == (self.state is _ACTIVE)
        assert self._transport is not None or self.state is not _ACTIVE

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self.state is not _CONNECTING:  # given up while the handshake was under way
            self._transport.abort()
            return
        self.state = _IDLE
        if not self.origin.tls:
            self._watch_for_bytes()

    def _watch_for_bytes(self) -> None:
        """Let `is_usable` ask the kernel for bytes that the event loop has not read yet.

        Over TLS only once a response was read: after a handshake servers send session tickets, which are no response.
        """
        sock = self._transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._pool.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody has asked for anything: these bytes belong to no exchange
            self.abort()
        else:
            exchange.feed(bytes(self._pool.read_buffer[:nbytes]))

    def eof_received(self) -> bool:
        if self.state is _IDLE:
            self.state = _CLOSING
        return False  # closes the transport, and `connection_lost` is called

    def pause_writing(self) -> None:
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        self.is_writing_paused = False
        if self._exchange is not None:
            self._exchange.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = _CLOSED
        self.is_writing_paused = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_connection_lost(exc)
        self._poll = self._sock = None
        self._pool.on_connection_lost(self)
        if self._closed_waiter is not None and not self._closed_waiter.done():
            self._closed_waiter.set_result(None)

    # What the pool calls.

    def adopt_socket(self, sock: socket.socket) -> None:
        """Write to this socket directly. It is the one under the transport, and without TLS.

        The socket object is kept, never its number: once the transport has closed it, the next socket of the process
        gets the same number, and a request would go to a stranger.
        """
        self._sock = sock

    @property
    def is_closed(self) -> bool:
        """Whether it can no longer be used."""
        return self.state is _CLOSING or self.state is _CLOSED

    def is_usable(self) -> bool:
        """Return whether a request may be written: an idle connection with nothing to read.

        A readable idle connection was closed by the peer, or holds bytes that nobody asked for. The event loop may not
        have looked yet; and what came before a request was written cannot be its response.
        """
        if self.state is not _IDLE:
            return False
        return self._poll is None or not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once; what is not written yet is dropped."""
        if self.state is not _CLOSED:
            self.state = _CLOSING
            self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Let go of the transport, as the event loop is closed and cannot close it: with that the socket is closed."""
        self.state = _CLOSED
        self._exchange = self._transport = self._sock = self._poll = None

    def close(self) -> None:
        """Close at once, and tell the exchange that is under way."""
        if self._exchange is not None:
            self._exchange.fail(httpx.ReadError("the transport was closed"))
        self.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        if self.state is not _CLOSED:
            self._closed_waiter = self._closed_waiter or self.loop.create_future()
            await asyncio.shield(self._closed_waiter)

    def get_extra_info(self, name: str) -> Any:
        """Return what the event loop's transport knows, None where that is nothing."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # What an exchange calls.

    def begin(self, exchange: Exchange) -> None:
        """Start an exchange on this idle connection.

        :raises httpx.WriteError: when it was closed meanwhile.
        """
        if self.state is not _IDLE:
            raise httpx.WriteError("the connection was closed before anything was written to it")
        self.state = _ACTIVE
        self._exchange = exchange

    def write_first(self, data: bytes) -> bool:
        """Write the first bytes of a request. Returns whether the kernel took them all.

        An idle connection has nothing buffered, so what goes past the event loop's transport cannot overtake
        anything. What the kernel did not take is left to the transport.

        :raises httpx.WriteError: when the connection is broken, and nothing was written.
        """
        sock = self._sock
        if sock is None:  # TLS, or a platform where the loop owns the socket: what it tried cannot be told
            self._transport.write(data)
            # asyncio's plain transport tries the socket at once, and closes itself when that fails.
            if self._transport.is_closing() and type(self._transport).__module__ == "asyncio.selector_events":
                raise httpx.WriteError("the connection broke before anything was written to it")
            return not self._transport.get_write_buffer_size()
        if self._transport.is_closing():
            raise httpx.WriteError("the connection was closed before anything was written to it")
        try:
            taken = sock.send(data)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError as error:
            raise httpx.WriteError("the connection broke before anything was written to it") from error
        if taken == len(data):
            return True
        self._transport.write(memoryview(data)[taken:] if taken else data)
        return False

    def write(self, data: bytes) -> None:
        """Write more of a request."""
        self._transport.write(data)

    @property
    def unwritten(self) -> int:
        """Bytes that the event loop still has to write."""
        return 0 if self._transport is None else int(self._transport.get_write_buffer_size())

    def finish(self, *, reusable: bool) -> None:
        """End the exchange under way, and return the connection to the pool."""
        self._exchange = None
        if self.state is _ACTIVE:
            self.state = _IDLE
        if self.is_reading_paused:
            self.resume_reading()
        reusable = reusable and self.state is _IDLE and not self.is_writing_paused
        if self._poll is None and reusable:
            self._watch_for_bytes()
        self._pool.release(self, reusable=reusable)

    def pause_reading(self) -> None:
        """Read no more until there is room."""
        if not self.is_reading_paused and not self.is_closed:
            self.is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.is_reading_paused:
            self.is_reading_paused = False
            if not self.is_closed and not self._transport.is_closing():
                self._transport.resume_reading()
