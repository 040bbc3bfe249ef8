"""Reading one response from bytes. Knows no connection and no event loop: bytes in, a response or an error out."""

from __future__ import annotations

import enum
from typing import Any

import httpx

from .limits import (
    MAX_CHUNK_OVERHEAD,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_INFORMATIONAL,
    PLAIN_CHUNK_OVERHEAD,
)
from .response_head import check_partial, read_head

try:
    import httptools
except ImportError:  # no wheel for this interpreter: stock httpx serves
    HAS_PARSER = False
else:
    HAS_PARSER = True


class ParserState(enum.Enum):
    """How far a response has come."""

    HEAD = "the final head has not arrived in full"
    BODY = "the head is known, the body is not complete"
    COMPLETE = "the response is complete"
    FAILED = "it never will be"


TRANSITIONS = {
    ParserState.HEAD: {ParserState.BODY, ParserState.COMPLETE, ParserState.FAILED},
    ParserState.BODY: {ParserState.COMPLETE, ParserState.FAILED},
    ParserState.COMPLETE: set[ParserState](),
    ParserState.FAILED: set[ParserState](),
}
"""Moved by `feed` and `end` alone."""


class ResponseParser:
    """Reads one response, and refuses what is not exactly HTTP/1.1 or 1.0.

    :ivar state: see `ParserState` and `TRANSITIONS`.
    :ivar status: the final status; None until its head has arrived in full.
    :ivar chunks: pieces of the body that nobody has taken yet.
    :ivar keep_alive: whether the connection may carry another request after this response.
    """

    __slots__ = (
        "_body_bytes", "_chunk_count", "_chunked", "_head_bytes", "_informational", "_length", "_parser", "_partial",
        "_raw_bytes", "_searched", "_to_head_request", "_trailers", "chunks", "headers", "keep_alive", "reason",
        "state", "status", "version",
    )  # fmt: skip

    def __init__(self, *, to_head_request: bool = False) -> None:
        self.state = ParserState.HEAD
        self.status: int | None = None
        self.reason = b""
        self.version = b"HTTP/1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.keep_alive = False
        self._to_head_request = to_head_request
        self._parser: Any = None
        self._partial = bytearray()
        self._searched = 0
        self._head_bytes = 0
        self._informational = 0
        self._raw_bytes = 0
        self._body_bytes = 0
        self._length: int | None = None
        self._trailers = 0
        self._chunked = False
        self._chunk_count = 0

    @property
    def is_complete(self) -> bool:
        """Whether the response has arrived in full."""
        return self.state is ParserState.COMPLETE

    def feed(self, data: bytes) -> None:
        """Read what has arrived.

        :raises httpx.RemoteProtocolError: for what is not HTTP; the state is then FAILED.
        """
        try:
            if self.state is ParserState.HEAD:
                data = self._feed_heads(data)
            if data:
                self._feed_body(data)
        except httpx.RemoteProtocolError:
            self._move(ParserState.FAILED)
            raise
        if self.state is not ParserState.BODY:
            self._parser = None  # which refers to this

    def end(self, error: Exception | None) -> Exception | None:
        """Note that the connection is gone. Returns why the response is incomplete; None where it is complete.

        :param error: what broke the connection; None where the server closed it in order.
        """
        if self.state is ParserState.COMPLETE:
            return None
        until_close = self.state is ParserState.BODY and self._length is None and not self._chunked
        if until_close and error is None:
            self._move(ParserState.COMPLETE)
            return None
        had_head = self.state is not ParserState.HEAD
        self._move(ParserState.FAILED)
        if error is not None:
            return error
        if not had_head:
            return httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body (incomplete read)"
        )

    def check(self) -> None:
        """Assert what always holds, between two calls from outside."""
        assert (self.status is None) == (self.state is ParserState.HEAD) or self.state is ParserState.FAILED
        assert self.state is not ParserState.HEAD or not self.chunks
        assert self._body_bytes <= self._raw_bytes

    def _move(self, state: ParserState) -> None:
        if state is not self.state:
            assert state in TRANSITIONS[self.state], (self.state, state)
            self.state = state

    def _feed_heads(self, data: bytes) -> bytes:
        """Read heads up to the final one; return what follows it."""
        partial = self._partial
        if partial:
            partial += data
            data = b""
        while self.state is ParserState.HEAD and (partial or data):
            held = partial or data
            end = held.find(b"\r\n\r\n", self._searched) + 4
            if end < 4:
                if held is data:
                    partial += data
                    data = b""
                # Only what is new is looked at, so that a head in many small pieces costs no more than one in one.
                check_partial(partial, self._searched, self._head_bytes)
                self._searched = max(0, len(partial) - 3)
                return b""
            head = bytes(held[:end])
            data = bytes(held[end:])
            partial.clear()
            self._searched = 0
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise httpx.RemoteProtocolError(f"the heads of the response are longer than {MAX_HEAD_BYTES} bytes")
            self._take_head(head)
        return data

    def _take_head(self, head: bytes) -> None:
        read = read_head(head, to_head_request=self._to_head_request)
        if read.status == 101:
            raise httpx.RemoteProtocolError("the response switches protocols (101), which nobody asked for")
        if read.status < 200:
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                raise httpx.RemoteProtocolError(f"more than {MAX_INFORMATIONAL} informational responses")
            return
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise httpx.RemoteProtocolError(f"the head of the response is malformed: {error}") from error
        self._length = read.length
        self._chunked = read.chunked
        # While httptools knows; and a body that ends with the connection leaves none.
        self.keep_alive = self.keep_alive and (read.chunked or read.length is not None)
        self.reason = read.reason
        if read.is_http10:
            self.version = b"HTTP/1.0"
        self.status = read.status
        self._move(ParserState.COMPLETE if read.length == 0 else ParserState.BODY)

    def _feed_body(self, data: bytes) -> None:
        self._raw_bytes += len(data)
        if self._length is None and not self._chunked:
            self._body_bytes += len(data)
            self.chunks.append(data)  # until the connection is closed
            return
        if self._length is not None and self._raw_bytes > self._length:
            self.keep_alive = False  # bytes beyond Content-Length: do not reuse the connection
        if self._is_at_end():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._is_at_end():
                raise httpx.RemoteProtocolError(f"the body of the response is malformed: {error}") from error
            self.keep_alive = False
        if self._chunked and not self._is_at_end():
            overhead = self._raw_bytes - self._body_bytes - PLAIN_CHUNK_OVERHEAD * (self._chunk_count + 1)
            if overhead > MAX_CHUNK_OVERHEAD or self._trailers > MAX_HEADERS:
                raise httpx.RemoteProtocolError(f"more than {MAX_CHUNK_OVERHEAD} bytes of extensions and trailers")

    def _is_at_end(self) -> bool:  # asked again after httptools was fed, which mypy would not believe of an attribute
        return self.state is ParserState.COMPLETE

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is only counted. httptools leaves the white space that may follow a value."""
        if self.status is None:
            self.headers.append((name, value.rstrip()))
        else:
            self._trailers += 1

    def on_headers_complete(self) -> None:
        """Ask whether the connection may be used again, while httptools knows; what a second response says is void."""
        if self.status is None:
            self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body; after its end it is that of a response nobody has asked for."""
        if self.state is ParserState.COMPLETE:
            return
        self._body_bytes += len(data)
        self.chunks.append(data)

    def on_chunk_header(self) -> None:
        """Count a chunk: each may have some framing."""
        self._chunk_count += 1

    def on_message_begin(self) -> None:
        """Notice that another response follows, which nobody has asked for."""
        if self.state is ParserState.COMPLETE:
            self.keep_alive = False

    def on_message_complete(self) -> None:
        """Note the end of the body. That of a head without a body is seen to where the head is read."""
        if self.status is not None and self.state is ParserState.BODY:
            self._move(ParserState.COMPLETE)
