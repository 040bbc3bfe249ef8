"""A request as it goes over the wire, checked so that nothing a caller passes can add to it."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final

import httpx

Headers = Sequence[tuple[bytes, bytes]]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET_CHARACTERS: Final = bytes(range(0x21, 0x7F))
_HEAD_CHARACTERS: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
_CLOSE: Final = re.compile(rb"(?:^|[ \t,])close(?:[ \t,]|$)", re.IGNORECASE)
_NAMES_REMEMBERED: Final = 1024


class _Role(enum.IntEnum):
    """What a header means for the way a request is sent; falsy for nothing."""

    PLAIN = 0
    HOST = 1
    LENGTH = 2
    CODING = 3
    CONNECTION = 4
    UPGRADE = 5
    MALFORMED = 6


_SPECIAL: Final = {
    b"host": _Role.HOST,
    b"content-length": _Role.LENGTH,
    b"transfer-encoding": _Role.CODING,
    b"connection": _Role.CONNECTION,
    b"upgrade": _Role.UPGRADE,
}
_roles: dict[bytes, _Role] = {}
"""The role of each name, in each spelling that was seen: most requests have the same few."""


def _role_of(name: bytes) -> _Role:
    if _TOKEN.fullmatch(name) is None:
        return _Role.MALFORMED
    if len(_roles) >= _NAMES_REMEMBERED:
        _roles.clear()
    role = _roles[name] = _SPECIAL.get(name.lower(), _Role.PLAIN)
    return role


class Outgoing:
    """A request: its head, and its body or what gives it.

    It holds the credential and the payload, and so do no local variables of what handles it: its `repr` shows neither,
    where tracebacks are printed with the variables of each frame.

    :ivar head: the bytes up to the empty line, names and values as they were given and in that order.
    :ivar body: the body as it goes over the wire; None where it comes from `stream`.
    :ivar length: the declared `Content-Length`, 0 where there is none.
    :ivar chunked: whether the body goes in chunks.
    :ivar needs_stock_transport: whether it needs what only stock httpx does: a tunnel, or another protocol.
    :ivar is_last: whether it says that no other request follows it on its connection (RFC 9112 §9.6).
    """

    __slots__ = (
        "_coding",
        "_declared",
        "_framings",
        "_hosts",
        "_lines",
        "_malformed",
        "body",
        "chunked",
        "head",
        "is_head_request",
        "is_last",
        "length",
        "needs_stock_transport",
        "stream",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, headers: Headers, stream: httpx.AsyncByteStream) -> None:
        self._hosts = self._framings = 0
        self._declared: bytes | None = None
        self._coding: bytes | None = None
        self._malformed = not target or bool(target.translate(None, _TARGET_CHARACTERS))
        self._malformed |= _role_of(method) is _Role.MALFORMED if method not in _roles else False
        self._lines = len(headers) + 2
        self.needs_stock_transport = method == b"CONNECT"
        self.is_last = False
        self.is_head_request = method == b"HEAD"
        lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
        for name, value in headers:
            role = _roles.get(name)
            if role is None:
                role = _role_of(name)
            if role:
                self._note(role, value)
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n")
        self.head = b"".join(lines)
        self.body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
        self.stream = stream
        self.length = 0
        self.chunked = False

    def _note(self, role: _Role, value: bytes) -> None:
        if role is _Role.HOST:
            self._hosts += 1
        elif role is _Role.LENGTH:
            self._framings += 1
            self._declared = value
        elif role is _Role.CODING:
            self._framings += 1
            self._coding = value
        elif role is _Role.CONNECTION:
            self.is_last |= _CLOSE.search(value) is not None
        elif role is _Role.UPGRADE:
            self.needs_stock_transport = True
        else:
            self._malformed = True

    def check(self) -> None:
        """Make sure that this is exactly one well-formed request, and frame its body.

        :raises httpx.LocalProtocolError: saying what is wrong, without repeating it.
        """
        if (
            self._malformed
            or self.head.translate(None, _HEAD_CHARACTERS)
            # Each line end is one of ours, so that no value holds one, and another header behind it.
            or not self._lines == self.head.count(b"\r\n") == self.head.count(b"\n") == self.head.count(b"\r")
        ):
            raise httpx.LocalProtocolError("the method, target or a header holds what HTTP does not allow there")
        if self._hosts != 1:
            raise httpx.LocalProtocolError("a request must have exactly one Host header")
        if self._framings > 1:
            raise httpx.LocalProtocolError("a request takes one Content-Length or one Transfer-Encoding, not both")
        if self._coding is not None:
            if self._coding.lower() != b"chunked":
                raise httpx.LocalProtocolError("the only Transfer-Encoding of a request is chunked")
            self.chunked = True
            if self.body is not None:
                self.body = self.chunk(self.body) + b"0\r\n\r\n"
            return
        if self._declared is not None:
            if not (self._declared.isdigit() and len(self._declared) <= 18):
                raise httpx.LocalProtocolError("Content-Length is not a number")
            self.length = int(self._declared)
        if self.body is not None and len(self.body) != self.length:
            raise httpx.LocalProtocolError("the body is not as long as its Content-Length says")

    @staticmethod
    def chunk(data: bytes) -> bytes:
        """Frame a piece of a body; nothing for nothing, because an empty chunk would end it."""
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    def __repr__(self) -> str:
        return "<Outgoing>"
