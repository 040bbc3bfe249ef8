"""Bad input: every case names the line and the cure, and says what was sent all the same."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from refold_async.cli.reading.input import LONGEST_LINE, Input
from refold_async.testing import MockRefold
from tests.cli.support import batch, row, write_rows

BAD_LINES: list[tuple[Any, str]] = [
    ('{"slug": "slack", "event": ', "not JSON: Expecting value at column 27"),
    ("[1]", "this is an array, not an object. If the file is one JSON array"),
    ('"slug": "slack"', "If each object is spread over several lines"),
    ("null", "this is null, not an object"),
    (row(7, payload=[1]), 'payload is an array; it must be an object, as in {"deal": 1}'),
    (row(7, payload="{}"), "payload is a string; it must be an object"),
    (row(7, payload=True), "payload is true or false; it must be an object"),
    ({"event": "E"}, "there is no slug: fill it in, or give one for all rows with --slug"),
    ({"slug": "slack"}, "there is no event: fill it in, or give one for all rows with --event"),
    (row(7, slug="../x"), "is not an application's slug"),
    (row(7, slug="trigger"), "would fire the event for every application"),
    (row(7, slug=5), "slug is a number; it must be a string"),
    (row(7, event=" "), "event is blank"),
    (row(7, event=""), "event must be the event's name"),
    (row(7, ordering_key=7), "ordering_key is a number; it must be a string"),
    (row(7, linked_account_id=7), "linked_account_id is a number; it must be a string"),
    (row(7, linked_account_id=[]), "linked_account_id is an array; it must be a string"),
    (row(7, linked_account_id="\u00a0"), "linked_account_id is blank"),
    (row(7, linked_account_id="undefined"), "what programs write where there is no value"),
    (row(7, linked_account_id="${account}"), "a placeholder that was not filled in"),
    (row(7, config_id={}), "config_id is an object; it must be a string"),
    (row(7, config_id="a\nb"), "config_id holds the invisible character U+000A"),
    (row(7, config_id="\u20ac"), "config_id cannot be sent in a header"),
    (row(7, ordering_key="k "), "ordering_key ends with a space"),
    (row(7, paylaod={}), "unknown key 'paylaod': did you mean 'payload'?"),
    (row(7, deal=1), "unknown key 'deal': what the event carries goes into 'payload'"),
    ('{"slug": "slack", "event": "E", "event": "F"}', "the key 'event' is there twice"),
    ('{"slug": "slack", "event": "E", "payload": {"a": 1, "a": 2}}', "the key 'a' is there twice"),
    ('{"slug": "slack", "event": "E", "payload": {"a": NaN}}', "NaN is no JSON"),
    ('{"slug": "slack", "event": "E", "payload": {"a": 1e999}}', "payload.a is inf"),
    ('{"slug": "slack", "event": "E", "payload": {"a": "\\ud800"}}', "payload.a holds half of a surrogate pair"),
    ('{"slug": "slack", "event": "E", "payload": {"a": ' + "9" * 5000 + "}}", "put it in quotes"),
    ('{"payload": ' + "[" * 200_000, "nested too deep"),
    ('{"slug": "slack", "event": "E", "payload": {"a": "' + "x" * 3_000_001 + '"}}', "Refold takes at most 3,000,000"),
]


@pytest.mark.parametrize(("line", "words"), BAD_LINES, ids=[words[:40] for _, words in BAD_LINES])
def test_a_bad_row_is_named_and_stops_what_comes_after_it(
    server: MockRefold, tmp_path: Path, line: Any, words: str
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n) if n != 7 else line for n in range(1, 13)])
    ran = batch(server, rows)
    assert ran.code == 2
    assert f"{rows}, line 7: " in ran.err
    assert words in ran.err
    assert "Nothing after it was sent. Mend it, or leave such rows out with --skip-invalid" in ran.err
    assert sorted(entry.payload["n"] for entry in server.ledger.fired) == [1, 2, 3, 4, 5, 6]
    ran = batch(server, rows, "--skip-invalid", "--json")
    assert (ran.code, ran.summary["accepted"], ran.summary["lines"]["invalid"]) == (1, 11, [7])
    assert "line 7: invalid: " in ran.err


def test_bytes_that_are_no_utf_8(server: MockRefold, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b'\n{"slug": "slack", "event": "\xff"}\n' + json.dumps(row(3)).encode())
    assert "line 2: not UTF-8, at byte 29 of it: save the file as UTF-8" in batch(server, rows).err
    assert batch(server, rows, "--skip-invalid", "--json").summary["accepted"] == 1


def test_a_line_without_an_end_does_not_fill_the_memory(server: MockRefold, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as file:
        file.write(b"[" + b" " * (LONGEST_LINE + 70_000) + b"]\n")
        file.write(json.dumps(row(2)).encode() + b"\n")
        file.write(b" " * (LONGEST_LINE + 1))
    ran = batch(server, rows, "--skip-invalid", "--json")
    assert (ran.summary["accepted"], ran.summary["lines"]["invalid"]) == (1, [1, 3])
    assert "line 1: invalid: longer than 16 MiB" in ran.err


def test_a_line_of_csv_without_an_end(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("slug,event,n\nslack,E," + "1" * (LONGEST_LINE + 1) + "\nslack,E,2\n")
    ran = batch(server, table, "--skip-invalid", "--json")
    assert (ran.summary["accepted"], ran.summary["lines"]["invalid"]) == (1, [2])
    assert "line 2: invalid: longer than 16 MiB" in ran.err


def test_an_input_that_breaks_off_is_told_from_one_that_ends(
    server: MockRefold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [json.dumps(row(1)).encode() + b"\n" + json.dumps(row(2)).encode()]

    def read(_: Input) -> bytes:
        if chunks:
            return chunks.pop()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Input, "read", read)
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    ran = batch(server, rows, "--json")
    assert (ran.code, ran.summary["accepted"]) == (2, 1), "half a line is no row"
    assert f"reading {rows} failed after line 1: Input/output error" in ran.err


BAD_TABLES = [
    ("slug,payload\nslack,{}\n", "line 1, the header: there is no column 'event', only slug, payload. Add it"),
    ("slug;event,x\nslack;E,1\n", "there are commas and semicolons in it: say which separate the columns, as with"),
    ("slug,event,slug\n", "line 1, the header: the column 'slug' is there twice"),
    ("slug,,event\n", "line 1, the header: column 2 has no name"),
    ("\nSlug,event\nslack,E\n", "line 2, the header: the column 'Slug' must be spelled 'slug'"),
    ("slug,event,Linked Account-ID\n", "must be spelled 'linked_account_id'"),
    ('slug,"event\n', "line 1, the header: not CSV"),
    ("slug,event\n", "has no rows: line 1 should name the columns"),
]


@pytest.mark.parametrize(("text", "words"), BAD_TABLES)
def test_a_bad_header(server: MockRefold, tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(text)
    for more in ([], ["--skip-invalid"], ["--dry-run"]):
        ran = batch(server, table, *more)
        assert ran.code == 2
        assert words in ran.err
        assert str(table) in ran.err
    assert server.ledger.requests == 0


BAD_CELLS = [
    ("slack,E\n", "it has 2 cells, and the header 4"),
    ("slack,E,{},1,2\n", "it has 5 cells, and the header 4: is a cell with a comma in it without quotes?"),
    ("slack,E,{,1\n", "the cell payload is not JSON: Expecting property name"),
    ("slack,E,[],1\n", "payload is an array"),
    ('slack,E,"{""n"": 1}",1\n', "'n' is a column and also in the cell payload"),
    ('slack,E,{},"a"b\n', "not CSV: "),
    ("slack,E,{},\udcff\n", "not UTF-8"),
    (",E,{},1\n", "there is no slug"),
]


@pytest.mark.parametrize(("text", "words"), BAD_CELLS)
def test_a_bad_row_of_csv(server: MockRefold, tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "rows.csv"
    good = 'slack,E,,"1\n1"\n'
    table.write_text("slug,event,payload,n\n" + good + text + good, errors="surrogateescape")
    ran = batch(server, table)
    assert ran.code == 2
    assert f"{table}, line 4: " in ran.err, "a record is named by its first line"
    assert words in ran.err
    assert len(server.ledger.fired) == 1
    assert batch(server, table, "--skip-invalid", "--json").summary["accepted"] == 2


def test_a_quote_that_is_never_closed(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('slug,event,n\nslack,E,1\nslack,E,"2\nslack,E,3\n')
    ran = batch(server, table, "--skip-invalid", "--json")
    assert (ran.summary["accepted"], ran.summary["lines"]["invalid"]) == (2, [3]), "no row is lost but its own"
    assert "line 3: invalid: a quote in it is never closed; read as one row, it reaches to line 4 (2 lines)" in ran.err


@pytest.mark.parametrize("text", ["", "\n \n"])
@pytest.mark.parametrize("more", [[], ["--skip-invalid"], ["--dry-run"]])
def test_an_empty_input(server: MockRefold, tmp_path: Path, text: str, more: list[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(text)
    ran = batch(server, rows, *more)
    assert ran.code == 2
    assert f"{rows} has no rows: line 1 should be an object such as" in ran.err
    ran = batch(server, "-", *more, stdin=text)
    assert ran.code == 2
    assert "standard input has no rows" in ran.err


def test_what_cannot_be_read(server: MockRefold, tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.jsonl", "No such file"), (tmp_path, "Is a directory")):
        ran = batch(server, path, "--json")
        assert ran.code == 2
        assert f"cannot read {path}: {words}" in ran.err
        assert "Name a file of JSON Lines or CSV, or - for standard input" in ran.err
        assert ran.summary["exit_code"] == 2
    if os.geteuid() != 0:
        secret = write_rows(tmp_path / "secret.jsonl", 1)
        secret.chmod(0)
        assert "Permission denied" in batch(server, secret).err


def test_csv_that_passes_for_json_lines(server: MockRefold) -> None:
    ran = batch(server, "-", stdin="slug,event\nslack,E\n")
    assert "standard input, line 1: not JSON" in ran.err
    assert "if the file is CSV, say --format csv" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "without a --journal"),
        (["--fsync"], "without a --journal"),
        (["--no-rate-limit", "--burst", "5"], "--no-rate-limit goes with neither"),
        (["--rate", "0"], "--rate, --burst: rate must be a number above 0"),
        (["--idempotency-header", "a", "--idempotency-field", "b"], "either header= or payload_field="),
        (["--idempotency-header", "x-api-key"], "already has another meaning"),
        (["--idempotency-header", "K", "--idempotency-window", "0"], "window must be a number above 0"),
        (["--deadline", "0"], "deadline must be seconds above 0"),
        (["--timeout", "-1"], "timeout must be seconds above 0"),
        (["--base-url", "nowhere"], "--base-url must begin with http"),
        (["--format", "xml"], "Invalid value for '--format'"),
        (["--max-concurrency", "0"], "Invalid value for '--max-concurrency'"),
    ],
)
def test_options_that_make_no_sense(server: MockRefold, tmp_path: Path, arguments: list[str], words: str) -> None:
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 1), *arguments)
    assert ran.code == 2
    assert words in ran.err
    assert server.ledger.requests == 0


def test_without_a_credential_nothing_is_read_or_sent(tmp_path: Path, server: MockRefold) -> None:
    ran = batch(server, tmp_path / "none.jsonl", env={})
    assert ran.code == 2
    assert "REFOLD_API_KEY" in ran.err


def test_a_dry_run_lists_every_bad_row_and_sends_nothing(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(1), *(line for line, _ in BAD_LINES), row(28)])
    ran = batch(server, rows, "--dry-run")
    assert ran.code == 1
    listed = [line for line in ran.err.splitlines() if line.startswith("line ")]
    assert len(listed) == len(BAD_LINES)
    for number, (line, (_, words)) in enumerate(zip(listed, BAD_LINES, strict=True), 2):
        assert line.startswith(f"line {number}: ")
        assert words in line
    assert ran.out == f"2 rows can be sent, {len(BAD_LINES)} cannot. This was a dry run: nothing was sent.\n"
    summary = batch(server, rows, "--dry-run", "--json").summary
    assert [bad["line"] for bad in summary["bad"]] == list(range(2, len(BAD_LINES) + 2))
    assert (summary["good"], summary["rows"], summary["exit_code"]) == (2, len(BAD_LINES) + 2, 1)
    assert server.ledger.requests == 0


def test_a_dry_run_needs_no_credential(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    ran = batch(server, rows, "--dry-run", env={"REFOLD_LINKED_ACCOUNT_ID": "a"})
    assert (ran.code, ran.out) == (0, "3 rows can be sent. This was a dry run: nothing was sent.\n")
    ran = batch(server, rows, "--dry-run", env={})
    assert ran.code == 1
    assert "line 1: no linked account" in ran.err
    assert "--linked-account-id for all rows" in ran.err
