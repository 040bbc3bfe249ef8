"""`refold-async outbox`, as a person uses it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from refold_async import Delivery, HeldError, Receipt, ServerError, Trigger
from refold_async.cli.app import app
from refold_async.outbox import SQLiteOutbox, State
from tests.cli.support import journal_left
from tests.fakes.outbox import ScriptedClient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refold.db"


def cli(*arguments: object, code: int = 0, stdin: str | None = None) -> str:
    done = CliRunner().invoke(app, ["outbox", *map(str, arguments)], input=stdin)
    assert done.exit_code == code, done.output
    return done.output


def in_outbox(path: Path, work: Any) -> Any:
    async def main() -> Any:
        async with SQLiteOutbox(path, synchronous="normal") as outbox:
            return await work(outbox)

    return asyncio.run(main())


def hold(path: Path, *keys: str) -> None:
    async def doubt(call: dict[str, Any]) -> Receipt:
        raise ServerError("bad gateway", status_code=502, delivery=Delivery.AMBIGUOUS)

    async def work(outbox: SQLiteOutbox) -> None:
        for key in keys:
            await outbox.put(Trigger("crm", "Placed", {"secret": "payload"}), key=key)
            with pytest.raises(HeldError):
                await outbox.deliver(key, ScriptedClient(doubt))

    in_outbox(path, work)


def states(path: Path) -> dict[str, State]:
    async def work(outbox: SQLiteOutbox) -> dict[str, State]:
        rows, _ = await outbox.due_rows(100)
        return {row.key: row.state for row in rows} | {each.key: each.state for each in await outbox.held()}

    found: dict[str, State] = in_outbox(path, work)
    return found


def test_what_is_held_is_listed_and_ends_with_a_code_of_its_own_until_somebody_said_what_became_of_it(
    path: Path,
) -> None:
    hold(path, "a", "b")
    shown = cli("held", path, code=3)
    assert "bad gateway" in shown
    assert "payload" not in shown
    found = json.loads(cli("held", path, "--json", code=3))
    assert [each["key"] for each in found["held"]] == ["a", "b"]
    assert json.loads(cli("stats", path, "--json", code=3))["held"] == 2
    cli("resolve", path, "a", "--fired")
    assert json.loads(cli("resolve", path, "b", "--not-fired", "--json"))["state"] == "queued"
    assert "No event is held." in cli("held", path)
    assert json.loads(cli("stats", path, "--json"))["queued"] == 1
    assert "accepted" in cli("status", path, "a")


def test_resolve_wants_to_be_told_whether_it_fired(path: Path) -> None:
    hold(path, "a")
    cli("resolve", path, "a", code=2)
    assert states(path) == {"a": State.AMBIGUOUS}


def test_what_cannot_be_done_is_said_with_its_cure(path: Path) -> None:
    hold(path, "a")
    assert "takes an event that is rejected" in cli("retry", path, "a", code=1)
    assert "no event 'x'" in cli("resolve", path, "x", "--fired", code=2)
    assert "is not there" in cli("stats", path.parent / "nowhere.db", code=2)
    other = path.parent / "letter.txt"
    other.write_text("dear somebody\n" * 100)
    assert "no SQLite database" in cli("stats", other, code=1)


def test_an_accepted_event_is_pruned_when_it_is_old_enough(path: Path) -> None:
    hold(path, "a")
    cli("resolve", path, "a", "--fired")
    assert json.loads(cli("prune", path, "--json")) == {"deleted": 0}
    assert "1 event deleted" in cli("prune", path, "--days", "0")


def test_load_puts_each_row_once_however_often_it_is_repeated(path: Path, tmp_path: Path) -> None:
    rows = tmp_path / "deals.csv"
    rows.write_text("deal\n1\n2\n3\n")
    arguments = ("load", rows, "--into", path, "--slug", "crm", "--event", "Placed", "--linked-account-id", "own")
    assert "3 events in the outbox" in cli(*arguments)
    cli(*arguments)
    assert set(states(path)) == {"deals.csv:2", "deals.csv:3", "deals.csv:4"}
    row = in_outbox(path, lambda outbox: outbox.load("deals.csv:3"))
    assert row.load_trigger() == Trigger("crm", "Placed", {"deal": "2"}, linked_account_id="own")
    rows.write_text("deal\n1\n22\n3\n")
    assert "another trigger of the key 'deals.csv:3'" in cli(*arguments, code=2)


def test_load_leaves_out_rows_that_cannot_be_sent_and_says_which(path: Path) -> None:
    lines = '{"slug": "crm", "event": "E"}\n{"slug": "crm"}\n'
    shown = cli("load", "-", "--into", path, "--prefix", "p", code=1, stdin=lines)
    assert "line 2" in shown
    assert set(states(path)) == {"p:1"}
    assert "--prefix" in cli("load", "-", "--into", path, code=2, stdin=lines)


def test_load_and_import_name_options_and_journals_that_cannot_be_and_make_no_outbox(
    path: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "deals.jsonl"
    rows.write_text('{"slug": "crm", "event": "E"}\n')
    assert "--delimiter is for CSV" in cli("load", rows, "--into", path, "--delimiter", ";", code=2)
    assert "is not a journal" in cli("import", rows, rows, "--into", path, code=2)
    assert "cannot open the journal" in cli("import", tmp_path / "none", rows, "--into", path, code=2)
    assert not path.exists()


def test_import_takes_over_what_a_batch_left(path: Path, tmp_path: Path) -> None:
    rows, journal, place = journal_left(tmp_path)
    shown = cli("import", journal, rows, "--into", path)
    assert "1 event in the outbox" in shown
    assert states(path) == {
        "deals.jsonl:2": State.AMBIGUOUS,
        "deals.jsonl:3": State.AMBIGUOUS,
        "deals.jsonl:4": State.QUEUED,
    }
    row = in_outbox(path, lambda outbox: outbox.load("deals.jsonl:2"))
    assert (row.sent_key, row.sent_place) == ("key", place)
    assert row.is_held
    cli("import", tmp_path / "j", rows, "--into", path)
    rows.write_text("".join(reversed(rows.read_text().splitlines(keepends=True))))
    assert "another row" in cli("import", tmp_path / "j", rows, "--into", tmp_path / "new.db", code=2)


@pytest.mark.parametrize(("line", "state"), [(1, "accepted"), (2, "ambiguous")])
def test_import_stops_at_a_row_that_the_outbox_would_fire_a_second_time(
    path: Path, tmp_path: Path, line: int, state: str
) -> None:
    rows, journal, _ = journal_left(tmp_path)
    loaded = tmp_path / "loaded.jsonl"
    loaded.write_text("\n" * (line - 1) + rows.read_text().splitlines()[line - 1] + "\n")
    cli("load", loaded, "--into", path, "--prefix", "deals.jsonl")
    shown = cli("import", journal, rows, "--into", path, code=2)
    assert f"line {line}: the batch has fired it, or may have" in shown, state


def test_import_counts_as_held_what_is_held(path: Path, tmp_path: Path) -> None:
    rows, journal, _ = journal_left(tmp_path)
    assert "2 held" in cli("import", journal, rows, "--into", path)
    cli("resolve", path, "deals.jsonl:2", "--fired")
    assert "1 held" in cli("import", journal, rows, "--into", path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('id,name\n1,a\n2,"b\n3,c\n4,d"\n5,e\n', "lines 3 to 5: "),
        ("id,name\n1,a\nname,size\n2,b\n", "line 3: it looks like another header"),
    ],
)
def test_load_stops_where_nobody_can_tell_what_the_next_rows_are(path: Path, content: str, words: str) -> None:
    rows = path.parent / "rows.csv"
    rows.write_text(content)
    shown = cli("load", rows, "--into", path, "--slug", "slack", "--event", "E", code=2)
    assert words in shown
    assert "Nothing after it was put into the outbox" in shown
    assert set(states(path)) <= {"rows.csv:2"}


def test_load_reads_rows_as_a_batch_does(path: Path) -> None:
    rows = path.parent / "rows.csv"
    rows.write_text("id,note,size\n1,,\n")
    options = ("--types", "size=number", "--empty", "omit", "--slug", "slack", "--event", "E")
    cli("load", rows, "--into", path, *options)
    row = in_outbox(path, lambda outbox: outbox.load("rows.csv:2"))
    assert row.load_trigger().payload == {"id": "1"}
