"""Checking the head of a response before httptools sees it, because httptools lets pass more than HTTP does."""

from __future__ import annotations

import re
from typing import NamedTuple

import httpx

from .limits import MAX_HEAD_BYTES, MAX_HEADERS

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _TEXT + rb"))?\r\n(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*\r\n"
)
_START = b"HTTP/1."
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
_NO_BODY = frozenset({101, 204, 304})


class ResponseHead(NamedTuple):
    """What a head says, apart from its headers.

    :ivar is_http10: whether it is HTTP/1.0.
    :ivar length: bytes of the body; None where it comes in chunks, or goes on until the connection is closed.
    """

    status: int
    reason: bytes
    is_http10: bool
    chunked: bool
    length: int | None


def check_partial(data: bytearray, checked: int, before: int) -> None:
    """Refuse what cannot become a head any more.

    :param checked: bytes at the start of `data` that were found good earlier.
    :param before: bytes of the heads that came before it.
    :raises httpx.RemoteProtocolError: saying why.
    """
    start = data[: len(_START)]
    if start != _START[: len(start)] or _BARE_LINE_FEED.search(data, max(0, checked - 1)) is not None:
        raise httpx.RemoteProtocolError("the response does not begin as HTTP/1.0 or HTTP/1.1 does")
    if before + len(data) > MAX_HEAD_BYTES:
        raise httpx.RemoteProtocolError(f"the heads of the response are longer than {MAX_HEAD_BYTES} bytes")


def read_head(head: bytes, *, to_head_request: bool) -> ResponseHead:
    """Check a complete head, and say how its body is framed.

    :raises httpx.RemoteProtocolError: saying why it is refused.
    """
    match = _HEAD.fullmatch(head)
    if match is None:
        raise httpx.RemoteProtocolError("the head of the response is malformed")
    if head.count(b"\n") > MAX_HEADERS + 2:
        raise httpx.RemoteProtocolError(f"the response has more than {MAX_HEADERS} headers")
    status = int(match[2])
    is_http10 = match[1] == b"0"
    if status < 200 and status != 101:
        return ResponseHead(status, match[3] or b"", is_http10, False, 0)
    lowered = head.lower()
    codings = lowered.count(b"\r\ntransfer-encoding:")
    lengths = lowered.count(b"\r\ncontent-length:")
    if codings + lengths > 1:
        raise httpx.RemoteProtocolError("the response says more than once how long its body is")
    if codings and (is_http10 or _CHUNKED.search(lowered) is None):
        raise httpx.RemoteProtocolError("the response's Transfer-Encoding is not chunked, or it is HTTP/1.0")
    length = None
    if lengths:
        said = _LENGTH.search(lowered)
        if said is None:
            raise httpx.RemoteProtocolError("the response's Content-Length is not a number")
        length = int(said[1])
    if to_head_request or status in _NO_BODY:
        return ResponseHead(status, match[3] or b"", is_http10, False, 0)
    return ResponseHead(status, match[3] or b"", is_http10, bool(codings), length)
