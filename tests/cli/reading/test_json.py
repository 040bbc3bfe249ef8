"""JSON is read strictly, and no number changes between reading and sending."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refold_async.cli.reading.json_values import parse_json
from refold_async.cli.reading.problems import NotJSONError, RowError

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_json_writes_is_read_as_it_was(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
@example(Decimal("0.1234567890123456789"))
@example(Decimal("1e-400"))
@example(Decimal("-0.0"))
def test_a_number_is_sent_with_the_digits_that_it_has_or_refused(number: Decimal) -> None:
    try:
        sent = parse_json(str(number))
    except RowError:
        assert Decimal(repr(float(number))) != number
        return
    if isinstance(sent, int):
        assert sent == number
    elif math.isfinite(sent):
        digits = "".join(map(str, number.as_tuple().digits)).strip("0")
        assert Decimal(repr(sent)) == number or len(digits) <= 17


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_that_was_written_with_17_digits_is_read(number: float) -> None:
    if abs(number) >= 2.3e-308 or number == 0:
        assert parse_json(f"{number:.17g}") == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON: Expecting value at column 1"),
        ("{} {}", "not JSON: Extra data at column 3"),
        ("1 2", "not JSON: Extra data at column 2"),
        ("{'a': 1}", "not JSON: Expecting property name"),
        ('"a\tb"', "not JSON: Invalid control character at column 3"),
    ],
)
def test_what_is_not_json_is_named_by_its_place(text: str, words: str) -> None:
    with pytest.raises(NotJSONError, match=words):
        parse_json(text)


@pytest.mark.parametrize(("text", "words"), [("[" * 100_000, "nested too deep"), ("9" * 5000, "put it in quotes")])
def test_json_beyond_what_can_be_read_is_named_by_its_kind(text: str, words: str) -> None:
    with pytest.raises(RowError, match=words):
        parse_json(text)
