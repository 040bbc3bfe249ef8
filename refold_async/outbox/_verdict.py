"""Verdicts as JSON: what a row keeps of a receipt or an error, so that a second run gets the same."""

from __future__ import annotations

import json
from typing import Any, Final

from .._types import errors
from .._types.errors import RefoldError
from .._types.values import Delivery, Receipt, Sent

_LONGEST_RAW: Final = 4096
"""Bytes of a response's body that are kept."""

_FIELDS: Final = ("status_code", "error_type", "error_code", "request_id", "body")
"""What errors have beside what all have."""


def dump_receipt(receipt: Receipt) -> str:
    """Return a receipt as JSON. Of a long body nothing is kept."""
    raw = receipt.raw if len(receipt.raw) <= _LONGEST_RAW else b""
    return _dump(receipt.to_dict() | {"raw": raw.decode("utf-8", "surrogateescape")})


def load_receipt(text: str | None) -> Receipt:
    """Return the receipt again. Where somebody said that it fired there is none: then its status is 0."""
    found: dict[str, Any] = {} if text is None else json.loads(text)
    if "raw" not in found:
        return Receipt(message="somebody looked, and said that it fired", status_code=0)
    del found["delivery"]
    sent = found.pop("sent")
    raw = found.pop("raw").encode("utf-8", "surrogateescape")
    return Receipt(**found, raw=raw, sent=None if sent is None else Sent.from_dict(sent))


def dump_error(error: RefoldError) -> str:
    """Return an error as JSON, without its trigger and its cause."""
    found = error.to_dict()
    found["args"] = [str(each) for each in error.args]
    found |= {name: getattr(error, name) for name in _FIELDS if hasattr(error, name)}
    return _dump(found)


def load_error(text: str | None) -> RefoldError:
    """Return the error again, of the same class if it is one of ours."""
    found: dict[str, Any] = {} if text is None else json.loads(text)
    kind = getattr(errors, found.get("error", ""), None)
    if not (isinstance(kind, type) and issubclass(kind, RefoldError)):
        kind = RefoldError
    error = kind.__new__(kind)
    RefoldError.__init__(
        error,
        found.get("message", ""),
        delivery=Delivery(found["delivery"]) if found.get("delivery") else Delivery.REJECTED,
        attempts=found.get("attempts", 0),
        retry_after=found.get("retry_after"),
    )
    error.args = tuple(found.get("args", [error.message]))
    error.call_id = found.get("call_id")
    sent = found.get("sent")
    error.sent = None if sent is None else Sent.from_dict(sent)
    for name in _FIELDS:
        if name in found:
            setattr(error, name, found[name])
    return error


def _dump(found: dict[str, Any]) -> str:
    return json.dumps(found, separators=(",", ":"))
