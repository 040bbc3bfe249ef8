"""One connection: bytes from and to the event loop's transport, for one exchange at a time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from ._exchange import Exchange
from ._outgoing import Outgoing

if TYPE_CHECKING:
    from .._attempt import Attempt
    from ._pool import Origin, Pool

_JOINED_BYTES = 65_536
"""A body up to this goes to the kernel together with the head; a larger one is not worth the copy."""


class Connection(asyncio.BufferedProtocol):
    """A connection of a pool.

    :ivar origin: whom it leads to.
    :ivar idle_since: loop time at which it was last given back.
    :ivar closed: whether it can no longer be used.
    """

    __slots__ = (
        "_closed_waiter",
        "_exchange",
        "_paused_reading",
        "_paused_writing",
        "_poll",
        "_pool",
        "_timer",
        "_transport",
        "_unwritten",
        "_watched_for",
        "_watched_until",
        "closed",
        "idle_since",
        "loop",
        "lost",
        "origin",
    )  # fmt: skip

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self.loop = pool.loop
        self.origin = origin
        self.idle_since = 0.0
        self.closed = False
        self.lost = False
        self._transport: Any = None
        self._exchange: Exchange | None = None
        self._poll: Any = None
        self._paused_reading = False
        self._paused_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._watched_until: float | None = None
        self._watched_for = 0.0
        self._unwritten = 0
        self._closed_waiter: asyncio.Future[None] | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._pool.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody has asked for anything: what this is belongs to no exchange
            self.abort()
        else:
            exchange.feed(bytes(self._pool.read_buffer[:nbytes]))

    def eof_received(self) -> bool:
        return False  # closes the transport, and `connection_lost` is told

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        if self._exchange is not None:
            self._exchange.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.lost = True
        self._paused_writing = False
        self._watched_until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.ended(exc)
        self._poll = None
        self._pool.lost(self)
        if self._closed_waiter is not None and not self._closed_waiter.done():
            self._closed_waiter.set_result(None)

    # What the pool does.

    def is_silent(self) -> bool:
        """Whether nothing waits to be read: an idle connection that has something to say is at its end, or suspect.

        The event loop may not have looked yet; and what came before a request was written cannot be its answer.
        """
        if self.closed or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once; what is not written yet is dropped."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close at once, and tell the exchange that is under way."""
        if self._exchange is not None:
            self._exchange.fail(httpx.ReadError("the transport was closed"))
        self.abort()

    async def wait_lost(self) -> None:
        """Wait until the socket is closed."""
        if not self.lost:
            self._closed_waiter = self._closed_waiter or self.loop.create_future()
            await asyncio.shield(self._closed_waiter)

    def get_extra_info(self, name: str) -> Any:
        """Give what the event loop's transport knows, None where that is nothing."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # What an exchange does.

    def finished(self, exchange: Exchange) -> None:
        """Give the connection back, if it can be used again."""
        if self._exchange is not exchange:
            return
        self._exchange = None
        self._watched_until = None
        if self._paused_reading:
            self.resume_reading()
        reusable = (
            exchange.keep_alive and exchange.sent and not (exchange.is_last or self.closed or self._paused_writing)
        )
        self._pool.release(self, reusable=reusable)

    def watch(self, seconds: float | None) -> None:
        """Let the exchange time out after so long, unless `unwatch` comes first.

        The timer is left running when it is not needed, and looks at the time again when it goes off: so it is hardly
        ever set.
        """
        if seconds is None:
            return
        self._watched_for = seconds
        until = self._watched_until = self.loop.time() + seconds
        timer = self._timer
        if timer is None:
            self._timer = self.loop.call_at(until, self._look_at_time)
        elif timer.when() > until:
            timer.cancel()
            self._timer = self.loop.call_at(until, self._look_at_time)

    def unwatch(self, exchange: Exchange) -> None:
        """Stop the time of an exchange; when its awaiter wakes, the connection may be another's already."""
        if self._exchange is exchange:
            self._watched_until = None

    def _look_at_time(self) -> None:
        self._timer = None
        until, exchange = self._watched_until, self._exchange
        if until is None or exchange is None:
            return
        if self.loop.time() >= until:
            left = self._transport.get_write_buffer_size()
            if exchange.timed_out is not httpx.WriteTimeout or left >= self._unwritten:
                exchange.fail(exchange.timed_out("nothing came or went for as long as the timeout says"))
                return
            self._unwritten = left  # a large body on a slow line: it moves
            until = self._watched_until = self.loop.time() + self._watched_for
        self._timer = self.loop.call_at(until, self._look_at_time)

    def pause_reading(self) -> None:
        """Read no more until there is room."""
        if not self._paused_reading and not self.closed:
            self._paused_reading = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused_reading:
            self._paused_reading = False
            if not self.closed and not self._transport.is_closing():
                self._transport.resume_reading()

    # One exchange.

    async def exchange(
        self, outgoing: Outgoing, attempt: Attempt | None, timeout: Mapping[str, float | None]
    ) -> Exchange:
        """Send a request, and give its exchange once the head of the answer is there.

        :raises httpx.HTTPError: one of httpx's own, for whatever goes wrong between here and there.
        """
        if self.closed or self._transport.is_closing():
            raise httpx.WriteError("the connection was closed before anything was written to it")
        exchange = self._exchange = Exchange(
            self, attempt, timeout.get("read"), to_head_request=outgoing.to_head_request
        )
        exchange.is_last = outgoing.is_last
        try:
            if outgoing.body is not None:
                self._write_whole(exchange, outgoing, attempt)
                if self._paused_writing:
                    await self._drain(exchange, timeout.get("write"))
            else:
                await self._write_stream(exchange, outgoing, attempt, timeout.get("write"))
            if not exchange.settled():
                exchange.timed_out = httpx.ReadTimeout
                while not exchange.settled():
                    self.watch(exchange.read_timeout)
                    await exchange.wait()
                self.unwatch(exchange)
        except BaseException:
            exchange.abandon()  # which closes this, unless the answer is complete: then it may be another's already
            raise
        if exchange.status is None and exchange.error is not None:
            raise exchange.error
        return exchange

    def _write_whole(self, exchange: Exchange, outgoing: Outgoing, attempt: Attempt | None) -> None:
        assert outgoing.body is not None
        if attempt is not None:
            attempt.sending()
        joined = len(outgoing.body) <= _JOINED_BYTES
        self._transport.write(outgoing.head + outgoing.body if joined else outgoing.head)
        self._note_first_write(attempt)
        if not joined:
            self._transport.write(outgoing.body)
        exchange.sent = True

    def _note_first_write(self, attempt: Attempt | None) -> None:
        """Keep as evidence whether anything of the first bytes of a request was taken."""
        # asyncio's own transport tries the socket at once, and closes itself when that fails: then the kernel has
        # taken nothing. Other transports write later, and TLS may have taken it: of those nothing can be said.
        transport = self._transport
        if transport.is_closing() and type(transport).__module__ == "asyncio.selector_events":
            raise httpx.WriteError("the connection broke before anything was written to it")
        if attempt is not None:
            attempt.head_sent = True

    async def _write_stream(
        self, exchange: Exchange, outgoing: Outgoing, attempt: Attempt | None, timeout: float | None
    ) -> None:
        """Write a body as it comes. An answer before its end stops it: the rest is not wanted."""
        if attempt is not None:
            attempt.sending()
        self._transport.write(outgoing.head)
        self._note_first_write(attempt)
        left = outgoing.length
        chunks = aiter(outgoing.stream)
        try:
            async for data in chunks:
                if exchange.settled():
                    return
                if not outgoing.chunked:
                    left -= len(data)
                    if left < 0:
                        raise httpx.LocalProtocolError("the body is longer than its Content-Length")
                self._transport.write(outgoing.chunk(data) if outgoing.chunked else data)
                if self._paused_writing:
                    await self._drain(exchange, timeout)
        finally:
            await _close(chunks)
        if exchange.settled():
            return
        if left:
            raise httpx.LocalProtocolError("the body is shorter than its Content-Length")
        if outgoing.chunked:
            self._transport.write(b"0\r\n\r\n")
        exchange.sent = True

    async def _drain(self, exchange: Exchange, timeout: float | None) -> None:
        """Wait until the kernel has taken most of what was written, or an answer shows that it need not."""
        exchange.timed_out = httpx.WriteTimeout
        self._unwritten = self._transport.get_write_buffer_size()
        self.watch(timeout)
        while self._paused_writing and not exchange.settled():
            await exchange.wait()
        self.unwatch(exchange)


async def _close(chunks: AsyncIterator[bytes]) -> None:
    """Close a generator that was left early; one that came to its end does not mind."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
