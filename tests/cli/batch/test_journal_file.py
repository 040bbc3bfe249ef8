"""The journal as a file: torn, damaged, full, taken away, of another input, and in use by two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refold_async._core.filelock import try_lock
from refold_async.cli.batch import journal as journal_file
from refold_async.cli.batch.recovery import JournalError, recover
from refold_async.cli.batch.table import RowState, Table
from refold_async.testing import Fault, MockRefold
from tests.cli.support import PROGRAM, batch, entries, fired, whole_environment, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 6)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def read(content: bytes, path: Path) -> Table:
    """Recover a journal with this content."""
    path.write_bytes(content)
    table = Table()
    settings = json.loads(content.splitlines()[0]).get("settings", "")
    with path.open("rb") as file:
        recover(file, path.name, table, settings)
    return table


def test_wherever_a_kill_cuts_it_off_no_row_that_was_sent_counts_as_unsent(
    server: MockRefold, rows: Path, journal: Path, tmp_path: Path
) -> None:
    server.plan(lambda entry: {2: Fault.answer(404), 3: Fault.html_502()}.get(entry.payload["n"]))
    server.next(Fault.throttle("0"))
    batch(server, rows, "--journal", journal, "--max-concurrency", "2")
    content = journal.read_bytes()
    header = content.index(b"\n") + 1
    assert len(content) > 1000
    for cut in range(header, len(content) + 1):
        table = read(content[:cut], tmp_path / "cut.jsonl")
        # What was written in full was sent; what was not, was not. So the last line counts from its last byte on.
        whole = [json.loads(line) for line in content[:cut].split(b"\n")[:-1] + _complete(content[:cut])]
        for line in range(1, 7):
            own = [entry for entry in whole if entry.get("line") == line]
            assert table.state(line) == expected(own), (cut, line)


def _complete(content: bytes) -> list[bytes]:
    rest = content.rpartition(b"\n")[2]
    return [rest] if rest.endswith(b"}") else []


def expected(own: list[dict[str, Any]]) -> int:
    if not own:
        return RowState.UNSENT
    if own[-1]["what"] == "sending":
        return RowState.AMBIGUOUS
    if own[-1]["what"] == "retrying":
        return RowState.NOT_SENT
    return {"accepted": RowState.ACCEPTED, "rejected": RowState.REJECTED, "ambiguous": RowState.AMBIGUOUS}[
        own[-1]["delivery"]
    ]


@pytest.mark.parametrize("cut", [1, 40, -2, -1])
def test_a_torn_last_line_is_taken_off_and_nothing_is_glued_to_it(
    server: MockRefold, rows: Path, journal: Path, cut: int
) -> None:
    batch(server, rows, "--journal", journal, "--max-concurrency", "1")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:9]) + lines[9][:cut])  # line 5 is being sent
    ran = batch(server, rows, "--journal", journal, "--resume", "--json")
    whole = cut == -1  # only the line feed is missing: an editor may have taken it off a line that counts
    assert ran.summary["lines"]["ambiguous"] == ([5] if whole else [])
    assert fired(server) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1 if whole else 2, 6: 2}
    assert [entry["line"] for entry in entries(journal) if "line" in entry][:9] == [1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_a_first_line_that_is_torn_is_no_journal_yet(server: MockRefold, rows: Path, journal: Path) -> None:
    batch(server, rows, "--journal", journal)
    journal.write_bytes(journal.read_bytes()[:30])
    server.ledger.clear()
    assert batch(server, rows, "--journal", journal, "--resume").code == 0
    assert fired(server) == dict.fromkeys(range(1, 7), 1)


@pytest.mark.parametrize(
    "damage",
    [
        b"\n", b"{\n", b"[]\n", b"\0\0\0\0\n", b'{"what":"sent","line":1}\n', b'{"what":"ended","line":1}\n',
        b'{"what":"sending","line":0,"at":1,"digest":""}\n', b'{"what":"sending","line":"1","at":1,"digest":""}\n',
        b'{"what":"sending","line":900000000000,"at":1,"digest":""}\n',
        b'{"what":"sending","line":1,"at":1,"digest":"xyz"}\n', b'{"what":"ended","line":1,"delivery":"lost"}\n',
    ],
)  # fmt: skip
def test_a_damaged_line_is_named_and_nothing_is_sent(
    server: MockRefold, rows: Path, journal: Path, damage: bytes
) -> None:
    batch(server, rows, "--journal", journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], damage, *lines[4:6]]))
    before = journal.read_bytes()
    ran = batch(server, rows, "--journal", journal, "--resume")
    assert ran.code == 2
    assert f"{journal}, line 5: this is no line of a journal" in ran.err
    assert "Restore the journal from a copy; if there is none, look in Refold" in ran.err
    assert (server.ledger.requests, journal.read_bytes()) == (6, before)


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_file_that_is_no_journal_is_not_touched(
    server: MockRefold, rows: Path, tmp_path: Path, more: list[str]
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no line feed at the end")
    for other in (notes, rows):
        before = other.read_bytes()
        ran = batch(server, rows, "--journal", other, *more)
        assert ran.code == 2
        assert ("is not a journal" if more else "is there already") in ran.err
        assert other.read_bytes() == before
    assert server.ledger.requests == 0


def test_a_journal_is_not_begun_anew_by_mistake(server: MockRefold, rows: Path, journal: Path) -> None:
    batch(server, rows, "--journal", journal)
    ran = batch(server, rows, "--journal", journal)
    assert ran.code == 2
    assert "go on with --resume" in ran.err
    assert server.ledger.requests == 6


def test_a_journal_of_another_version(server: MockRefold, rows: Path, journal: Path) -> None:
    batch(server, rows, "--journal", journal)
    journal.write_bytes(journal.read_bytes().replace(b'"version":2', b'"version":3', 1))
    assert "written by a newer refold-async, in format 3" in batch(server, rows, "--journal", journal, "--resume").err


@pytest.mark.parametrize("option", ["--slug", "--event", "--linked-account-id", "--config-id", "--instance-tag"])
def test_other_values_for_all_rows_are_other_events(server: MockRefold, rows: Path, journal: Path, option: str) -> None:
    batch(server, rows, "--journal", journal)
    ran = batch(server, rows, "--journal", journal, "--resume", option, "other")
    assert ran.code == 2
    assert "was begun with other values of --slug" in ran.err
    assert server.ledger.requests == 6


def test_where_no_journal_can_be(server: MockRefold, rows: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    places = {
        tmp_path / "none" / "run.jsonl": "No such file",
        tmp_path: "is no regular file",
        pipe: "is no regular file",
        link: "is no regular file",
    }
    for place, words in places.items():
        for more in ([], ["--resume"], ["--resume", "--dry-run"]):
            ran = batch(server, rows, "--journal", place, *more)
            if "none" in place.parts[-2] and "--dry-run" in more:
                assert ran.code == 0
                continue
            assert ran.code == 2
            assert words in ran.err
    assert server.ledger.requests == 0
    assert pipe.is_fifo(), "it was removed"
    assert link.is_symlink()


def test_only_what_was_made_for_the_run_is_ever_removed(
    server: MockRefold, tmp_path: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = write_rows(tmp_path / "bad.jsonl", ["{"])
    journal.touch()
    inode = journal.stat().st_ino
    for more in ([], ["--resume"], ["--resume", "--dry-run"]):
        assert batch(server, bad, "--journal", journal, *more).code != 0
        assert (journal.stat().st_ino, journal.read_bytes()) == (inode, b"")
    journal.unlink()
    assert batch(server, bad, "--journal", journal).code == 2
    assert not journal.exists()
    with monkeypatch.context() as patched:
        patched.setattr(journal_file, "try_lock", lambda _: False)  # somebody was quicker, and has it now
        assert "in use by another process" in batch(server, bad, "--journal", journal).err
    assert journal.exists()


@pytest.mark.parametrize("more", [[], ["--resume"], ["--resume", "--dry-run"]])
def test_two_processes_do_not_share_a_journal(server: MockRefold, rows: Path, journal: Path, more: list[str]) -> None:
    with journal.open("ab") as held:
        assert try_lock(held.fileno())
        ran = batch(server, rows, "--journal", journal, *more)
        assert ran.code == 2
        assert "is in use by another process: wait until it has ended, or stop it" in ran.err
    assert server.ledger.requests == 0
    assert journal.exists()
    assert batch(server, rows, "--journal", journal, "--resume").code == 0, "the lock outlived its process"


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
def test_a_full_disk_stops_it_and_no_row_is_sent_that_is_not_written_down(
    server: MockRefold, tmp_path: Path, journal: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 200)
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
        "from refold_async.cli import main; main()"
    )
    command = [sys.executable, "-c", limited, *PROGRAM[3:], "batch", str(rows), "--journal", str(journal), "--json"]
    env = whole_environment(server)
    done = subprocess.run(
        [*command, "--no-rate-limit"], env=env, capture_output=True, text=True, timeout=40, check=False
    )
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["stopped"]) == (1, "journal")
    assert f"the journal {journal} cannot be written: File too large" in done.stderr
    written = {entry["line"] for entry in entries(journal) if entry.get("what") == "sending"}
    assert set(fired(server)) <= written
    assert len(written) < 60
    assert summary["not_sent"] < 60, "it went on"
    ended = {entry["line"] for entry in entries(journal) if entry.get("what") == "ended"}
    assert sorted(summary["unwritten"]) == sorted(written - ended)
    server.ledger.clear()
    ran = batch(server, rows, "--journal", journal, "--resume", "--json")
    assert ran.summary["lines"]["ambiguous"] == sorted(summary["unwritten"])
    assert set(fired(server)) == set(range(1, 201)) - written


@pytest.mark.parametrize("how", ["deleted", "cut", "added to"])
def test_a_journal_that_somebody_tampers_with_stops_it(
    server: MockRefold, tmp_path: Path, journal: Path, how: str
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 200)

    def tamper(entry: Any) -> None:
        if entry.payload["n"] == 50:
            if how == "deleted":
                journal.unlink()
            elif how == "cut":
                os.truncate(journal, 100)
            else:
                with journal.open("ab") as file:
                    file.write(b"\n")

    server.plan(tamper)
    ran = batch(server, rows, "--journal", journal, "--json", "--max-concurrency", "5")
    assert (ran.code, ran.summary["stopped"]) == (1, "journal")
    assert "was changed or deleted by somebody else" in ran.err
    assert 50 <= len(server.ledger.fired) < 60
    assert ran.summary["not_sent"] < 10, "it went on"


def test_only_a_journal_can_be_recovered(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is not a journal"):
        read(b'{"what":"sending"}\n', tmp_path / "x")
