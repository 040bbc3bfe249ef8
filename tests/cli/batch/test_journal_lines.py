"""What stands in a journal: one line before each attempt, one for each ending, with what a person looks for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from refold_async import Delivery, RefoldError, Trigger
from refold_async._core.filelock import try_lock
from refold_async._types.outcome import FailedOutcome
from refold_async.cli.batch.journal import Journal
from refold_async.cli.batch.order import digest_of_key
from refold_async.cli.batch.recovery import KIND, VERSION, JournalError, recover
from refold_async.cli.batch.table import RowState, Sent, Table
from refold_async.cli.reading.records import Origin
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, entries, plan, write_rows


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def test_each_ending_stands_with_its_status_its_error_and_the_request_id(
    server: MockRefold, tmp_path: Path, journal: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 4)
    rejected = b'{"message": "no", "request_id": "r-2"}'
    server.plan(plan({2: Fault.answer(404, body=rejected), 3: Fault.close_after_firing(), 4: Fault.html_502()}))
    assert batch(server, rows, "--journal", journal).code == 3
    written = entries(journal)
    ended = {entry.pop("line"): entry for entry in written if entry.get("what") == "ended"}
    for entry in ended.values():
        assert entry.pop("what") == "ended"
        assert entry.pop("at") > 1.7e9
    fired = {"delivery": "accepted", "attempts": 1, "status": 200, "request_id": None, "after_ambiguous": False}
    assert ended == {
        1: fired,
        2: {"delivery": "rejected", "attempts": 1, "status": 404, "request_id": "r-2", "error": "NotFoundError"},
        3: {
            "delivery": "ambiguous",
            "attempts": 1,
            "status": None,
            "request_id": None,
            "error": "RefoldConnectionError",
        },
        4: {"delivery": "ambiguous", "attempts": 1, "status": 502, "request_id": None, "error": "ServerError"},
    }
    assert [entry["attempt"] for entry in written if entry.get("what") == "sending"] == [1] * 4


def test_a_tagged_row_stands_with_what_finds_it_in_refold(server: MockRefold, tmp_path: Path, journal: Path) -> None:
    batch(server, write_rows(tmp_path / "rows.jsonl", 2), "--journal", journal, "--tag")
    sending = [entry for entry in entries(journal) if entry.get("what") == "sending"]
    assert len({entry["token"] for entry in sending}) == 2
    for entry in sending:
        assert (entry["slug"], entry["event"], entry["account"]) == ("slack", "E", "a")


def header(**changed: Any) -> dict[str, Any]:
    return {"journal": KIND, "version": VERSION, "settings": "s", "keys": "header k", "base_url": "u"} | changed


def read(*lines: dict[str, Any] | str, end: str = "\n") -> tuple[Table, Any]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end
    table = Table()
    return table, recover(io.BytesIO(text.encode()), "it", table, "s")


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_journal_of_each_version_so_far_is_read(version: int) -> None:
    _, found = read(header(version=version))
    assert (found.version, found.base_url, found.ends_line) == (version, "u", True)


@pytest.mark.parametrize("version", [0, -1, VERSION + 1, "1", None, 1.5])
def test_a_journal_of_any_other_version_is_left_alone(version: Any) -> None:
    with pytest.raises(JournalError, match="newer refold-async"):
        read(header(version=version))


SENDING = {"what": "sending", "line": 3, "at": 5.0, "digest": "0102030405060708", "key": "k"}


@pytest.mark.parametrize(
    "line",
    [
        {"what": "sending", "line": 0}, {"what": "sending", "line": -1}, {"what": "sending", "line": "3"},
        {"what": "sending", "line": 50_000_001}, {"what": "sending"}, {"what": "sending", "at": "soon"},
        {"what": "sending", "digest": "xyz"}, {"what": "found"}, {"what": "retrying", "delivery": "lost"},
        {"what": "retrying"}, {"what": "ended", "delivery": "lost"}, {"what": "ended"}, {"what": None},
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_damage(line: dict[str, Any]) -> None:
    with pytest.raises(JournalError, match="it, line 2: "):
        read(header(), SENDING | line if line["what"] == "sending" and len(line) > 1 else line)


@pytest.mark.parametrize(
    ("lines", "state", "key"),
    [
        ([SENDING], RowState.AMBIGUOUS, "k"),
        ([SENDING, {"what": "ended", "line": 3, "delivery": "accepted", "status": 200}], RowState.ACCEPTED, None),
        ([SENDING, {"what": "ended", "line": 3, "delivery": "rejected", "status": 404}], RowState.REJECTED, None),
        ([SENDING, {"what": "ended", "line": 3, "delivery": "rejected", "status": 429}], RowState.DEFERRED, None),
        ([SENDING, {"what": "ended", "line": 3, "delivery": "not_sent"}], RowState.NOT_SENT, None),
        ([SENDING, {"what": "ended", "line": 3, "delivery": "ambiguous"}], RowState.AMBIGUOUS, "k"),
        ([SENDING, {"what": "retrying", "line": 3, "delivery": "rejected"}], RowState.NOT_SENT, None),
        ([SENDING, {"what": "retrying", "line": 3, "delivery": "ambiguous"}, SENDING], RowState.AMBIGUOUS, "k"),
        ([SENDING, SENDING | {"key": "other"}], RowState.AMBIGUOUS, None),
        ([{"what": "ended", "line": 3, "delivery": "not_sent"}], RowState.NOT_SENT, None),
        ([{"what": "ended", "line": 3, "delivery": "rejected", "status": 404}], RowState.DEFERRED, None),
    ],
)
def test_the_lines_of_a_row_make_up_its_state(lines: list[dict[str, Any]], state: RowState, key: str | None) -> None:
    table, _ = read(header(), *lines)
    assert table.state(3) == state
    assert list(table.lines(state)) == [3]
    sent = table.sent.get(3)
    assert (sent.key if sent is not None else None) == key
    if lines[0] == SENDING:
        assert table.matches(3, bytes(range(1, 9)))
        assert not table.matches(2, bytes(range(1, 9)))
        assert sent is None or sent.at == 5.0


def test_the_rows_with_an_ordering_key_are_known_by_its_digest() -> None:
    keyed = [SENDING | {"line": line, "ordering_key": key} for line, key in ((2, "a"), (5, "b"), (6, "a"))]
    table, _ = read(header(), SENDING | {"line": 1}, *keyed, SENDING | {"line": 9})
    a, b = digest_of_key("a"), digest_of_key("b")
    assert [(line, key) for line, key, _ in table.keyed()] == [(2, a), (5, b), (6, a)]
    assert {state for _, _, state in table.keyed()} == {RowState.AMBIGUOUS}


@pytest.mark.parametrize(("end", "torn"), [("\n", ""), ("", ""), ("\n", '{"what":"sen'), ("\n", '{"journal"')])
def test_half_a_line_at_the_end_counts_for_nothing(end: str, torn: str) -> None:
    whole = json.dumps(header())
    table = Table()
    found = recover(io.BytesIO((whole + end + torn).encode()), "it", table, "s")
    assert found.size == len(whole + end)
    assert found.ends_line == (end == "\n")


@pytest.mark.parametrize(
    ("content", "resume"),
    [(json.dumps(header()) + "\n", False), ("no journal\n", True), (json.dumps(header(settings="other")) + "\n", True)],
)
def test_a_journal_that_is_refused_is_let_go_of(journal: Path, content: str, resume: bool) -> None:
    journal.write_text(content)
    with pytest.raises(JournalError):
        Journal.open(journal, settings="s", base_url="u", place="header k", source="in", resume=resume)
    with journal.open("rb+") as file:
        assert try_lock(file.fileno())
    assert journal.read_text() == content


@pytest.mark.parametrize(
    ("was_sent", "delivery", "is_written"),
    [
        (False, Delivery.NOT_SENT, False),
        (True, Delivery.NOT_SENT, True),
        (True, Delivery.REJECTED, True),
        (True, Delivery.AMBIGUOUS, True),
        (False, Delivery.REJECTED, True),
    ],
)
def test_an_ending_is_written_but_of_a_row_that_was_never_tried(
    journal: Path, was_sent: bool, delivery: Delivery, is_written: bool
) -> None:
    opened = Journal.open(journal, settings="s", base_url="u", place="header k", source="in", resume=False)
    try:
        origin = Origin(line=3, end=3, digest=bytes(8))
        if was_sent:
            opened.table.sending(3, bytes(8), Sent("k", "header k", 1.0))
        error = RefoldError("it did not work")
        opened.ended(FailedOutcome(0, Trigger("slack", "E", context=origin), delivery, error=error, attempts=1))
        assert (journal.read_text() != "") == is_written
        assert opened.unwritten == []
    finally:
        opened.close()
    assert journal.exists() == is_written, "an empty one that was made for this run is removed"


@pytest.mark.parametrize("state", [RowState.UNSENT, RowState.DEFERRED, RowState.AMBIGUOUS, RowState.ACCEPTED])
def test_a_row_that_cannot_be_sent_is_invalid_unless_it_may_have_fired(state: RowState) -> None:
    table = Table()
    table.set(4, state)
    table.invalid(4)
    stays = state in {RowState.AMBIGUOUS, RowState.ACCEPTED}
    assert table.state(4) == (state if stays else RowState.INVALID)
    table.waits(4)
    assert table.state(4) == (state if stays else RowState.UNSENT)
