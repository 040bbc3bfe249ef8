"""Ordering keys over several runs: what fired is in input order, and nothing is missing in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async.cli.batch.order import KeyOrder, digest_of_key
from refold_async.cli.batch.table import RowState
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, edit, plan, row, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Six rows: odd lines of one key, even lines of another."""
    return write_rows(tmp_path / "rows.jsonl", [row(n, ordering_key="ab"[n % 2]) for n in range(1, 7)])


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def fired(server: MockRefold) -> list[int]:
    return [entry.payload["n"] for entry in server.ledger.fired]


def test_a_key_stops_at_its_first_row_that_was_not_accepted(server: MockRefold, rows: Path, journal: Path) -> None:
    server.plan(plan({3: Fault.answer(404)}))
    ran = batch(server, rows, "--journal", journal, "--json")
    assert (ran.code, sorted(fired(server))) == (1, [1, 2, 4, 6])
    assert (ran.summary["lines"]["rejected"], ran.summary["lines"]["not_sent"], ran.summary["held"]) == ([3], [5], 1)
    assert "line 5: held back: line 3 of the same ordering key was not accepted" in ran.err


def test_it_stays_stopped_in_later_runs_until_the_row_is_accepted(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    server.plan(plan({3: Fault.answer(404)}))
    batch(server, rows, "--journal", journal)
    server.plan(None)
    again = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert (again.code, again.summary["lines"]["not_sent"], 5 in fired(server)) == (1, [5], False)
    assert batch(server, rows, "--journal", journal, "--resume", "--resend-rejected").code == 0
    assert [n for n in fired(server) if n % 2] == [1, 3, 5]


def test_a_row_that_was_mended_is_sent_before_the_rest_of_its_key(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    server.plan(plan({3: Fault.answer(404)}))
    batch(server, rows, "--journal", journal)
    server.plan(None)
    rows.write_text(rows.read_text().replace('"n": 3', '"n": 33'))
    assert batch(server, rows, "--journal", journal, "--resume").code == 0
    assert [n for n in fired(server) if n % 2] == [1, 33, 5]


def test_an_ambiguous_row_holds_back_the_rest_of_its_key(server: MockRefold, rows: Path, journal: Path) -> None:
    server.plan(plan({3: Fault.close_after_firing()}))
    ran = batch(server, rows, "--journal", journal, "--json")
    assert (ran.code, ran.summary["lines"]["ambiguous"], ran.summary["lines"]["not_sent"]) == (3, [3], [5])
    server.plan(None)
    again = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert (again.code, again.summary["lines"]["not_sent"]) == (3, [5])
    resent = batch(server, rows, "--journal", journal, "--resume", "--resend-ambiguous", "--json")
    assert (resent.code, [n for n in fired(server) if n % 2]) == (0, [1, 3, 3, 5])


def test_on_key_failure_continue_goes_on_and_never_looks_back_unasked(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    server.plan(plan({1: Fault.answer(404)}))
    ran = batch(server, rows, "--journal", journal, "--on-key-failure", "continue", "--json")
    assert (ran.code, sorted(fired(server))) == (1, [2, 3, 4, 5, 6])
    server.plan(None)
    late = batch(server, rows, "--journal", journal, "--resume", "--resend-rejected", "--json")
    assert (late.code, late.summary["rejected"], 1 in fired(server)) == (1, 1, False)
    assert "a later row of its ordering key (line 5) fired or may have" in late.err
    asked = batch(server, rows, "--journal", journal, "--resume", "--resend-rejected", "--out-of-order")
    assert (asked.code, fired(server)[-1]) == (0, 1)


def test_a_row_that_was_never_sent_is_not_sent_after_a_later_one_of_its_key(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    batch(server, rows, "--journal", journal)
    edit(journal, lambda entry: None if entry.get("line") == 3 else entry)  # as if it had been put off
    server.ledger.clear()
    late = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert (late.code, late.summary["lines"]["not_sent"], fired(server)) == (1, [3], [])


def test_a_journal_of_the_first_version_can_be_resumed_and_says_what_it_does_not_know(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    batch(server, rows, "--journal", journal)

    def as_it_was(entry: dict[str, object]) -> dict[str, object] | None:
        if "journal" in entry:
            return entry | {"version": 1}
        new = {"ordering_key", "tag", "first_at"}
        return None if entry["line"] == 6 else {name: value for name, value in entry.items() if name not in new}

    edit(journal, as_it_was)
    ran = batch(server, rows, "--journal", journal, "--resume")
    assert (ran.code, "did not record ordering keys" in ran.err) == (0, True)
    assert fired(server).count(6) == 2
    assert all(fired(server).count(n) == 1 for n in range(1, 6))


KEYS = st.sampled_from("abc")
ENDINGS = st.sampled_from([RowState.ACCEPTED, RowState.REJECTED, RowState.AMBIGUOUS, RowState.UNSENT])


@given(rows=st.lists(st.tuples(KEYS, ENDINGS), max_size=12), data=st.data())
def test_whatever_earlier_runs_left_a_key_fires_in_order_and_without_gaps(
    rows: list[tuple[str, RowState]], data: st.DataObject
) -> None:
    order = KeyOrder()
    order.remember((line, digest_of_key(key), state) for line, (key, state) in enumerate(rows, 1) if state)
    fired = {line for line, (_, state) in enumerate(rows, 1) if state in (RowState.ACCEPTED, RowState.AMBIGUOUS)}
    for line, (key, state) in enumerate(rows, 1):
        is_asked = data.draw(st.booleans()) if state is not RowState.UNSENT else True
        if state is RowState.ACCEPTED or not is_asked or order.hold_on(key, line) is not None:
            continue
        order.goes(line)
        before = {other for other, (its, _) in enumerate(rows, 1) if its == key and other < line}
        after = {other for other, (its, _) in enumerate(rows, 1) if its == key and other > line}
        assert not after & fired, "a later one of its key fired"
        assert all(other in fired or rows[other - 1][1] is RowState.UNSENT for other in before), (
            "an earlier one of its key is missing"
        )
        if data.draw(st.booleans()):
            fired.add(line)
            order.accepted(line)
        else:
            order.failed(key, line)
            rows[line - 1] = (key, RowState.REJECTED)
            fired.discard(line)


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["goes", "accepted", "waits", "failed"]))))
def test_the_first_line_that_holds_is_the_one_that_is_named(steps: list[tuple[int, str]]) -> None:
    order = KeyOrder()
    model: dict[int, str] = {}
    for line, step in steps:
        if step == "goes":
            order.goes(line)
            model.update({line: "waits"} if line in model else {})
        elif step == "accepted":
            order.accepted(line)
            model.pop(line, None)
        else:
            getattr(order, step)("k", line)
            model[line] = step
        hold = order.hold_on("k", 7)
        assert (hold is None) == (not model)
        if hold is not None:
            assert f"line {min(model)} of" in hold.reason
            assert hold.passes == (model[min(model)] == "waits")
    assert order.hold_on("other", 7) is None
    assert order.hold_on(None, 7) is None


def test_a_bad_row_that_is_left_out_holds_back_the_rest_of_its_key(server: MockRefold, tmp_path: Path) -> None:
    rows = [row(n, ordering_key="ab"[n % 2]) for n in range(1, 7)]
    rows[2]["payload"] = "not an object"
    path = write_rows(tmp_path / "rows.jsonl", rows)
    ran = batch(server, path, "--skip-invalid", "--json")
    assert (ran.code, sorted(fired(server))) == (1, [1, 2, 4, 6])
    assert (ran.summary["lines"]["invalid"], ran.summary["lines"]["not_sent"]) == ([3], [5])
    assert batch(server, path, "--skip-invalid", "--on-key-failure", "continue", "--json").summary["accepted"] == 5


def test_a_dry_run_of_a_resume_says_which_rows_may_have_fired_and_how_many_they_hold_back(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    server.plan(plan({4: Fault.reset_after_firing()}))
    assert batch(server, rows, "--journal", journal).code == 3
    ran = batch(server, rows, "--journal", journal, "--resume", "--dry-run")
    assert ran.out == (
        "0 rows can be sent, 1 would be held back by others of their ordering key. "
        "This was a dry run: nothing was sent.\n"
    )
    assert "1 row may have fired, and would not be sent again: line 4." in ran.err
    resumed = (rows, "--journal", journal, "--resume", "--dry-run", "--json")
    assert {name: batch(server, *resumed).summary[name] for name in ("good", "held", "ambiguous")} == {
        "good": 0,
        "held": 1,
        "ambiguous": [4],
    }
    summary = batch(server, *resumed, "--resend-ambiguous").summary
    assert (summary["good"], summary["held"], summary["ambiguous"]) == (2, 0, [])
    assert batch(server, *resumed, "--on-key-failure", "continue").summary["good"] == 1
    assert fired(server).count(6) == 0
