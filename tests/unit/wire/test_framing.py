"""How a response's head frames its body, and how a response that ends too early is told."""

from __future__ import annotations

import httpx
import pytest

from refold_async._wire.parser import ParserState, ResponseParser
from refold_async._wire.response_head import ResponseHead, read_head


def head_of(status: int, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status} Reason", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("head", "to_head_request", "expected"),
    [
        (head_of(100), False, ResponseHead(100, b"Reason", False, False, 0)),
        (head_of(103, "Content-Length: 5"), False, ResponseHead(103, b"Reason", False, False, 0)),
        (head_of(101), False, ResponseHead(101, b"Reason", False, False, 0)),
        (head_of(101, "Transfer-Encoding: chunked"), False, ResponseHead(101, b"Reason", False, False, 0)),
        (head_of(102), False, ResponseHead(102, b"Reason", False, False, 0)),
        (head_of(200), False, ResponseHead(200, b"Reason", False, False, None)),
        (head_of(200, "Content-Length: 7"), False, ResponseHead(200, b"Reason", False, False, 7)),
        (head_of(200, "Content-Length: 7"), True, ResponseHead(200, b"Reason", False, False, 0)),
        (head_of(200, "Transfer-Encoding: chunked"), False, ResponseHead(200, b"Reason", False, True, None)),
        (head_of(200, "Transfer-Encoding: chunked"), True, ResponseHead(200, b"Reason", False, False, 0)),
        (head_of(200, version="1.0"), False, ResponseHead(200, b"Reason", True, False, None)),
        (head_of(204, "Content-Length: 7"), False, ResponseHead(204, b"Reason", False, False, 0)),
        (head_of(205), False, ResponseHead(205, b"Reason", False, False, None)),
        (head_of(304, "Content-Length: 7"), False, ResponseHead(304, b"Reason", False, False, 0)),
    ],
)
def test_a_head_says_how_long_the_body_is(head: bytes, to_head_request: bool, expected: ResponseHead) -> None:
    assert read_head(head, to_head_request=to_head_request) == expected


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_is_complete_with_its_head(status: int) -> None:
    parser = ResponseParser()
    parser.feed(head_of(status))
    assert parser.state is ParserState.COMPLETE
    assert parser.status == status


@pytest.mark.parametrize(
    ("received", "told"),
    [
        (b"", "without sending a response"),
        (b"HTTP/1.1 2", "without sending a response"),
        (head_of(100), "without sending a response"),
        (head_of(200, "Content-Length: 5"), "without sending complete message body"),
        (head_of(200, "Content-Length: 5") + b"abcd", "without sending complete message body"),
        (head_of(200, "Transfer-Encoding: chunked") + b"5\r\nabc", "without sending complete message body"),
    ],
)
def test_a_connection_that_closes_too_early_tells_whether_there_was_a_head(received: bytes, told: str) -> None:
    parser = ResponseParser()
    if received:
        parser.feed(received)
    problem = parser.end(None)
    assert isinstance(problem, httpx.RemoteProtocolError)
    assert told in str(problem)
    assert parser.state is ParserState.FAILED


@pytest.mark.parametrize("received", [b"", head_of(200, "Content-Length: 5") + b"ab", head_of(200) + b"ab"])
def test_an_error_of_the_connection_is_what_a_response_ends_with(received: bytes) -> None:
    parser = ResponseParser()
    if received:
        parser.feed(received)
    error = ConnectionResetError()
    assert parser.end(error) is error


@pytest.mark.parametrize("received", [head_of(200), head_of(200) + b"ab", head_of(200, version="1.0") + b"ab"])
def test_a_body_without_a_length_is_complete_when_the_connection_closes_in_order(received: bytes) -> None:
    parser = ResponseParser()
    parser.feed(received)
    before = parser.state
    assert parser.end(None) is None
    assert (before, parser.state) == (ParserState.BODY, ParserState.COMPLETE)
    assert not parser.keep_alive
