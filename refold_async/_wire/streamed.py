"""An exchange as httpx's users see one: the request may be a stream, and the response is read as it comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx

from .connection import Connection
from .limits import BODY_HIGH_WATER
from .parser import ParserState, ResponseParser
from .request import Outgoing
from .timer import LoopTimer

_JOINED_BYTES = 65_536
"""A body up to this goes to the kernel together with the head; a longer one is not worth the copy."""


class StreamedExchange:
    """One request and its response, over one connection.

    The connection is held until the response is complete or given up. Its states are those of its `ResponseParser`:
    `error` is set when that is FAILED, or when the response was given up before it was COMPLETE.

    :ivar parser: the response, as it arrives.
    :ivar error: why the response will never be complete.
    :ivar written: whether any of the request may have been handed over.
    """

    __slots__ = (
        "_buffered", "_connection", "_is_last", "_limit_seconds", "_timer", "_unwritten", "_waiter", "error", "parser",
        "read_timeout", "sent", "timeout_error", "until", "written",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, timer: LoopTimer, read_timeout: float | None, outgoing: Outgoing
    ) -> None:
        self.parser = ResponseParser(to_head_request=outgoing.is_head_request)
        self.error: Exception | None = None
        self.written = False
        self.sent = False
        self.read_timeout = read_timeout
        self.timeout_error: type[httpx.TimeoutException] = httpx.ReadTimeout
        self.until = math.inf
        self._connection = connection
        self._timer = timer
        self._is_last = outgoing.is_last
        self._buffered = 0
        self._unwritten = 0
        self._limit_seconds = 0.0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_head_or_error(self) -> bool:
        """Whether there is a status, or will never be one."""
        return self.parser.status is not None or self.error is not None

    async def run(self, outgoing: Outgoing, timeout: Mapping[str, float | None]) -> None:
        """Send the request, and wait for the response's head.

        :raises httpx.HTTPError: one of httpx's own, for whatever goes wrong up to there.
        """
        self._connection.begin(self)
        try:
            if outgoing.body is not None:
                self._write_whole(outgoing)
                if self._connection.is_writing_paused:
                    await self._drain(timeout.get("write"))
            else:
                await self._write_stream(outgoing, timeout.get("write"))
            while not self.has_head_or_error:
                await self._wait(httpx.ReadTimeout, self.read_timeout)
        except BaseException:
            self.close()  # which closes the connection, unless the response is complete
            raise
        if self.parser.status is None and self.error is not None:
            raise self.error

    def _write_whole(self, outgoing: Outgoing) -> None:
        assert outgoing.body is not None
        joined = len(outgoing.body) <= _JOINED_BYTES
        self._connection.write_first(outgoing.head + outgoing.body if joined else outgoing.head)
        self.written = True
        if not joined:
            self._connection.write(outgoing.body)
        self.sent = True

    async def _write_stream(self, outgoing: Outgoing, timeout: float | None) -> None:
        """Write a body as it comes. A response before its end stops it: the rest is not wanted."""
        self._connection.write_first(outgoing.head)
        self.written = True
        left = outgoing.length
        chunks = aiter(outgoing.stream)
        try:
            async for data in chunks:
                if self.has_head_or_error:
                    return
                if not outgoing.chunked:
                    left -= len(data)
                    if left < 0:
                        raise httpx.LocalProtocolError("the body is longer than its Content-Length")
                self._connection.write(outgoing.chunk(data) if outgoing.chunked else data)
                if self._connection.is_writing_paused:
                    await self._drain(timeout)
        finally:
            await _close(chunks)
        if self.has_head_or_error:
            return
        if left:
            raise httpx.LocalProtocolError("the body is shorter than its Content-Length")
        if outgoing.chunked:
            self._connection.write(b"0\r\n\r\n")
        self.sent = True

    async def _drain(self, timeout: float | None) -> None:
        """Wait until the kernel has taken most of what was written, or a response shows that it need not."""
        self._unwritten = self._connection.unwritten
        while self._connection.is_writing_paused and not self.has_head_or_error:
            await self._wait(httpx.WriteTimeout, timeout)

    async def _wait(self, timeout_error: type[httpx.TimeoutException], seconds: float | None) -> None:
        """Wait until something happens, for `seconds` at most; the timeout that passes is something too."""
        self._waiter = self._timer.loop.create_future()
        if seconds is not None:
            self.timeout_error = timeout_error
            self._limit_seconds = seconds
            self.until = self._timer.loop.time() + seconds
            self._timer.timed.add(self)
            self._timer.note(self.until)
        try:
            await self._waiter
        finally:
            self._disarm()

    def _disarm(self) -> None:
        self.until = math.inf
        self._timer.timed.discard(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the timer calls.

    def expire(self, now: float) -> None:
        """End with a timeout, unless the request is still being written and moves."""
        if self.timeout_error is httpx.WriteTimeout:
            left = self._connection.unwritten
            if left < self._unwritten:
                self._unwritten = left
                self.until = now + self._limit_seconds
                return
            self.fail(httpx.WriteTimeout("nothing more of the request could be written within the write timeout"))
        else:
            self.fail(httpx.ReadTimeout("nothing was received within the read timeout"))

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """Read what has arrived."""
        try:
            self.parser.feed(data)
        except httpx.RemoteProtocolError as error:
            self.fail(error.with_traceback(None))  # whose frames hold what was read
        if self.parser.is_complete:
            self._finish()
        elif self.parser.chunks:
            self._buffered += len(data)
            if self._buffered > BODY_HIGH_WATER:
                self._connection.pause_reading()
        self._wake()

    def _finish(self) -> None:
        self._connection.finish(reusable=self.parser.keep_alive and self.sent and not self._is_last)

    def on_connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        problem = self.parser.end(error)
        if problem is not None and self.error is None:
            if problem is error:
                problem = (httpx.ReadError if self.sent else httpx.WriteError)(str(error) or type(error).__name__)
                problem.__cause__ = error
            self.error = problem
        self._wake()

    def on_writable(self) -> None:
        """Go on writing."""
        self._wake()

    def fail(self, error: Exception) -> None:
        """End with an error, and give the connection up."""
        if not self.parser.is_complete and self.error is None:
            self.error = error
            self._connection.finish(reusable=False)
            self._wake()

    # What the reader calls.

    def get_extra_info(self, name: str) -> Any:
        """Return what is known of the connection."""
        return self._connection.get_extra_info(name)

    async def next_chunk(self) -> bytes | None:
        """Return what has arrived of the body, waiting for it if need be; None at the end.

        :raises httpx.ReadTimeout: when nothing came for the read timeout.
        :raises httpx.RemoteProtocolError: for a body that breaks off or is malformed.
        :raises httpx.ReadError: when the connection broke.
        """
        chunks = self.parser.chunks
        while not chunks:
            if self.parser.is_complete:
                return None
            if self.error is not None:
                raise self.error
            try:
                await self._wait(httpx.ReadTimeout, self.read_timeout)
            except BaseException:
                self.close()
                raise
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self.parser.state is ParserState.BODY and self.error is None:
            self._connection.resume_reading()
        return data

    def close(self) -> None:
        """Give up what is left of the response; an incomplete one takes the connection with it."""
        self.parser.chunks.clear()
        if not self.parser.is_complete:
            self.fail(httpx.ReadError("the response was closed before its end"))


class BodyStream(httpx.AsyncByteStream):
    """The body of a response."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: StreamedExchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        data = await self._exchange.next_chunk()
        if data is None:
            raise StopAsyncIteration
        return data

    @property
    def has_arrived(self) -> bool:
        """Whether all of it is here, so that the connection is back in the pool already."""
        return self._exchange.parser.is_complete

    async def aclose(self) -> None:
        """Give the connection up if the body was not read to its end. Idempotent."""
        self._exchange.close()


async def _close(chunks: AsyncIterator[bytes]) -> None:
    """Close a generator that was left early (no-op if exhausted)."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
