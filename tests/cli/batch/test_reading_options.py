"""The options that say how rows are read, and how they go with a journal."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from refold_async.testing import MockRefold

from ..support import batch, fired, row, write_rows


def test_a_first_try_is_limited_and_the_others_follow(server: MockRefold, tmp_path: Path) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 6), tmp_path / "run.journal"
    ran = batch(server, rows, "--limit", "2", "--journal", journal)
    assert (ran.code, fired(server)) == (0, {1: 1, 2: 1})
    assert "Stopped at --limit 2: the rows after them are sent with --resume." in ran.err
    assert batch(server, rows, "--limit", "3", "--journal", journal, "--resume").code == 0
    assert fired(server) == dict.fromkeys(range(1, 6), 1)
    ran = batch(server, rows, "--journal", journal, "--resume")
    assert (ran.code, fired(server)) == (0, dict.fromkeys(range(1, 7), 1))
    assert "--limit" not in ran.err


def test_a_limited_dry_run_looks_at_no_row_after_it(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(1), row(2), "{"])
    ran = batch(server, rows, "--dry-run", "--limit", "2")
    assert (ran.code, ran.out) == (0, "2 rows can be sent. This was a dry run: nothing was sent.\n")
    assert "were not looked at, because of --limit" in ran.err


def test_rows_that_would_be_other_events_do_not_resume(server: MockRefold, tmp_path: Path) -> None:
    table, journal = tmp_path / "rows.csv", tmp_path / "run.journal"
    table.write_text("slug,event,n\nslack,E,1\n")
    assert batch(server, table, "--types", "n=number", "--journal", journal).code == 0
    for options in ([], ["--types", "n=text"], ["--types", "n=number", "--empty", "null"]):
        ran = batch(server, table, "--journal", journal, "--resume", *options)
        assert (ran.code, "other values of" in ran.err) == (2, True), options
    assert batch(server, table, "--journal", journal, "--resume", "--types", "n=number").code == 0
    assert server.ledger.requests == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--delimiter", ";"], "--delimiter is for CSV"),
        (["--types", "n=number"], "--types is for CSV"),
        (["--empty", "null"], "--empty is for CSV"),
        (["--multiline-cells"], "--multiline-cells is for CSV"),
        (["--format", "csv", "--delimiter", '"'], "must be the one character"),
        (["--format", "csv", "--delimiter", "ab"], "must be the one character"),
        (["--format", "csv", "--types", "n"], "must be NAME=TYPE"),
        (["--format", "csv", "--types", "n=number", "--types", "n=bool"], "two types for 'n'"),
        (["--format", "csv", "--types", "slug=bool"], "always text"),
        (["--encoding", "nope"], "is not an encoding"),
        (["--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    server: MockRefold, tmp_path: Path, options: list[str], words: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("slug,event,n\nslack,E,1\n" if "csv" in options else "")
    ran = batch(server, rows, *options)
    assert (ran.code, words in ran.err) == (2, True), ran.err
    assert server.ledger.requests == 0


def test_a_repeated_header_is_told_of(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("slug,event,n\nslack,E,1\n" * 2)
    ran = batch(server, table, "--dry-run")
    assert ran.out == "2 rows can be sent. This was a dry run: nothing was sent.\n"
    assert "1 line repeated the header and would be left out." in ran.err


def test_a_bad_row_over_several_lines_counts_as_these_lines(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('slug,event,n\nslack,E,1\nslack,E,"2\nslack,E"x,3\nslack,E,4\n')
    ran = batch(server, table, "--skip-invalid", "--json")
    assert ran.code == 2
    assert ran.summary["lines"]["invalid"] == [3, 4]
    assert "lines 3 to 4: " in ran.err
    assert len(server.ledger.fired) == 1
    dry = batch(server, table, "--dry-run", "--json").summary
    assert (dry["rows"], dry["good"], dry["bad"][0]["last_line"]) == (3, 1, 4)


def test_a_dry_run_shows_the_first_event_and_no_credential(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ["{}}", row(1, linked_account_id="acct_9"), row(2)])
    shown = batch(server, rows, "--dry-run").err
    assert "The first event, from line 2, as it would be sent:" in shown
    assert f"    POST {server.url}/api/v2/public/event/slack\n    linked_account_id: acct_9\n" in shown
    assert '{"event":"E","payload":{"n":1}}' in shown
    assert server.api_key not in shown + batch(server, rows, "--dry-run", "--json").out
    long = write_rows(tmp_path / "long.jsonl", [row(1, payload={"text": "x" * 5000})])
    assert "x… (5," in batch(server, long, "--dry-run").err


def test_a_packed_table_is_resumed(server: MockRefold, tmp_path: Path) -> None:
    table, journal = tmp_path / "rows.csv.gz", tmp_path / "run.journal"
    table.write_bytes(gzip.compress("slug;event;n\nslack;E;1\nslack;E;2\nslack;E;3\n".encode("utf-16")))
    assert batch(server, table, "--journal", journal, "--limit", "1").code == 0
    assert batch(server, table, "--journal", journal, "--resume").code == 0
    assert fired(server) == {"1": 1, "2": 1, "3": 1}
    table.write_bytes(gzip.compress(b"slug,event,n\nslack,E,1\nslack,E,2\nslack,E,3\n"))
    assert batch(server, table, "--journal", journal, "--resume").code == 0, "how rows are packed is not what they hold"
    table.write_bytes(gzip.compress(b"slug,event,n\nslack,E,1\nslack,E,0\nslack,E,3\n"))
    ran = batch(server, table, "--journal", journal, "--resume")
    assert (ran.code, "line 3 is another now" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--event", "E "], "event ends with a space"),
        (["--linked-account-id", "\u00a0"], "is blank"),
        (["--config-id", "c\u200b"], "the invisible character U+200B"),
    ],
)
def test_names_that_are_typed_are_checked_as_those_in_rows(
    server: MockRefold, tmp_path: Path, options: list[str], words: str
) -> None:
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 1), *options)
    assert (ran.code, server.ledger.requests) == (2, 0)
    assert words in ran.err


def test_no_file_is_named_for_two_things(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    one, same = tmp_path / "one", tmp_path / "." / "x" / ".." / "one"
    for first, second in (("--journal", "--failed-to"), ("--failed-to", "--ambiguous-to")):
        ran = batch(server, rows, first, one, second, same)
        assert (ran.code, server.ledger.requests) == (2, 0)
        assert f"{first} and {second} are the same file" in ran.err
    assert not one.exists()
