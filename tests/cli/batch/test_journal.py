"""The journal: what is in it when, and what a run that goes on from it sends."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from refold_async.cli.batch import command
from refold_async.testing import Entry, Fault, MockRefold
from tests.cli.support import batch, edit, entries, environment, fired, forget_ends, plan, row, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 6)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_a_row_is_in_the_journal_before_it_is_on_the_wire(server: MockRefold, rows: Path, journal: Path) -> None:
    missing = []

    def look(entry: Entry) -> Fault | None:
        begun = [e for e in entries(journal) if e.get("what") == "sending" and e["line"] == entry.payload["n"]]
        if not begun or begun[-1]["key"] != entry.idempotency_key or not abs(begun[-1]["at"] - time.time()) < 5:
            missing.append(entry.payload["n"])
        return Fault.throttle("0") if len(begun) == 1 and entry.payload["n"] == 2 else None

    server.plan(look)
    ran = batch(server, rows, "--journal", journal, "--idempotency-header", "Idempotency-Key")
    assert (ran.code, missing, server.ledger.requests) == (0, [], 7)
    of_row_2 = [(e["what"], e.get("attempt"), e.get("delivery")) for e in entries(journal) if e.get("line") == 2]
    assert of_row_2 == [
        ("sending", 1, None),
        ("retrying", 1, "rejected"),
        ("sending", 2, None),
        ("ended", None, "accepted"),
    ]


def test_a_journal_holds_neither_payloads_nor_credentials(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    server.plan(plan({2: Fault.answer(400, body=b'{"message": "secret-2 is wrong"}')}))
    secrets = [row(n, payload={"n": n, "secret": f"secret-{n}"}, linked_account_id="ann@x.test") for n in (1, 2)]
    batch(server, write_rows(tmp_path / "rows.jsonl", secrets), "--journal", journal)
    text = journal.read_text()
    assert "rejected" in text
    assert not [word for word in ("secret", "ann@x.test", server.api_key) if word in text]
    assert journal.stat().st_mode & 0o077 == 0


def test_a_finished_run_has_nothing_left_to_do(server: MockRefold, rows: Path, journal: Path) -> None:
    assert batch(server, rows, "--journal", journal).code == 0
    before = journal.read_bytes()
    ran = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert (ran.code, ran.summary["accepted"], ran.summary["earlier"]["accepted"]) == (0, 6, 6)
    assert (server.ledger.requests, journal.read_bytes()) == (6, before)


def test_resume_begins_where_there_is_no_journal_yet(server: MockRefold, rows: Path, journal: Path) -> None:
    journal.touch()  # as mktemp leaves it, or a process that was killed at once
    assert batch(server, rows, "--journal", journal, "--resume").code == 0
    assert len(server.ledger.fired) == 6


def test_what_fired_or_was_rejected_is_not_sent_again(server: MockRefold, rows: Path, journal: Path) -> None:
    server.plan(plan({2: Fault.answer(404), 3: Fault.close_after_firing(), 4: Fault.html_502()}))
    assert batch(server, rows, "--journal", journal).code == 3
    forget_ends(journal, 5)
    server.plan(None)
    ran = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert (ran.code, server.ledger.requests) == (3, 6)
    assert ran.summary["lines"] == {"rejected": [2], "not_sent": [], "ambiguous": [3, 4, 5], "invalid": []}
    assert ran.summary["accepted"] == 2


def test_what_may_have_fired_is_sent_again_when_told(server: MockRefold, rows: Path, journal: Path) -> None:
    server.plan(plan({2: Fault.answer(404), 3: Fault.close_after_firing(), 4: Fault.html_502()}))
    batch(server, rows, "--journal", journal)
    forget_ends(journal, 5)
    server.plan(plan({4: Fault.answer(404)}))
    ran = batch(server, rows, "--journal", journal, "--resume", "--resend-ambiguous", "--json")
    assert fired(server) == {1: 1, 3: 2, 5: 2, 6: 1}
    assert ran.code == 3
    assert ran.summary["lines"]["ambiguous"] == [4], "that it was rejected now says nothing of the first time"
    assert ran.summary["lines"]["rejected"] == [2]


def test_what_was_rejected_is_sent_again_when_told(server: MockRefold, rows: Path, journal: Path) -> None:
    server.plan(plan({2: Fault.answer(404)}))
    batch(server, rows, "--journal", journal)
    server.plan(None)
    assert batch(server, rows, "--journal", journal, "--resume").code == 1
    assert batch(server, rows, "--journal", journal, "--resume", "--resend-rejected").code == 0
    assert fired(server) == dict.fromkeys(range(1, 7), 1)


def test_a_rejection_that_was_not_about_the_row_is_no_reason_to_skip_it(
    server: MockRefold, rows: Path, journal: Path
) -> None:
    wrong = environment(server, REFOLD_API_KEY="tk_wrong_wrong")
    assert batch(server, rows, "--journal", journal, "--max-attempts", "1", env=wrong).code == 1
    server.next(*[Fault.throttle("0")] * 3)
    ran = batch(server, rows, "--journal", journal, "--resume", "--max-attempts", "1")
    assert ran.code == 1
    assert "3 rejected rows failed for a reason that passes" in ran.out
    assert batch(server, rows, "--journal", journal, "--resume").code == 0
    assert fired(server) == dict.fromkeys(range(1, 7), 1)


def test_what_was_never_sent_is_sent(server: MockRefold, rows: Path, journal: Path) -> None:
    server.refuse()
    ran = batch(server, rows, "--journal", journal, "--max-concurrency", "2", "--max-outage", "0.2", "--json")
    assert (ran.code, ran.summary["accepted"], ran.summary["stopped"]) == (1, 0, "unreachable")
    server.accept()
    assert batch(server, rows, "--journal", journal, "--resume").code == 0
    assert fired(server) == dict.fromkeys(range(1, 7), 1)


@pytest.mark.parametrize(
    ("kept", "is_doubtful"),
    [
        (["sending"], True),
        (["sending", "retrying not_sent"], False),
        (["sending", "retrying rejected"], False),
        (["sending", "retrying ambiguous"], True),
        (["sending", "retrying not_sent", "sending"], True),
        (["sending", "sending", "retrying not_sent"], True),
        (["sending", "sending", "ended not_sent"], True),
        (["sending", "ended not_sent"], False),
        (["sending", "ended ambiguous", "sending", "ended rejected"], True),
        (["sending", "retrying ambiguous", "sending", "ended not_sent"], True),
    ],
)
def test_only_what_cannot_have_been_sent_counts_as_unsent(
    server: MockRefold, rows: Path, journal: Path, kept: list[str], is_doubtful: bool
) -> None:
    batch(server, rows, "--journal", journal)
    first = next(entry for entry in entries(journal) if entry.get("line") == 1)

    def line(said: str) -> dict[str, Any]:
        what, _, delivery = said.partition(" ")
        return first | {"what": what} | ({"delivery": delivery} if delivery else {})

    edit(journal, lambda entry: None if entry.get("line") == 1 else entry)
    with journal.open("a") as file:
        file.writelines(json.dumps(line(said)) + "\n" for said in kept)
    server.ledger.clear()
    ran = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert ran.summary["lines"]["ambiguous"] == ([1] if is_doubtful else [])
    assert fired(server) == ({} if is_doubtful else {1: 1})


def test_a_mended_row_goes_on_from_where_it_stopped(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    bad = write_rows(tmp_path / "rows.jsonl", [*(row(n) for n in range(1, 7)), "{", row(8)])
    assert batch(server, bad, "--journal", journal).code == 2
    write_rows(bad, 9)
    ran = batch(server, bad, "--journal", journal, "--resume")
    assert ran.code == 0, ran.err
    assert fired(server) == dict.fromkeys(range(1, 10), 1)


def test_a_run_that_sent_nothing_leaves_no_journal(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    bad = write_rows(tmp_path / "bad.jsonl", ["{"])
    assert batch(server, bad, "--journal", journal).code == 2
    assert not journal.exists()


def test_a_dry_run_changes_nothing_and_says_what_is_left(server: MockRefold, rows: Path, journal: Path) -> None:
    batch(server, rows, "--journal", journal)
    edit(journal, lambda entry: None if entry.get("line", 0) > 4 else entry)
    with journal.open("a") as file:
        file.write('{"what":"send')
    before = journal.read_bytes()
    ran = batch(server, rows, "--journal", journal, "--resume", "--dry-run")
    assert (ran.code, journal.read_bytes()) == (0, before)
    assert ran.out.startswith("2 rows can be sent.")
    assert not (journal.parent / "none.jsonl").exists()
    ran = batch(server, rows, "--journal", journal.parent / "none.jsonl", "--resume", "--dry-run")
    assert ran.out.startswith("6 rows can be sent.")
    assert not (journal.parent / "none.jsonl").exists()


def test_a_long_wait_for_the_journal_is_announced(
    server: MockRefold, rows: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_LONG_JOURNAL", 100)
    assert "Reading the journal" not in batch(server, rows, "--journal", journal).err
    assert "Reading the journal (0 MB)" in batch(server, rows, "--journal", journal, "--resume").err


def test_going_on_elsewhere_is_said(server: MockRefold, rows: Path, journal: Path) -> None:
    batch(server, rows, "--journal", journal)
    with MockRefold(rate_limit=None) as other:
        ran = batch(other, rows, "--journal", journal, "--resume")
        assert ran.code == 0
        assert f"the rows in the journal went to {server.url}/, and these go to {other.url}/" in ran.err
        assert other.ledger.requests == 0


def test_fsync_waits_for_the_disk_before_each_row_is_sent(
    server: MockRefold, rows: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0
    too_early = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal synced
        real(descriptor)
        synced += 1

    def look(entry: Entry) -> None:
        if synced < len(entries(journal)):
            too_early.append(entry.payload["n"])

    monkeypatch.setattr(os, "fsync", fsync)
    server.plan(look)
    assert batch(server, rows, "--journal", journal, "--fsync", "--max-concurrency", "1").code == 0
    assert too_early == []
    assert synced == len(entries(journal)) + 1, "each line, and once the folder"
