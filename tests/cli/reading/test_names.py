"""Names of columns: which are ours, which only look so, and which are values of a list without a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async.cli.reading.names import COLUMNS, fold, invisible, looks_like_data, meant, padding

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e"


@given(st.sampled_from(COLUMNS), st.data())
def test_case_separators_and_invisible_characters_make_no_other_name(column: str, data: st.DataObject) -> None:
    parts = []
    for letter in column:
        spelled = data.draw(st.sampled_from([letter, letter.upper()])) if letter != "_" else ""
        between = data.draw(st.sampled_from(["", *" -_./", *UNSEEN]))
        parts.append(spelled + between)
    assert meant("".join(parts)) == column


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("linkedAccount", "linked_account_id"),
        ("Linked Acct ID", "linked_account_id"),
        ("accountId", "linked_account_id"),
        ("ＬＩＮＫＥＤ＿ＡＣＣＯＵＮＴ＿ＩＤ", "linked_account_id"),  # noqa: RUF001 - full width is what is tested
        ("configurationId", "config_id"),
        ("X-Idempotency-Key", "idempotency_key"),
        ("account", None),
        ("accounts_payable_id", None),
        ("customer_id", None),
        ("events", None),
        ("order_key", None),
    ],
)
def test_fixed_aliases_and_no_others(name: str, column: str | None) -> None:
    assert meant(name) == column


@pytest.mark.parametrize(
    "value",
    [
        "7", "-7", "1,234.50", "1.234,50", "3.5e7", "0x1F", "NaN", "12 %", "$12.50", "12.50 EUR", "(030) 123-456",
        "2026-11-03", "03.11.2026", "11/3/2026 10:00 AM", "2026-11-03T10:00:00+01:00", "3 November 2026",
        "Nov 3, 2026", "Tue, 3 Nov 2026 10:00:00 GMT", "10:30", "jane@example.com", "Jane <jane@example.com>",
        "https://example.com", "www.example.com", "0b3f2c1e-8a7d-4c55-9f10-2d6b7a8e9c01", "65f1a2b3c4d5e6f708192a3b",
        "true", "NULL", '{"a": 1}', "[1]", "\u0663\u0664",
    ],
)  # fmt: skip
def test_values_are_not_taken_for_names(value: str) -> None:
    assert looks_like_data(value) is not None


@pytest.mark.parametrize(
    "name",
    [
        "deal", "Deal name", "amount_2026", "1st contact", "Q3", "e-mail", "May", "march budget", "%", "#", "no", "in",
        "deal.name", "address[0]", "price (EUR)", "Décembre", "名前", "x@y", "a/b", "info", "10k_runs", "decade",
    ],
)  # fmt: skip
def test_names_are_not_taken_for_values(name: str) -> None:
    assert looks_like_data(name) is None


def test_folding_keeps_letters_and_digits() -> None:
    assert fold("  Straße-Nr. 7\u200b") == "strassenr7"


def test_odd_ends_and_invisible_characters_are_named() -> None:
    assert padding("Deal Created") is None
    assert padding("Café 東京") is None
    assert padding(" a") == "begins with a space"
    assert padding("a\u00a0") == "ends with a space"
    assert padding("a\u200bb") == "holds the invisible character U+200B"
    assert padding("\u200da") == "holds the invisible character U+200D"
    assert invisible("\u0645\u06cc\u200c\u062e") is None, "joiners belong to Persian words"
    assert invisible("a\x07b") == "\x07"
