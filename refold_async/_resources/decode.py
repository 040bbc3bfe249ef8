"""Reading documents that may lack fields, or have others than the documentation shows: that never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .._api.response import text_of
from .._types.errors import ConfigurationError

text = text_of  # one reading of texts, for documents and for errors


def flag(document: Mapping[str, Any], name: str) -> bool | None:
    """Return a field that is true or false."""
    value = document.get(name)
    return value if isinstance(value, bool) else None


def whole(document: Mapping[str, Any], name: str) -> int | None:
    """Return a field that is a whole number, 0 or more."""
    value = document.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def number(document: Mapping[str, Any], name: str) -> float | None:
    """Return a field that is a finite number, 0 or more."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if 0 <= found < math.inf else None


def mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a field that is an object; an empty one where it is not."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def moment(document: Mapping[str, Any], name: str) -> datetime | None:
    """Return a field that is a date and time in ISO 8601, in UTC."""
    value = document.get(name)
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def to_iso(name: str, moment: datetime | None) -> str | None:
    """Return a moment as the API takes it.

    :raises ConfigurationError: for one without a time zone.
    """
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigurationError(f"{name} must be a datetime with a time zone, or None, not {moment!r}")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
