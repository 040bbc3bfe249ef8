"""Reading `Retry-After`."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = r"[0-9]{1,9}(?:\.[0-9]{0,9})?"  # compiled at its first use, for a faster import


def parse_retry_after(value: str | None, *, date: str | None, now: float) -> float | None:
    """Return the seconds to wait; None where the header is absent, zero, past, negative or junk. Never raises.

    :param value: the header's value: decimal seconds, or an HTTP-date.
    :param date: the response's `Date` header, against which a date is measured, so that clocks need not agree.
    :param now: POSIX seconds, used where `date` is absent or junk.
    """
    return _read(value, date=date, now=now) or None


def is_retry_after(value: str | None) -> bool:
    """Whether the header asks to wait at all, if only for zero seconds: the server sheds load."""
    return _read(value, date=None, now=0.0) is not None


def _read(value: str | None, *, date: str | None, now: float) -> float | None:
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(_SECONDS, value):
        return float(value)
    until = _posix(value)
    if until is None:
        return None
    since = _posix(date)
    wait = until - (now if since is None else since)
    return wait if wait > 0 else None


def _posix(date: str | None) -> float | None:
    if date is None or len(date) > 64:
        return None
    try:
        parsed = parsedate_to_datetime(date)
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
