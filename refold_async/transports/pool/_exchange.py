"""One request and its answer. A connection carries one at a time; nothing of an exchange is kept on it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx

from ._answer import check_partial, read_head
from ._limits import (
    BODY_HIGH_WATER,
    MAX_CHUNK_OVERHEAD,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_INFORMATIONAL,
    PLAIN_CHUNK_OVERHEAD,
)

try:
    import httptools
except ImportError:  # no wheel for this interpreter: stock httpx serves
    HAS_PARSER = False
else:
    HAS_PARSER = True

if TYPE_CHECKING:
    from .._attempt import Attempt
    from ._connection import Connection


class Exchange:
    """One request's answer, as it arrives.

    :ivar status: the final status; None until its head has arrived.
    :ivar complete: whether the answer came to its end.
    :ivar error: why it did not, once that is known.
    """

    __slots__ = (
        "_attempt", "_body_bytes", "_buffered", "_chunk_count", "_chunked", "_chunks", "_connection", "_head_bytes",
        "_informational", "_length", "_parser", "_partial", "_raw_bytes", "_to_head_request", "_trailers", "_waiter",
        "complete", "error", "headers", "is_last", "keep_alive", "read_timeout", "reason", "sent", "status",
        "timed_out", "version",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, attempt: Attempt | None, read_timeout: float | None, *, to_head_request: bool
    ) -> None:
        self._connection = connection
        self._attempt = attempt
        self._to_head_request = to_head_request
        self._parser: Any = None
        self._partial = b""
        self._head_bytes = 0
        self._informational = 0
        self._raw_bytes = 0
        self._body_bytes = 0
        self._length: int | None = None
        self._trailers = 0
        self._chunked = False
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._buffered = 0
        self._chunk_count = 0
        self.read_timeout = read_timeout
        self.sent = False
        self.is_last = False
        self.status: int | None = None
        self.reason = b""
        self.version = b"HTTP/1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = False
        self.complete = False
        self.error: Exception | None = None
        self.timed_out: type[httpx.TimeoutException] = httpx.ReadTimeout

    # What the connection says.

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        try:
            if self.status is None:
                data = self._feed_heads(data)
            if data:
                self._feed_body(data)
        except httpx.RemoteProtocolError as error:
            self.fail(error.with_traceback(None))  # whose frames hold what was read
        if self.complete:
            self._parser = None  # which refers to this
            self._connection.finished(self)
        if self._waiter is not None:
            self.wake()

    def _feed_heads(self, data: bytes) -> bytes:
        """Take in heads up to the final one; give what follows it."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        while self.status is None and data:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                check_partial(data, self._head_bytes)
                self._partial = data
                return b""
            head = data if end == len(data) else data[:end]
            data = data[end:]
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise httpx.RemoteProtocolError(f"the heads of the answer are longer than {MAX_HEAD_BYTES} bytes")
            self._take_head(head)
        return data

    def _take_head(self, head: bytes) -> None:
        said = read_head(head, to_head_request=self._to_head_request)
        if said.status < 200 and said.status != 101:
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise httpx.RemoteProtocolError(f"more than {MAX_INFORMATIONAL} informational answers")
            return
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise httpx.RemoteProtocolError(f"the head of the answer is malformed: {error}") from error
        self._length = said.length
        self._chunked = said.chunked
        # While httptools knows; and a body that ends with the connection leaves none.
        self.keep_alive = self.keep_alive and said.status != 101 and (said.chunked or said.length is not None)
        self.reason = said.reason
        if said.is_old:
            self.version = b"HTTP/1.0"
        self.status = said.status
        if self._attempt is not None:
            self._attempt.status_code = said.status
            self._attempt.raw_headers = self.headers
        self.complete = said.length == 0

    def _feed_body(self, data: bytes) -> None:
        self._raw_bytes += len(data)
        if self._length is None and not self._chunked:
            self._on_bytes(data)  # until the connection is closed
            return
        if self._length is not None and self._raw_bytes > self._length:
            self.keep_alive = False  # more than the answer: it belongs to nobody, and spoils the connection
        if self._is_at_end():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._is_at_end():
                raise httpx.RemoteProtocolError(f"the body of the answer is malformed: {error}") from error
            self.keep_alive = False
        if self._chunked and not self._is_at_end():
            overhead = self._raw_bytes - self._body_bytes - PLAIN_CHUNK_OVERHEAD * (self._chunk_count + 1)
            if overhead > MAX_CHUNK_OVERHEAD or self._trailers > MAX_HEADERS:
                raise httpx.RemoteProtocolError(f"more than {MAX_CHUNK_OVERHEAD} bytes of extensions and trailers")

    def _is_at_end(self) -> bool:
        return self.complete

    def _on_bytes(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > BODY_HIGH_WATER:
            self._connection.pause_reading()

    def ended(self, error: Exception | None) -> None:
        """Note that the connection is gone."""
        if self.complete or self.error is not None:
            return
        until_close = self.status is not None and self._length is None and not self._chunked
        if until_close and error is None:
            self.complete = True
        elif error is not None:
            kind = httpx.ReadError if self.sent else httpx.WriteError
            self.error = kind(str(error) or type(error).__name__)
            self.error.__cause__ = error
        elif self.status is None:
            self.error = httpx.RemoteProtocolError("Server disconnected without sending a response.")
        else:
            self.error = httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body (incomplete read)"
            )
        self.wake()

    def fail(self, error: Exception) -> None:
        """End it with an error, and give up the connection."""
        if not self.complete and self.error is None:
            self.error = error
            self._connection.abort()
            self.wake()

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is only counted. httptools leaves the white space that may follow a value."""
        if self.status is None:
            self.headers.append((name, value.rstrip()))
        else:
            self._trailers += 1

    def on_headers_complete(self) -> None:
        """Ask whether the connection may be used again, while httptools knows; what a further answer says is void."""
        if self.status is None:
            self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body; after its end it is that of an answer nobody has asked for."""
        if self.complete:
            return
        self._body_bytes += len(data)
        self._on_bytes(data)

    def on_chunk_header(self) -> None:
        """Count a chunk: each may have some framing."""
        self._chunk_count += 1

    def on_message_begin(self) -> None:
        """Notice that another answer follows, which nobody has asked for."""
        if self.complete:
            self.keep_alive = False

    def on_message_complete(self) -> None:
        """Note the end of the answer. That of a head without a body is seen to where the head is taken in."""
        if self.status is not None and not self.complete:
            self.complete = True

    # What the reader does.

    def get_extra_info(self, name: str) -> Any:
        """Give what is known of the connection."""
        return self._connection.get_extra_info(name)

    def settled(self) -> bool:
        """Whether there is a status, or will never be one."""
        return self.status is not None or self.error is not None

    def wait(self) -> asyncio.Future[None]:
        """Give what is done once something happens; the timeout set on the connection is something too."""
        self._waiter = self._connection.loop.create_future()
        return self._waiter

    def wake(self) -> None:
        """Let whoever waits look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def next_chunk(self) -> bytes | None:
        """Give what has arrived of the body, waiting for it if need be; None at the end.

        :raises httpx.ReadTimeout: when nothing came for the read timeout.
        :raises httpx.RemoteProtocolError: for a body that breaks off or is malformed.
        :raises httpx.ReadError: when the connection broke.
        """
        while not self._chunks:
            if self.complete:
                return None
            if self.error is not None:
                raise self.error
            self.timed_out = httpx.ReadTimeout
            self._connection.watch(self.read_timeout)
            try:
                await self.wait()
            except BaseException:
                self.abandon()
                raise
            finally:
                self._connection.unwatch(self)
        chunks = self._chunks
        data = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if not self.complete and self.error is None:
            self._connection.resume_reading()
        return data

    def take_now(self) -> bytes | None:
        """Give what is left of the body, if all of it has arrived; None where there is more to come."""
        if not self.complete:
            return None
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    def abandon(self) -> None:
        """Give up what is left of the answer; what is not at its end takes the connection with it."""
        self._chunks.clear()
        if not self.complete:
            self.fail(httpx.ReadError("the answer was closed before its end"))


class BodyStream(httpx.AsyncByteStream):
    """The body of an answer."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        data = await self._exchange.next_chunk()
        if data is None:
            raise StopAsyncIteration
        return data

    @property
    def arrived(self) -> bool:
        """Whether all of it is here, so that the connection is back in the pool already."""
        return self._exchange.complete

    def take_now(self) -> bytes | None:
        """Give what is left of the body, if all of it has arrived; None where there is more to come."""
        return self._exchange.take_now()

    def close_now(self) -> None:
        """Give the connection up if the body was not read to its end. Once is enough, more does no harm."""
        self._exchange.abandon()

    async def aclose(self) -> None:
        """Do as `close_now`: nothing here needs to be waited for."""
        self._exchange.abandon()
