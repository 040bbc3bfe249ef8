"""Heads that arrive bit by bit: what can still become one is waited for, what cannot is refused at once."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Delivery
from refold_async._types.evidence import Evidence
from refold_async._wire.limits import MAX_HEAD_BYTES
from refold_async._wire.parser import ResponseParser
from refold_async._wire.response_head import read_head
from refold_async.policies.verdict import FailureKind, judge

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


def fed(data: bytes) -> ResponseParser:
    parser = ResponseParser()
    for number in range(len(data)):
        parser.feed(data[number : number + 1])
    return parser


@pytest.mark.parametrize("head", [GOOD, b"HTTP/1.0 404 \r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD])
def test_a_good_head_is_read_byte_by_byte(head: bytes) -> None:
    parser = fed(head)
    assert parser.status in {200, 404}
    for end in range(len(head)):
        assert fed(head[:end]).status is None


@given(st.integers(0, 6), st.integers(0, 255))
def test_a_first_byte_that_is_wrong_is_refused_as_it_arrives(place: int, byte: int) -> None:
    parser, next_byte = fed(GOOD[:place]), bytes([byte])
    if next_byte == GOOD[place : place + 1]:
        parser.feed(next_byte)
    else:
        with pytest.raises(httpx.RemoteProtocolError, match="does not begin as HTTP"):
            parser.feed(next_byte)


@given(st.integers(10, len(GOOD) - 5), st.booleans())
def test_a_line_that_ends_without_a_carriage_return_is_refused_as_it_ends(place: int, whole: bool) -> None:
    before = GOOD[:place].rstrip(b"\r\n")
    parser = ResponseParser() if whole else fed(before)
    with pytest.raises(httpx.RemoteProtocolError):
        parser.feed(before + b"\n" if whole else b"\n")
    assert parser.status is None


@pytest.mark.parametrize(
    ("lines", "chunked", "length"),
    [
        ([], False, None),
        (["Content-Length: 0"], False, 0),
        (["content-length:17"], False, 17),
        (["CONTENT-LENGTH: 017"], False, 17),
        (["Transfer-Encoding: chunked"], True, None),
        (["X-Content-Length: 5"], False, None),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_a_head_says_how_its_body_is_framed(lines: list[str], chunked: bool, length: int | None, status: int) -> None:
    head = "\r\n".join([f"HTTP/1.1 {status} Fine", *lines, "", ""]).encode()
    read = read_head(head, to_head_request=False)
    assert (read.status, read.reason, read.is_http10) == (status, b"Fine", False)
    if status in {204, 304}:
        assert (read.chunked, read.length) == (False, 0)
    else:
        assert (read.chunked, read.length) == (chunked, length)
    none = read_head(head, to_head_request=True)
    assert (none.status, none.chunked, none.length) == (status, False, 0)


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 1", "Content-Length: 1"], ["Content-Length: 1", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], ["Transfer-Encoding: gzip"],
        ["Content-Length: -1"], ["Content-Length: 1, 1"], ["Content-Length:"], ["Content-Length: 0x1"],
        [" folded: 1"], ["no colon"], ["space : 1"],
    ],
)  # fmt: skip
def test_a_head_that_can_be_read_in_two_ways_is_refused(lines: list[str]) -> None:
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()
    with pytest.raises(httpx.RemoteProtocolError):
        read_head(head, to_head_request=False)


def test_evidence_of_nothing_says_that_nothing_was_sent() -> None:
    verdict = judge(Evidence(), is_refold=lambda _: True)
    assert (verdict.delivery, Evidence().written, Evidence().complete) == (Delivery.NOT_SENT, False, False)
    assert verdict.kind is not FailureKind.THROTTLED
    assert judge(Evidence(written=True), is_refold=lambda _: True).delivery is Delivery.AMBIGUOUS


@pytest.mark.parametrize("pieces", [1, 2, 50])
def test_heads_have_a_limit_of_bytes_however_they_arrive(pieces: int) -> None:
    for size, fits in ((MAX_HEAD_BYTES, True), (MAX_HEAD_BYTES + 1, False)):
        before = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: "
        head = before + b"x" * (size - len(before) - 4) + b"\r\n\r\n"
        parser, step = ResponseParser(), -(-len(head) // pieces)
        parts = [head[start : start + step] for start in range(0, len(head), step)]
        if fits:
            for part in parts:
                parser.feed(part)
            assert parser.is_complete
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="are longer than"):
                for part in parts:
                    parser.feed(part)
