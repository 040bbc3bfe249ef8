"""Going on with an input: what may have changed of it, and what may not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, entries, fired, row, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 6)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


CHANGES: dict[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "another row": (lambda lines: [*lines[:3], row(99), *lines[4:]], "line 4 is another now"),
    "one inserted": (lambda lines: [row(99), *lines], "line 1 is another now"),
    "one removed": (lambda lines: lines[1:], "line 1 is another now"),
    "the last removed": (lambda lines: lines[:-1], "line 6 is not there any more"),
    "all removed but one": (lambda lines: lines[:1], "line 4 is not there any more"),
    "one blank": (lambda lines: [*lines[:3], "", *lines[4:]], "line 4 is not there any more"),
    "another account": (lambda lines: [*lines[:5], row(6, linked_account_id="b")], "line 6 is another now"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["file", "pipe"])
def test_an_input_that_has_changed_is_refused_before_anything_is_sent(
    server: MockRefold, rows: Path, journal: Path, change: str, how: str
) -> None:
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] == 2 else None)
    batch(server, rows, "--journal", journal)
    unsent = [entry for entry in entries(journal) if entry.get("line") != 3]
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in unsent))
    before = journal.read_bytes()
    altered, words = CHANGES[change]
    write_rows(rows, altered([row(n) for n in range(1, 7)]))
    given = [rows] if how == "file" else ["-"]
    ran = batch(server, *given, "--journal", journal, "--resume", stdin=rows.read_bytes() if how == "pipe" else None)
    assert ran.code == 2
    assert f"has changed: the row that was sent as {words}" in ran.err
    assert "Rows that were sent must stay as and where they are" in ran.err
    assert (server.ledger.requests, journal.read_bytes()) == (6, before)


@pytest.mark.parametrize("how", ["file", "pipe"])
def test_what_did_not_fire_may_be_mended_and_more_may_be_added(
    server: MockRefold, rows: Path, journal: Path, how: str
) -> None:
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] in (2, 5) else None)
    batch(server, rows, "--journal", journal)
    server.plan(None)
    write_rows(rows, [row(20 if n == 2 else n) for n in range(1, 9)])
    given = [rows] if how == "file" else ["-"]
    content = rows.read_bytes() if how == "pipe" else None
    ran = batch(server, *given, "--journal", journal, "--resume", "--json", stdin=content)
    assert (ran.code, ran.summary["lines"]["rejected"]) == (1, [5])
    assert fired(server) == {1: 1, 3: 1, 4: 1, 6: 1, 20: 1, 7: 1, 8: 1}


def test_a_table_is_resumed_by_its_records_and_its_header(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    table = tmp_path / "rows.csv"
    text = "slug,event,n\n" + "".join(f'slack,E,"{n}\n"\n' for n in range(1, 30))
    table.write_text(text)
    batch(server, table, "--journal", journal, "--max-concurrency", "1")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:21]))
    ran = batch(server, table, "--journal", journal, "--resume", "--json")
    assert (ran.code, ran.summary["earlier"]["accepted"], ran.summary["accepted"]) == (0, 10, 29)
    assert fired(server) == {f"{n}\n": 1 if n <= 10 else 2 for n in range(1, 30)}
    without_the_first = [line for line in journal.read_bytes().splitlines(keepends=True) if b'"line":2,' not in line]
    journal.write_bytes(b"".join(without_the_first))
    ran = batch(server, table, "--journal", journal, "--resume", "--json")
    assert (ran.code, ran.summary["accepted"], fired(server)["1\n"]) == (0, 29, 2)
    for changed, words in (
        (text.replace("slug,event,n", "slug,event,m"), "line 2 is another now"),
        (text.replace('"2\n"', '"2"'), "line 4 is another now"),
        (text.replace('"29\n"', '"29"'), "line 58 is another now"),
    ):
        table.write_text(changed)
        ran = batch(server, table, "--journal", journal, "--resume")
        assert (ran.code, words in ran.err) == (2, True), ran.err


def test_the_line_ends_of_a_file_are_not_what_it_holds(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    for name in ("rows.jsonl", "rows.csv"):
        text = "slug,event,n\nslack,E,1\n" if name.endswith("csv") else json.dumps(row(1)) + "\n"
        path, own = tmp_path / name, tmp_path / f"{name}.journal"
        path.write_text(text)
        assert batch(server, path, "--journal", own).code == 0
        path.write_bytes(text.replace("\n", "\r\n").encode())
        assert batch(server, path, "--journal", own, "--resume").code == 0
    assert server.ledger.requests == 2
