"""`refold-async batch`: what is sent for which row, how it ends, and what is shown of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refold_async.cli.app import app
from refold_async.testing import Dedupe, Fault, MockRefold
from tests.cli.support import batch, environment, row, write_rows


def test_each_row_is_fired_once(server: MockRefold, tmp_path: Path) -> None:
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 60))
    assert (ran.code, server.ledger.requests) == (0, 60)
    assert sorted(entry.payload["n"] for entry in server.ledger.fired) == list(range(1, 61))
    assert re.search(r"60 +accepted", ran.out)


def test_all_fields_of_a_row_arrive(server: MockRefold, tmp_path: Path) -> None:
    full = row(1, linked_account_id="b", config_id="c", idempotency_key="k", ordering_key="o")
    bare = {"slug": "pipedrive", "event": "Déjà vu", "payload": None, "config_id": None}
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", [full, bare]), "--config-id", "d", "--instance-tag", "t")
    assert ran.code == 0, ran.err
    first, second = sorted(server.ledger.fired, key=lambda entry: entry.slug, reverse=True)
    assert (first.slug, first.event, first.payload) == ("slack", "E", {"n": 1})
    assert (first.linked_account_id, first.config_id, first.idempotency_key) == ("b", "c", "k")
    assert (second.slug, second.event, second.payload) == ("pipedrive", "Déjà vu", None)
    assert (second.linked_account_id, second.config_id, second.idempotency_key) == ("a", "d", None)
    assert {entry.header("instance_tag") for entry in server.ledger.fired} == {"t"}


def test_options_fill_in_what_rows_leave_out(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"payload": {"n": 1}}, {"slug": "own", "payload": {"n": 2}}])
    assert batch(server, rows, "--slug", "slack", "--event", "E", "--linked-account-id", "z").code == 0
    fired = {entry.payload["n"]: (entry.slug, entry.event, entry.linked_account_id) for entry in server.ledger.fired}
    assert fired == {1: ("slack", "E", "z"), 2: ("own", "E", "z")}


def test_another_account_does_not_get_the_first_ones_configuration(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(1), row(2, linked_account_id="b")])
    assert batch(server, rows, "--config-id", "c").code == 0
    assert {(e.linked_account_id, e.config_id) for e in server.ledger.fired} == {("a", "c"), ("b", None)}


def test_csv_whose_other_columns_are_the_payload(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.CSV"
    table.write_bytes(
        b'\xef\xbb\xbfslug,event,n,note,config_id\r\nslack,E,1,"two\r\nlines, and ""quotes""",c\r\n\r\nslack,E,2,,\r\n'
    )
    assert batch(server, table).code == 0
    by_number = {entry.payload["n"]: entry for entry in server.ledger.fired}
    assert by_number["1"].payload == {"n": "1", "note": 'two\r\nlines, and "quotes"'}
    assert by_number["2"].payload == {"n": "2", "note": ""}
    assert [by_number[n].config_id for n in ("1", "2")] == ["c", None]


def test_csv_with_a_payload_column_and_others(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('slug,event,payload,n\nslack,E,"{""deep"": [1]}",1\nslack,E,,2\n')
    assert batch(server, table).code == 0
    assert sorted((e.payload for e in server.ledger.fired), key=str) == [{"deep": [1], "n": "1"}, {"n": "2"}]


def test_csv_without_other_columns_sends_no_payload(server: MockRefold, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("event,ordering_key\nE,o\n")
    assert batch(server, table, "--slug", "slack").code == 0
    assert server.ledger.fired[0].document == {"event": "E"}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_standard_input(server: MockRefold, form: str) -> None:
    rows = {"jsonl": json.dumps(row(1)) + "\n" + json.dumps(row(2)), "csv": "slug,event,n\nslack,E,1\nslack,E,2"}
    assert batch(server, "-", "--format", form, stdin=rows[form]).code == 0
    assert len(server.ledger.fired) == 2


def test_byte_order_mark_line_ends_and_blank_lines(server: MockRefold, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(1)).encode() + b"\r\n\r\n  \n" + json.dumps(row(2)).encode())
    ran = batch(server, path, "--json")
    assert (ran.code, ran.summary["accepted"]) == (0, 2)


def test_rows_that_share_an_ordering_key_go_in_order(server: MockRefold, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row(n, ordering_key=str(n % 2)) for n in range(30)])
    assert batch(server, rows).code == 0
    arrived = [entry.payload["n"] for entry in server.ledger.fired]
    for key in (0, 1):
        own = [n for n in arrived if n % 2 == key]
        assert own == sorted(own)


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        (Fault.answer(404), 1, "rejected"),
        (Fault.close_after_firing(), 3, "ambiguous"),
        (Fault.html_502(), 3, "ambiguous"),
    ],
)
def test_the_exit_code_and_the_listing(server: MockRefold, tmp_path: Path, fault: Fault, code: int, kind: str) -> None:
    server.plan(lambda entry: fault if entry.payload["n"] in (2, 3, 5) else None)
    rows = write_rows(tmp_path / "rows.jsonl", 6)
    ran = batch(server, rows)
    assert ran.code == code
    assert re.search(rf"3 +{kind} +line 2-3, 5\n", ran.out)
    assert all(f"line {n}: {kind}: " in ran.err for n in (2, 3, 5))
    summary = batch(server, rows, "--json").summary
    assert (summary["accepted"], summary[kind], summary["exit_code"]) == (3, 3, code)
    assert summary["lines"][kind] == [2, 3, 5]
    assert [failure["line"] for failure in sorted(summary["failures"], key=lambda f: f["line"])] == [2, 3, 5]


