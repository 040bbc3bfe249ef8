"""Checking what goes into a header field."""

from __future__ import annotations

import re

from .._types.errors import InvalidTriggerError

_VALUE = r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?"
"""Compiled at its first use, for a faster import."""


def header_value(name: str, value: object) -> bytes:
    """Encode a header field's value as latin-1.

    :raises InvalidTriggerError: for what a header field cannot carry unchanged; the value is not repeated.
    """
    if not isinstance(value, str):
        raise InvalidTriggerError(f"{name} must be a string, not {type(value).__name__}")
    if not re.fullmatch(_VALUE, value) or value.isspace():
        raise InvalidTriggerError(
            f"{name} cannot be sent in a header: it is blank, begins or ends with a space, or holds a control "
            "character or one outside latin-1"
        )
    return value.encode("latin-1")
