"""A request as it goes over the wire, checked so that nothing a caller passes can add to it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx

Headers = Sequence[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/1\.1\r\n(?:" + _TOKEN + rb": [\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,18})\r\n")
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*\bclose\b")
_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"


class Outgoing:
    """A request: its head, and its body or what gives it.

    It holds the credential and the payload, and so do no local variables of what handles it: its `repr` shows neither,
    where tracebacks are printed with the variables of each frame.

    :ivar head: the bytes up to the empty line, names and values as they were given and in that order.
    :ivar body: the body as it goes over the wire; None where it comes from `stream`.
    :ivar length: the declared `Content-Length`, 0 where there is none.
    :ivar chunked: whether the body goes in chunks.
    """

    __slots__ = ("_lines", "body", "chunked", "head", "length", "lowered", "stream", "to_head_request")

    def __init__(self, method: bytes, target: bytes, headers: Headers, stream: httpx.AsyncByteStream) -> None:
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(lines))
        self.lowered = self.head.lower()
        self._lines = len(lines) + 2
        self.to_head_request = method == b"HEAD"
        self.body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
        self.stream = stream
        self.length = 0
        self.chunked = False

    def check(self) -> None:
        """Make sure that this is exactly one well-formed request, and frame its body.

        :raises httpx.LocalProtocolError: saying what is wrong, without repeating it.
        """
        # The pattern alone would let a value with a line end and another header through: so the lines are counted too.
        if _HEAD.fullmatch(self.head) is None or self.head.count(b"\n") != self._lines:
            raise httpx.LocalProtocolError("the method, target or a header holds what HTTP does not allow there")
        if self.lowered.count(b"\r\nhost:") != 1:
            raise httpx.LocalProtocolError("a request must have exactly one Host header")
        lengths = self.lowered.count(b"\r\ncontent-length:")
        codings = self.lowered.count(b"\r\ntransfer-encoding:")
        if lengths + codings > 1:
            raise httpx.LocalProtocolError("a request takes one Content-Length or one Transfer-Encoding, not both")
        if codings:
            if _CHUNKED not in self.lowered:
                raise httpx.LocalProtocolError("the only Transfer-Encoding of a request is chunked")
            self.chunked = True
            if self.body is not None:
                self.body = self.chunk(self.body) + b"0\r\n\r\n"
            return
        if self.body is not None and lengths and b"\r\ncontent-length: %d\r\n" % len(self.body) in self.lowered:
            self.length = len(self.body)
            return
        if lengths:
            declared = _LENGTH.search(self.lowered)
            if declared is None:
                raise httpx.LocalProtocolError("Content-Length is not a number")
            self.length = int(declared[1])
        if self.body is not None and len(self.body) != self.length:
            raise httpx.LocalProtocolError("the body is not as long as its Content-Length says")

    @staticmethod
    def chunk(data: bytes) -> bytes:
        """Frame a piece of a body; nothing for nothing, because an empty chunk would end it."""
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    @property
    def is_unusual(self) -> bool:
        """Whether it wants what only stock httpx does: a tunnel, or another protocol."""
        return b"\r\nupgrade:" in self.lowered or self.head.startswith(b"CONNECT ")

    @property
    def ends_connection(self) -> bool:
        """Whether it says that no other request follows it (RFC 9112 §9.6)."""
        return _CLOSE.search(self.lowered) is not None

    def __repr__(self) -> str:
        return "<Outgoing>"
