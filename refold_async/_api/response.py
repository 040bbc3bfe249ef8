"""From the bytes of Refold's response to a receipt's fields or an error."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from .._types.errors import APIError, UnexpectedResponseError
from .._types.evidence import Evidence

MAX_DECODED_BYTES = 1_000_000
"""A compressed body is not inflated beyond this: Refold's own are under a kilobyte."""

_KEPT_CHARACTERS = 4096
_decoder: Any = json.JSONDecoder()
_scan = _decoder.scan_once  # what `raw_decode` calls, without a frame of its own

Redact = Callable[[bytes], bytes]
"""Replaces the credential in what a server sent."""

_CURES = {
    400: "check the event's name: it must match the Refold console exactly, case included",
    401: "check the API key or session token, and that it belongs to this environment",
    403: "the credential is valid, but may not do this",
    404: "check the slug, the event and the base URL",
    407: "check the user name and password of the proxy",
    409: "look at the state of the account or event in the Refold console",
    413: "the payload is too large for Refold",
    429: "slow down: lower rate_limit=, or share one limiter between your processes",
}


def decoded_body(evidence: Evidence, limit: int = MAX_DECODED_BYTES) -> bytes | None:
    """Return the body without its compression; None where that is corrupt, unknown, or inflates beyond the limit."""
    raw = evidence.body
    head = evidence.head
    if isinstance(head, bytes):
        return raw  # of a plain response: one with a Content-Encoding is parsed, and has its fields apart
    said = evidence.header(b"content-encoding")
    coding = "" if said is None else said.strip().lower()
    if coding in ("", "identity") or not raw:
        return raw
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    for wbits in (47, -15):  # gzip or zlib by its header; then the raw deflate that some servers send
        inflate = zlib.decompressobj(wbits)
        try:
            text = inflate.decompress(raw, limit)
        except zlib.error:
            continue
        return text if inflate.eof or not evidence.complete else None
    return None


def parse_json(body: bytes) -> Any:
    """Parse any JSON document.

    :raises ValueError: for what is none.
    :raises RecursionError: for one that is nested too deep.
    """
    try:
        return json.loads(body)
    except ValueError:  # `int` refuses thousands of digits, and one field that nobody needs is not to hide the others
        return json.loads(body, parse_int=_to_number)


def _to_number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def parse_object(body: bytes | None) -> dict[str, Any] | None:
    """Parse a body that should be a JSON object; None where it is not."""
    if body is None:
        return None
    try:
        if body[:1] == b"{":  # which spares json a guess at the encoding, and a look for white space
            text = body.decode()
            value, end = _scan(text, 0)
            if end != len(text) and text[end:].strip(" \t\r\n"):
                return None
        else:
            value = json.loads(body)
    except (ValueError, RecursionError, StopIteration):
        return None
    return value if isinstance(value, dict) else None


@frozen
class Reading:
    """What a response says.

    :param raw: the body without its compression; as it came, where that is corrupt.
    :param fields: the JSON object in it; empty where there is none.
    """

    raw: bytes
    fields: dict[str, Any]


def read_document(evidence: Evidence) -> dict[str, Any] | None:
    """Return the JSON object that the body is; None where it is not one."""
    return parse_object(decoded_body(evidence))


def read_reply(evidence: Evidence, document: dict[str, Any] | None, redact: Redact) -> Reading:
    """Read a response, or what arrived of one.

    :param document: what `read_document` returned of it, so that it is parsed once.
    """
    body = decoded_body(evidence)
    raw = evidence.body if body is None else body
    shown = redact(raw)
    if document is None or shown is not raw:
        document = parse_object(shown)
    return Reading(shown, document or {})


def read_error(
    evidence: Evidence, redact: Redact, meaning: str, cure_of: Callable[[int], str | None]
) -> APIError | UnexpectedResponseError:
    """Turn a response that is not an acceptance into its error; the caller sets the verdict.

    :param meaning: what the verdict means, in words.
    :param cure_of: returns what to do about a status, in words.
    """
    status = evidence.status
    assert status is not None
    reading = read_reply(evidence, None, redact)
    body = reading.raw.decode("utf-8", "replace")[:_KEPT_CHARACTERS]
    if 200 <= status < 300:
        found = "no body" if not reading.raw else "not a JSON object"
        return UnexpectedResponseError(
            f"the response was {status} but {found}, so it may not be Refold's: check base_url; {meaning}",
            status_code=status,
            body=body,
        )
    message = text_of(reading.fields, "message")
    said = message or " ".join(body.split())[:200] or "an empty body"
    cure = cure_of(status)
    who = "a proxy" if status == 407 else "Refold"
    error = APIError.of_status(status)(
        f"{who} answered {status}: {said}; " + (f"{cure}; " if cure else "") + meaning,
        status_code=status,
        error_type=text_of(reading.fields, "error_type", "http_error_type"),
        error_code=text_of(reading.fields, "error_code", "error"),
        request_id=request_id_of(reading.fields, evidence, redact),
        body=body,
    )
    if message is not None:
        error.message = message
    return error


def cure_of(status: int) -> str | None:
    """Return what to do about the status of a response to a trigger, in words."""
    if 300 <= status < 400:
        return "redirects are not followed, because the key would go along: set base_url to where Refold is"
    if status == 501:
        return "check base_url"
    return _CURES.get(status)


def text_of(fields: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these fields that is a text and not empty."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def request_id_of(fields: Mapping[str, Any], evidence: Evidence, redact: Redact) -> str | None:
    """Return Refold's id for the request: from the body, else from the header field."""
    found = fields.get("request_id")
    if not isinstance(found, str) or not found:
        found = evidence.header(b"x-request-id")
    return None if found is None else redact(found.encode("utf-8", "replace")).decode("utf-8", "replace")
