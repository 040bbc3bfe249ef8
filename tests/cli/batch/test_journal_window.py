"""Rows that may have fired, sent again with the same key while the workflow still drops repeats of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from refold_async.testing import Dedupe, Fault, MockRefold
from tests.cli.support import Ran, batch, edit, fired, forget_ends, plan, row, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 6)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def age(journal: Path, seconds: float) -> None:
    """Make the journal older."""
    edit(journal, lambda entry: entry | {"at": entry["at"] - seconds})


@pytest.fixture
def dropping(tmp_path: Path) -> Iterable[MockRefold]:
    """A server that drops repeats."""
    with MockRefold(rate_limit=None, dedupe=Dedupe(header="X-Key", window=300)) as running:
        yield running


DECLARED = ["--idempotency-header", "X-Key", "--idempotency-window", "300"]


def killed_with_keys(server: MockRefold, rows: Path, journal: Path, *declared: str) -> Ran:
    ran = batch(server, rows, "--journal", journal, *(declared or DECLARED))
    forget_ends(journal, 2, 5)
    return ran


def test_within_the_window_it_is_sent_again_with_the_same_key(dropping: MockRefold, rows: Path, journal: Path) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, 230)
    ran = batch(dropping, rows, "--journal", journal, "--resume", *DECLARED, "--json")
    assert (ran.code, ran.summary["accepted"], dropping.ledger.requests) == (0, 6, 8)
    keys = [(e.payload["n"], e.header("X-Key")) for e in dropping.ledger.entries]
    assert len(set(keys)) == 6, "each row has one key, however often it was sent"
    assert fired(dropping) == dict.fromkeys(range(1, 7), 1)


@pytest.mark.parametrize(
    ("older", "declared"),
    [
        (245, DECLARED),  # 0.8 of 300 is 240
        (-10, DECLARED),  # the clock was set back: who knows for how long the key is still remembered
        (0, ["--idempotency-header", "X-Other"]),
        (0, ["--idempotency-field", "key"]),
        (0, []),
    ],
)
def test_outside_of_the_window_it_is_not(
    dropping: MockRefold, rows: Path, journal: Path, older: float, declared: list[str]
) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, older)
    ran = batch(dropping, rows, "--journal", journal, "--resume", *declared, "--json")
    assert (ran.code, ran.summary["lines"]["ambiguous"], dropping.ledger.requests) == (3, [2, 5], 6)


def test_the_window_counts_from_the_first_time(dropping: MockRefold, rows: Path, journal: Path) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, 200)
    batch(dropping, rows, "--journal", journal, "--resume", *DECLARED)
    forget_ends(journal, 2, 5)
    age(journal, 50)
    ran = batch(dropping, rows, "--journal", journal, "--resume", *DECLARED, "--json")
    assert (ran.code, ran.summary["lines"]["ambiguous"], dropping.ledger.requests) == (3, [2, 5], 8)


def test_a_turn_that_comes_after_the_window_is_not_taken(dropping: MockRefold, rows: Path, journal: Path) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, 238)  # so 2 s are left; of two rows at one in 2.5 seconds, the second comes too late
    slow = ["--rate", "0.4", "--burst", "1", "--json"]
    ran = batch(dropping, rows, "--journal", journal, "--resume", *DECLARED, *slow)
    assert (ran.code, ran.summary["lines"]["ambiguous"], dropping.ledger.requests) == (3, [5], 7)
    assert "past the deadline" in ran.summary["failures"][0]["message"], "which the window has capped"
    assert fired(dropping) == dict.fromkeys(range(1, 7), 1)


def test_a_repeat_is_given_up_when_its_window_ends(dropping: MockRefold, rows: Path, journal: Path) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, 239)  # so 1 s is left, and an attempt may take 10
    dropping.plan(plan({2: Fault.stall_head()}))
    ran = batch(dropping, rows, "--journal", journal, "--resume", *DECLARED, "--json")
    assert (ran.code, ran.summary["lines"]["ambiguous"]) == (3, [2])
    assert ran.summary["seconds"] < 5


def test_a_key_without_a_declaration_then_is_known_later(tmp_path: Path, journal: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n, idempotency_key=f"k{n}") for n in range(1, 7)])
    with MockRefold(rate_limit=None, dedupe=Dedupe(header="Idempotency-Key")) as server:
        batch(server, rows, "--journal", journal)
        forget_ends(journal, 3)
        ran = batch(server, rows, "--journal", journal, "--resume", "--idempotency-header", "idempotency-key")
        assert (ran.code, server.ledger.requests) == (0, 7)
        assert fired(server) == dict.fromkeys(range(1, 7), 1)


def test_told_to_send_again_it_keeps_the_key(dropping: MockRefold, rows: Path, journal: Path) -> None:
    killed_with_keys(dropping, rows, journal)
    age(journal, 290)
    ran = batch(dropping, rows, "--journal", journal, "--resume", *DECLARED, "--resend-ambiguous")
    assert (ran.code, dropping.ledger.requests) == (0, 8)
    assert fired(dropping) == dict.fromkeys(range(1, 7), 1)


def test_ordered_rows_stay_in_order_when_some_are_sent_again(tmp_path: Path, journal: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n, ordering_key="o") for n in range(1, 6)])
    with MockRefold(rate_limit=None, dedupe=Dedupe(header="X-Key")) as server:
        batch(server, rows, "--journal", journal, *DECLARED)
        edit(journal, lambda entry: None if entry.get("line", 0) > 3 else entry)
        forget_ends(journal, 3)
        server.ledger.clear()
        assert batch(server, rows, "--journal", journal, "--resume", *DECLARED).code == 0
        assert [entry.payload["n"] for entry in server.ledger.entries] == [3, 4, 5]
