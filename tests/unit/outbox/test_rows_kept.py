"""Whatever can be put comes out of the file as it was, and the digest tells apart what is different."""

from __future__ import annotations

import sqlite3
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Trigger
from refold_async.outbox import _rows
from refold_async.outbox._row import digest_of, encode_trigger, without_payload
from refold_async.outbox._schema import INSERT, migration

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = texts.filter(bool)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
triggers = st.builds(
    Trigger,
    names,
    names,
    st.none() | st.dictionaries(st.text(max_size=5), values, max_size=4),
    linked_account_id=st.none() | texts,
    config_id=st.none() | texts,
    instance_tag=st.none() | texts,
    idempotency_key=st.none() | texts,
    ordering_key=st.none() | texts,
)


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in migration("here", 0):
        connection.execute(statement)
    return connection


@given(trigger=triggers)
def test_a_trigger_comes_out_of_the_file_as_it_was_put(trigger: Trigger) -> None:
    connection = database()
    text = encode_trigger(trigger)
    connection.execute(INSERT, _rows.put_values("k", text, digest_of(text), trigger.ordering_key, 1.0, 1.0))
    row = _rows.load(connection, "k", 2.0)
    assert row is not None
    assert row.load_trigger() == trigger
    assert row.ordering_key == trigger.ordering_key
    assert encode_trigger(row.load_trigger()) == text
    connection.close()


@given(one=triggers, other=triggers)
def test_two_triggers_have_one_digest_if_they_are_the_same(one: Trigger, other: Trigger) -> None:
    texts_of_both: list[Any] = [encode_trigger(one), encode_trigger(other)]
    assert (digest_of(texts_of_both[0]) == digest_of(texts_of_both[1])) == (texts_of_both[0] == texts_of_both[1])
    bare = encode_trigger(evolve(one, payload=None))
    assert without_payload(texts_of_both[0]) == bare
