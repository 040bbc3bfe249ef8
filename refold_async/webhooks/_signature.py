"""The signature of a webhook: HMAC-SHA256 of the raw body, with the environment's API key."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from .._types.errors import ConfigurationError, RefoldError, WebhookBodyError, WebhookSignatureError

SIGNATURE_HEADER = "x-cobalt-signature"
"""The header that carries the signature, 64 hexadecimal digits."""

_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def verify(body: bytes, signature: str | bytes | None, key: str | Iterable[str]) -> None:
    """Return if Refold signed this body with one of the keys; raise otherwise.

    The comparison takes the same time wherever the digests differ, and every key is tried, whichever fits. Refold signs
    neither a time nor an id, so a copy of an old delivery verifies as well: drop repeats by `event.dedupe_key`.

    :param body: the request's body, byte for byte as it arrived, not parsed and dumped again.
    :param signature: the value of the header `x-cobalt-signature`; None where the request has none.
    :param key: the API key of the environment that sends, or several, to accept two environments or to rotate a key.
    :raises WebhookSignatureError: for a signature that is missing, malformed or made with another key or body.
    :raises ConfigurationError: for keys that are missing or blank; also a `TypeError` where `body` is not `bytes`.
    """
    problem = problem_with(body, [signature], key)
    del key  # an error tracker that records the locals of each frame must not find it
    if problem is not None:
        raise problem


def sign(body: bytes, key: str) -> str:
    """Return the signature that Refold would send with this body, to test a receiver.

    :raises ConfigurationError: for a blank key; also a `TypeError` where `body` is not `bytes`.
    """
    problem = _problem_with_body(body)
    keys = _encoded(key)
    digest = "" if problem or isinstance(keys, RefoldError) else _digest(body, keys[0]).hex()
    problem = problem or (keys if isinstance(keys, RefoldError) else None)
    del key, keys
    if problem is not None:
        raise problem
    return digest


def problem_with(body: object, signatures: Iterable[object], key: object) -> RefoldError | None:
    """Return the error to raise for this delivery, or None if the signature is genuine.

    It is returned, not raised, so that no frame of the traceback has a key or an expected digest as a local.
    """
    problem = _problem_with_body(body)
    if problem is not None:
        return problem
    assert isinstance(body, bytes)
    keys = _encoded(key)
    if isinstance(keys, RefoldError):
        return keys
    values = {_text(value) for value in signatures if value is not None}
    if not values:
        return _refused(f"the request has no {SIGNATURE_HEADER} header: it is not from Refold, or a proxy removed it")
    if len(values) > 1:
        return _refused(f"the request has several {SIGNATURE_HEADER} headers, which differ")
    given = values.pop()
    if given is None or not _HEX_DIGEST.fullmatch(given):
        return _refused("the signature is not made of 64 hexadecimal digits")
    claimed = bytes.fromhex(given)
    genuine = False
    for each in keys:  # all of them: the time must not tell which one fits
        genuine |= hmac.compare_digest(_digest(body, each), claimed)
    if genuine:
        return None
    return _refused(
        "the signature does not fit the body: is `key` the API key of the environment that sends, and `body` the raw "
        "bytes, before any JSON was parsed?"
    )


def _digest(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _refused(message: str) -> WebhookSignatureError:
    return WebhookSignatureError(message)


def _text(value: object) -> str | None:
    """Return a header's value without the spaces around it; None for what cannot be a signature."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.strip(" \t\r\n") if isinstance(value, str) else None


def _problem_with_body(body: object) -> RefoldError | None:
    if isinstance(body, bytes):
        return None
    return WebhookBodyError(
        f"body must be bytes, not {type(body).__name__}: pass the request's raw body, such as `await request.body()`, "
        "because Refold signed its bytes"
    )


def _encoded(key: object) -> list[bytes] | ConfigurationError:
    """Return each key as bytes. Keys with spaces around them are tried without them too, as the client sends them."""
    keys = [key] if isinstance(key, str) else list(key) if isinstance(key, Iterable) else [key]
    if not keys:
        return ConfigurationError("key is empty: pass at least one API key", delivery=None)
    encoded: dict[bytes, None] = {}
    for each in keys:
        if not isinstance(each, str):
            kind = type(each).__name__
            return ConfigurationError(f"key must be a str, or several, not {kind}: is a variable unset?", delivery=None)
        if not each.strip():
            return ConfigurationError("key is blank: pass the API key from the Refold console", delivery=None)
        try:
            encoded[each.encode()] = None
            encoded[each.strip().encode()] = None
        except UnicodeEncodeError:
            return ConfigurationError("key holds what no text has (a lone surrogate)", delivery=None)
    return list(encoded)
