"""Refold's HTTP, and the only place that knows it: a trigger to a request's parts, an answer to a receipt or error."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

from ._encode import check_payload, encode_body
from ._types.errors import APIError, InvalidTriggerError, UnexpectedResponseError
from ._types.values import Idempotency, JSONEncoder, Trigger
from ._version import __version__

EVENT_PATH = "/api/v2/public/event/"
DEFAULT_BASE_URL = "https://app.refold.ai"
USER_AGENT = f"refold-async/{__version__}"
MAX_RESPONSE_BYTES = 1_000_000
"""More of an answer than this is not read: Refold's own are under a kilobyte."""

_KEPT_CHARACTERS = 4096
_decode = json.JSONDecoder().raw_decode
_SHORTEST_SECRET = 8
_DEFAULT_KEY_HEADER = "Idempotency-Key"
_SLUG = re.compile(r"[A-Za-z0-9\-._~]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?")

_CURES = {
    400: "check the event's name: it must match the Refold console exactly, case included",
    401: "check the API key or session token, and that it belongs to this environment",
    403: "the credential is valid, but may not do this",
    404: "check the slug, the event and the base URL",
    409: "look at the state of the account or event in the Refold console",
    413: "the payload is too large for Refold",
    429: "slow down: lower rate_limit=, or share one limiter between your processes",
}


class Answer(Protocol):
    """What `read_receipt` and `read_error` need to know of an attempt."""

    status_code: int | None
    body: bytearray
    complete: bool
    decoded: bytes | None
    document: dict[str, Any] | None

    def header(self, name: bytes) -> str | None:
        """Give a header, by its name in lower case."""
        ...


@frozen
class Message:
    """The parts of a request that depend on the trigger, without those that depend on its slug or account."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    idempotency_key: str | None


def account_headers(linked_account_id: str | None, config_id: str | None) -> list[tuple[bytes, bytes]]:
    """Give the headers that say for whom an event is.

    :raises InvalidTriggerError: for an id that no header can carry.
    """
    ids = (("linked_account_id", linked_account_id), ("config_id", config_id))
    return [(name.encode("ascii"), header_value(name, value)) for name, value in ids if value is not None]


def encode_trigger(
    trigger: Trigger,
    *,
    idempotency: Idempotency | None,
    encoder: JSONEncoder | None,
) -> Message:
    """Check a trigger and turn it into what is sent, with its key minted once for all attempts.

    Its slug and account are not looked at: see `check_slug` and `account_headers`.

    :raises InvalidTriggerError: for anything that could not be sent, or would mean something else.
    """
    if not isinstance(trigger.event, str) or not trigger.event.strip():
        raise InvalidTriggerError("event must be the event's name as in the Refold console, and not empty")
    payload: Any = trigger.payload
    check_payload(payload, any_mapping=encoder is not None)
    key = trigger.idempotency_key
    if key is not None and (not isinstance(key, str) or not key.strip()):
        raise InvalidTriggerError("idempotency_key must be a string that is not blank, or None")
    key_header: str | None = _DEFAULT_KEY_HEADER
    if idempotency is not None:
        key_header = idempotency.header
        if idempotency.payload_field is not None:
            payload, key = _with_key(payload, idempotency.payload_field, key)
        elif key is None:
            key = _new_key()
    headers: tuple[tuple[str, str], ...] = ()
    if trigger.instance_tag is not None:
        header_value("instance_tag", trigger.instance_tag)
        headers = (("instance_tag", trigger.instance_tag),)
    if key is not None and key_header is not None:
        header_value("idempotency_key", key)
        headers = (*headers, (key_header, key))
    return Message(headers, encode_body(trigger.event, payload, encoder), key)


def check_slug(slug: object) -> None:
    """Refuse a slug that could reach another endpoint.

    :raises InvalidTriggerError: saying what a slug may hold.
    """
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug) or slug in (".", ".."):
        raise InvalidTriggerError(
            f"slug {slug!r} is not an application's slug: it may hold letters, digits and - . _ ~, as in 'pipedrive'"
        )
    if slug.lower() == "trigger":
        raise InvalidTriggerError("slug 'trigger' would fire the event for every application; name one application")


def header_value(name: str, value: object) -> bytes:
    """Encode a header's value as latin-1.

    :raises InvalidTriggerError: for what a header cannot carry unchanged; the value is not repeated.
    """
    if not isinstance(value, str):
        raise InvalidTriggerError(f"{name} must be a string, not {type(value).__name__}")
    if not _HEADER_VALUE.fullmatch(value):
        raise InvalidTriggerError(
            f"{name} cannot be sent in a header: it is blank, begins or ends with a space, or holds a control "
            "character or one outside latin-1"
        )
    return value.encode("latin-1")


def _with_key(payload: Any, name: str, key: str | None) -> tuple[dict[str, Any], str]:
    fields: dict[str, Any] = {} if payload is None else dict(payload)
    present = fields.get(name)
    if present is None:
        key = key if key is not None else _new_key()
        fields[name] = key
        return fields, key
    if isinstance(present, bool) or not isinstance(present, str | int) or str(present).strip() == "":
        raise InvalidTriggerError(
            f"payload.{name} is the declared idempotency key: it must be a string or a whole number"
        )
    if key is not None and key != str(present):
        raise InvalidTriggerError(f"payload.{name} and idempotency_key differ: give the key in one place")
    return fields, str(present)


def _new_key() -> str:
    from uuid import uuid4  # takes a while to import, and few calls need it

    return str(uuid4())


def decoded_body(answer: Answer) -> bytes | None:
    """Give the body without its compression; None where that is corrupt, unknown, or inflates beyond all measure."""
    raw = bytes(answer.body)
    said = answer.header(b"content-encoding")
    coding = "" if said is None else said.strip().lower()
    if coding in ("", "identity") or not raw:
        return raw
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    for wbits in (47, -15):  # gzip or zlib by its header; then the raw deflate that some servers send
        inflate = zlib.decompressobj(wbits)
        try:
            text = inflate.decompress(raw, MAX_RESPONSE_BYTES)
        except zlib.error:
            continue
        return text if inflate.eof or not answer.complete else None
    return None


def parse_object(body: bytes | None) -> dict[str, Any] | None:
    """Parse a body that should be a JSON object; None where it is not."""
    if body is None:
        return None
    try:
        if body[:1] == b"{":  # which spares json a guess at the encoding, and a look for white space
            text = body.decode()
            value, end = _decode(text)
            if end != len(text) and text[end:].strip(" \t\r\n"):
                return None
        else:
            value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_genuine(answer: Answer) -> bool:
    """Whether a complete success is Refold's: its answers are JSON objects. What was parsed is kept on the answer."""
    answer.decoded = decoded_body(answer)
    answer.document = parse_object(answer.decoded)
    return answer.document is not None


