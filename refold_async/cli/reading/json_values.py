"""JSON, read as strictly as the standard has it, and without losing a digit."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from typing import Any, NoReturn

from .problems import NotJSONError, RowError

SPACE = " \t\r\n"
"""What may stand around JSON."""

_EXACT_LENGTH = 16
"""Characters. A number of up to 15 digits, with its point, is the same when it is read as a float and written again."""

_FLOAT_DIGITS = 17


def parse_json(text: str) -> Any:
    """Parse JSON, without white space around it.

    :raises NotJSONError: naming the place of what is not JSON.
    :raises RowError: for a key that is there twice, and for a number that would not be sent as it is written.
    """
    try:
        value, end = _raw_decode(text)
    except json.JSONDecodeError as error:
        raise NotJSONError(f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}") from error
    except RecursionError as error:
        raise RowError("JSON that is nested too deep to be read") from error
    except ValueError as error:  # an integer beyond what Python reads
        raise RowError("JSON with a number of thousands of digits: put it in quotes") from error
    if end != len(text):
        raise NotJSONError(f"not JSON: Extra data at column {end + 1}")
    return value


def kind_of(value: object) -> str:
    """Return the kind of a JSON value, in words."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a string", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names.get(type(value), "null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError(f"the key {twice!r} is there twice, and only one of them could be sent: remove the other")
    return found


def _no_number(name: str) -> NoReturn:
    raise RowError(f"{name} is no JSON: write null, or leave it out")


def _decimal(text: str) -> float:
    value = float(text)
    if len(text) <= _EXACT_LENGTH and "e" not in text and "E" not in text:
        return value
    if math.isinf(value):  # the checks before sending name its place
        return value
    if not _is_kept(text, value):
        raise RowError(
            f"the number {text[:60]} has more digits than a number is sent with, and would go out as {value!r}: "
            "round it, or put it in quotes"
        )
    return value


def _is_kept(text: str, value: float) -> bool:
    """Whether a number is the same when it is read as a float and written again.

    Up to 17 digits are what a float has, so that those which a program wrote of one are always kept; the last of them
    may be written otherwise.
    """
    try:
        exact = Decimal(text)
    except ArithmeticError:  # an exponent beyond all measure
        return False
    if Decimal(repr(value)) == exact:
        return True
    digits = "".join(map(str, exact.as_tuple().digits)).rstrip("0")
    return len(digits) <= _FLOAT_DIGITS and abs(value) >= sys.float_info.min


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number, parse_float=_decimal)
_raw_decode = _decoder.raw_decode
