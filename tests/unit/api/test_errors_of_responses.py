"""What a response that is no acceptance turns into."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from refold_async import APIError, UnexpectedResponseError
from refold_async._api.response import cure_of, decoded_body, parse_object, read_error, read_reply, request_id_of
from refold_async._types.evidence import Evidence


def response(status: int, body: bytes = b"", *headers: tuple[bytes, bytes], complete: bool = True) -> Evidence:
    return Evidence(status, headers, body, complete=complete, written=True)


def kept(raw: bytes) -> bytes:
    return raw


@pytest.mark.parametrize("status", [200, 201, 204, 299, 300, 301, 399, 400, 404, 407, 429, 500, 599])
def test_a_success_that_is_no_document_is_unexpected_and_any_other_status_is_an_answer(status: int) -> None:
    error = read_error(response(status, b"<html>"), kept, "it may have fired", cure_of)
    assert isinstance(error, UnexpectedResponseError if status < 300 else APIError)
    assert error.status_code == status
    assert error.body == "<html>"
    assert str(error).endswith("it may have fired")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (300, "set base_url"), (302, "redirects are not followed"), (399, "set base_url"), (400, "the event's name"),
        (401, "API key"), (403, "may not do this"), (404, "slug"), (407, "proxy"), (409, "the state"),
        (413, "too large"), (429, "slow down"), (501, "check base_url"), (402, None), (408, None), (500, None),
        (503, None),
    ],
)  # fmt: skip
def test_a_status_comes_with_what_to_do_about_it(status: int, words: str | None) -> None:
    cure = cure_of(status)
    assert (cure is None) if words is None else (cure is not None and words in cure)
    text = str(read_error(response(status), kept, "nothing fired", cure_of))
    assert (f"{cure}; nothing fired" in text) == (cure is not None)
    assert text.startswith("a proxy answered" if status == 407 else "Refold answered")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message": "no"}, {"message": "no"}),
        ({"message": ""}, {"message": None}),
        ({"error_type": "a", "http_error_type": "b"}, {"error_type": "a"}),
        ({"error_type": 7, "http_error_type": "b"}, {"error_type": "b"}),
        ({"error_code": "a", "error": "b"}, {"error_code": "a"}),
        ({"error": "b"}, {"error_code": "b"}),
        ({"error": {"nested": 1}}, {"error_code": None}),
        ({"request_id": "r"}, {"request_id": "r"}),
        ({"request_id": ""}, {"request_id": "of the header"}),
        ({"request_id": 7}, {"request_id": "of the header"}),
    ],
)
def test_an_error_has_the_fields_of_its_document(fields: dict[str, Any], expected: dict[str, str | None]) -> None:
    evidence = response(400, json.dumps(fields).encode(), (b"X-Request-Id", b"of the header"))
    error = read_error(evidence, kept, "nothing fired", cure_of)
    assert isinstance(error, APIError)
    shown = {name: getattr(error, name) for name in expected}
    if expected == {"message": None}:
        assert shown["message"] == str(error), "the whole sentence, where the response has none"
    else:
        assert shown == expected


def test_without_a_request_id_there_is_none() -> None:
    assert request_id_of({}, response(400), kept) is None


DOCUMENT = b'{"a": 1}'


def zipped(body: bytes) -> bytes:
    """Compress; the same each time, as it becomes the name of a test."""
    return gzip.compress(body, mtime=0)


RAW_DEFLATE = zlib.compress(DOCUMENT)[2:-4]


@pytest.mark.parametrize(
    ("coding", "body", "decoded"),
    [
        (None, DOCUMENT, DOCUMENT),
        ("identity", DOCUMENT, DOCUMENT),
        (" GZip ", zipped(DOCUMENT), DOCUMENT),
        ("x-gzip", zipped(DOCUMENT), DOCUMENT),
        ("deflate", zlib.compress(DOCUMENT), DOCUMENT),
        ("deflate", RAW_DEFLATE, DOCUMENT),
        ("gzip", b"junk", None),
        ("gzip", zipped(DOCUMENT)[:-9], None),
        ("gzip", zipped(bytes(1_000_001)), None),
        ("gzip", zipped(bytes(1_000_000)), bytes(1_000_000)),
        ("br", DOCUMENT, None),
        ("br", b"", b""),
    ],
)  # fmt: skip
def test_a_body_is_read_without_its_compression(coding: str | None, body: bytes, decoded: bytes | None) -> None:
    headers = [] if coding is None else [(b"content-encoding", coding.encode())]
    evidence = response(200, body, *headers)
    assert decoded_body(evidence) == decoded
    reading = read_reply(evidence, None, lambda raw: raw.replace(b"1", b"2"))
    assert reading.fields == ({"a": 2} if DOCUMENT in (decoded, body) else {})


def test_as_much_as_arrived_of_a_compressed_body_is_read() -> None:
    cut = zipped(DOCUMENT)[:-8]
    assert decoded_body(response(200, cut, (b"content-encoding", b"gzip"), complete=False)) == DOCUMENT


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"{}", {}), (b' {"a": 1} ', {"a": 1}), (b'{"a": 1}\r\n\t ', {"a": 1}), (b'{"a": 1}x', None),
        (b'{"a": 1} x', None), (b"[1]", None), (b"7", None), (b"", None), (None, None), (b"{", None),
        (b'{"a": "\xff"}', None), ('{"a": 1}'.encode("utf-16"), {"a": 1}), (b"\xef\xbb\xbf{}", {}),
        (b'{"a":' * 100_000, None),
    ],
)  # fmt: skip
def test_only_a_whole_object_is_a_document(body: bytes | None, document: dict[str, Any] | None) -> None:
    assert parse_object(body) == document