def test_what_is_ambiguous_outweighs_what_failed(server: MockRefold, tmp_path: Path) -> None:
    server.plan(lambda entry: {1: Fault.answer(404), 2: Fault.close_after_firing()}.get(entry.payload["n"]))
    assert batch(server, write_rows(tmp_path / "rows.jsonl", 3)).code == 3


def test_rows_wait_while_nothing_connects_and_are_not_burnt(server: MockRefold, tmp_path: Path) -> None:
    server.refuse()
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 50), "--max-attempts", "1", "--max-outage", "0.3", "--json")
    assert (ran.code, ran.summary["stopped"]) == (1, "unreachable")
    assert (ran.summary["not_sent"], ran.summary["failures"]) == (0, []), "they were put back"
    assert len(re.findall("pausing", ran.err)) == 1
    assert "127.0.0.1 could not be reached (connect error)" in ran.err


def test_a_wrong_key_stops_it(server: MockRefold, tmp_path: Path) -> None:
    ran = batch(
        server,
        write_rows(tmp_path / "rows.jsonl", 500),
        "--json",
        "--max-concurrency",
        "4",
        env=environment(server, REFOLD_API_KEY="tk_wrong_wrong"),
    )
    assert ran.code == 1
    assert (ran.summary["stopped"], ran.summary["accepted"]) == ("credential", 0)
    assert "401" in ran.err
    assert server.ledger.requests < 20
    assert "tk_wrong_wrong" not in ran.out + ran.err


def test_declared_repeats_are_retried_with_one_key(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, dedupe=Dedupe(payload_field="event_id")) as server:
        server.next(Fault.close_after_firing())
        ran = batch(server, write_rows(tmp_path / "rows.jsonl", 1), "--idempotency-field", "event_id", "--json")
        assert (ran.code, ran.summary["retries"], server.ledger.requests) == (0, 1, 2)
        assert len({entry.payload["event_id"] for entry in server.ledger.entries}) == 1


def test_the_rate_is_kept(server: MockRefold, tmp_path: Path) -> None:
    """A busy machine may take longer. How the pace holds at the write is tested in virtual time."""
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 45), "--json", "--rate", "20")
    assert ran.code == 0
    assert ran.summary["seconds"] > 1.5


def test_a_long_pause_holds_up_the_rows_and_burns_none(server: MockRefold, tmp_path: Path) -> None:
    waits = iter([Fault.throttle("2")])
    server.plan(lambda entry: next(waits, None) if entry.payload["n"] == 30 else None)
    rows = write_rows(tmp_path / "rows.jsonl", 60)
    ran = batch(server, rows, "--json", "--rate", "200", "--deadline", "1.5", "--max-concurrency", "5")
    assert (ran.code, ran.summary["accepted"], ran.summary["retries"]) == (0, 60, 1)
    assert ran.summary["seconds"] > 2


def test_only_the_first_failures_are_told_of_as_they_happen(server: MockRefold, tmp_path: Path) -> None:
    server.plan(lambda entry: Fault.answer(404, body=b'{"message":"no %d"}' % entry.payload["n"]))
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 50), "--keep-going")
    assert len(re.findall(r"^line \d+: rejected", ran.err, re.MULTILINE)) == 20
    assert "Further failures are counted" in ran.err
    assert re.search(r"50 +rejected +line 1-50", ran.out)


def test_failures_with_the_same_message_are_printed_three_times(server: MockRefold, tmp_path: Path) -> None:
    server.plan(lambda _: Fault.answer(404))
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 50), "--keep-going")
    assert len(re.findall(r"^line \d+: rejected", ran.err, re.MULTILINE)) == 3
    assert len(re.findall("Further failures", ran.err)) == 1


def test_a_terminal_gets_a_bar(server: MockRefold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    command = ["batch", str(write_rows(tmp_path / "rows.jsonl", 5)), "--no-rate-limit"]
    result = CliRunner().invoke(app, command, env=environment(server), color=True)
    assert result.exit_code == 0
    assert "100 %" in result.stderr
    assert "━" in result.stderr


def test_no_option_takes_a_credential() -> None:
    helped = CliRunner().invoke(app, ["batch", "--help"], env={"COLUMNS": "200"}).output
    assert "--journal" in helped
    assert "--api-key" not in helped
    assert "--session-token" not in helped