@frozen
class Acceptance:
    """What a success says, for the receipt."""

    message: str
    request_id: str | None
    raw: bytes


def read_acceptance(answer: Answer, secret: str | None) -> Acceptance:
    """Read a success, or what arrived of one."""
    raw = decoded_body(answer) if answer.decoded is None else answer.decoded
    shown = redact(bytes(answer.body) if raw is None else raw, secret)
    fields = answer.document if shown is raw else None
    if fields is None:
        fields = parse_object(shown) or {}
    return Acceptance(_text(fields, "message") or "", _request_id(fields, answer, secret), shown)


def read_error(answer: Answer, secret: str | None, meaning: str) -> APIError | UnexpectedResponseError:
    """Turn an answer that is no acceptance into its error; the verdict is the caller's to set.

    :param meaning: what the verdict means, in words.
    """
    status = answer.status_code
    assert status is not None
    raw = decoded_body(answer)
    raw = redact(bytes(answer.body) if raw is None else raw, secret)
    body = raw.decode("utf-8", "replace")[:_KEPT_CHARACTERS]
    if 200 <= status < 300:
        return UnexpectedResponseError(
            f"the answer was {status} but no JSON object, so it may not be Refold's: check base_url; {meaning}",
            status_code=status,
            body=body,
        )
    fields = parse_object(raw) or {}
    message = _text(fields, "message")
    said = message or " ".join(body.split())[:200] or "an empty body"
    cure = _cure(status)
    error = APIError.of_status(status)(
        f"Refold answered {status}: {said}; " + (f"{cure}; " if cure else "") + meaning,
        status_code=status,
        error_type=_text(fields, "error_type", "http_error_type"),
        error_code=_text(fields, "error_code", "error"),
        request_id=_request_id(fields, answer, secret),
        body=body,
    )
    if message is not None:
        error.message = message
    return error


def redact(text: bytes, secret: str | None) -> bytes:
    """Blot out the credential, should a server echo it. Made-up ones, as in tests, may be parts of plain words."""
    if secret is None or len(secret) < _SHORTEST_SECRET or secret.encode() not in text:
        return text
    return text.replace(secret.encode(), b"[redacted]")


def _cure(status: int) -> str | None:
    if 300 <= status < 400:
        return "redirects are not followed, because the key would go along: set base_url to where Refold is"
    if status == 501:
        return "check base_url"
    return _CURES.get(status)


def _text(fields: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _request_id(fields: Mapping[str, Any], answer: Answer, secret: str | None) -> str | None:
    found = _text(fields, "request_id") or answer.header(b"x-request-id")
    return None if found is None else redact(found.encode("utf-8", "replace"), secret).decode("utf-8", "replace")
