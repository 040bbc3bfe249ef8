"""From a request's body and headers to an event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from .._types.errors import ConfigurationError, RefoldError, WebhookPayloadError
from ._events import WebhookEvent, decode
from ._signature import SIGNATURE_HEADER, problem_with

MAX_BYTES = 1_000_000
"""The longest body that `unwrap` reads, unless told otherwise. Refold's deliveries have a few hundred bytes."""

Headers = Mapping[str, Any] | Iterable[tuple[str | bytes, str | bytes]]


def unwrap(
    body: bytes, headers: Headers, *, key: str | Iterable[str], max_bytes: int | None = MAX_BYTES
) -> WebhookEvent:
    """Check a delivery's signature and return its event.

    Answer with status 200 exactly, and quickly: Refold delivers up to three times more after any other status.

    :param body: the request's body, byte for byte as it arrived.
    :param headers: the request's headers: a mapping, or pairs, with names in any case, as text or bytes.
    :param key: the API key of the environment that sends, or several, to accept two environments or to rotate a key.
    :param max_bytes: a longer body is refused before it is looked at; None for no limit.
    :raises WebhookSignatureError: Refold did not sign this body with any of the keys. Answer 401.
    :raises WebhookPayloadError: the body is too long, or it is signed but not a JSON object. Answer 400.
    :raises ConfigurationError: for keys that are missing or blank; also a `TypeError` where `body` is not `bytes`.
    """
    problem = _problem_with_length(body, max_bytes) or problem_with(body, _signatures(headers), key)
    del key  # an error tracker that records the locals of each frame must not find it
    if problem is not None:
        raise problem
    return decode(_document(body), hashlib.sha256(body).hexdigest())


def _problem_with_length(body: object, max_bytes: object) -> RefoldError | None:
    if max_bytes is None:
        return None
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        return ConfigurationError(
            f"max_bytes must be a whole number above 0, or None, not {max_bytes!r}", delivery=None
        )
    if isinstance(body, bytes) and len(body) > max_bytes:
        return WebhookPayloadError(f"the body has {len(body)} bytes, more than max_bytes={max_bytes}")
    return None


def _signatures(headers: object) -> Iterator[object]:
    """Return each value of the signature's header, from whatever a framework calls its headers."""
    items = getattr(headers, "items", None)
    pairs = items() if callable(items) else headers
    if not isinstance(pairs, Iterable):
        return
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            continue
        name, value = pair
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if isinstance(name, str) and name.strip().lower() == SIGNATURE_HEADER:
            yield from value if isinstance(value, list | tuple) else [value]


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not JSON"
    else:
        if isinstance(document, dict):
            return document
        reason = f"it is a JSON {_JSON_NAMES[type(document)]}"
    raise WebhookPayloadError(f"the body is signed, but not a JSON object: {reason}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON_NAMES = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
