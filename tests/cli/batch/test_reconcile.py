"""`refold-async batch --tag` and `refold-async reconcile JOURNAL`: which rows that may have fired are seen to have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from refold_async.cli.app import app
from refold_async.testing import Fault, MockRefold, RunPlan
from tests.cli.support import Ran, batch, edit, entries, environment, forget_ends, plan, row, write_rows

SHOWN = RunPlan(shows_tag=True, tag_field="label")
FIRED, LOST = Fault.close_after_firing(), Fault.close_before_firing()


def reconcile(server: MockRefold, *arguments: str | Path, **more: str) -> Ran:
    """Run `refold-async reconcile` in this process; `REFOLD_BASE_URL` leads to nowhere, for the journal names it."""
    env = environment(server, REFOLD_BASE_URL="http://127.0.0.1:9", **more)
    result = CliRunner().invoke(app, ["reconcile", *map(str, arguments)], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def states(ran: Ran) -> dict[int, str]:
    return {fact["line"]: fact["state"] for fact in ran.summary["rows"]}


def send(
    server: MockRefold, folder: Path, rows: int | list[Any], *arguments: str, faults: dict[int, Fault] | None = None
) -> Path:
    """Send rows with a journal, and return that."""
    server.plan(plan(faults or {}), kind="trigger")
    journal = folder / "rows.journal"
    batch(server, write_rows(folder / "rows.jsonl", rows), "--journal", journal, "--json", *arguments)
    return journal


def test_rows_that_are_seen_to_have_fired_are_told_from_those_that_are_open(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 5, "--tag", faults={2: FIRED, 4: LOST})
        before = journal.read_bytes()
        ran = reconcile(server, journal, "--json")
        assert (ran.code, states(ran)) == (3, {2: "fired", 4: "unresolved"})
        assert (ran.summary["fired"], ran.summary["unresolved"], ran.summary["exit_code"]) == (1, 1, 3)
        [entry] = [entry for entry in server.ledger.fired if entry.payload == {"n": 2}]
        assert ran.summary["rows"][0]["executions"] == [each.id for each in server.runs.of(entry)]
        in_words = reconcile(server, journal)
        assert in_words.code == 3
        assert "1 row seen to have fired; of 1 row nothing is known." in in_words.out
        assert "not fired" not in in_words.out.replace("_", " ")
        assert journal.read_bytes() == before, "the journal is only read"


def test_it_ends_with_0_where_all_are_seen_and_where_there_is_nothing_to_settle(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 3, "--tag", faults={1: FIRED, 3: FIRED})
        ran = reconcile(server, journal, "--json")
        assert (ran.code, states(ran)) == (0, {1: "fired", 3: "fired"})
    (tmp_path / "b").mkdir()
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path / "b", 3, "--tag")
        read = server.ledger.requests
        assert reconcile(server, journal, "--json").summary == {
            "fired": 0, "unresolved": 0, "rows": [], "exit_code": 0
        }  # fmt: skip
        assert "nothing to settle" in reconcile(server, journal).out
        (tmp_path / "killed.journal").touch()  # before its first line
        assert reconcile(server, tmp_path / "killed.journal").code == 0
        assert server.ledger.requests == read, "and nothing is asked for that"


def test_with_tags_hidden_all_stay_open(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=False)) as server:
        journal = send(server, tmp_path, 4, "--tag", faults={2: FIRED, 3: LOST})
        ran = reconcile(server, journal, "--json")
        assert (ran.code, states(ran)) == (3, {2: "unresolved", 3: "unresolved"})
        assert ran.summary["rows"][0]["candidates"]


def test_a_token_in_the_payload_is_found_in_the_nodes_with_details(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None) as server:
        journal = send(server, tmp_path, 3, "--tag-field", "trigger_id", faults={2: FIRED})
        assert {len(entry.payload) for entry in server.ledger.fired} == {2}
        assert states(reconcile(server, journal, "--json")) == {2: "unresolved"}
        assert states(reconcile(server, journal, "--details", "--json")) == {2: "fired"}


def test_rows_that_were_sent_without_a_tag_say_so(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 1, "--instance-tag", "mine", faults={1: FIRED})
        read = server.ledger.requests
        ran = reconcile(server, journal, "--json")
        assert (ran.code, states(ran)) == (3, {1: "unresolved"})
        assert "--tag" in ran.summary["rows"][0]["why"]
        assert server.ledger.requests == read


def test_a_row_that_was_on_the_wire_when_the_process_was_killed_is_looked_for_too(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 3, "--tag")
        forget_ends(journal, 2)
        with journal.open("ab") as file:
            file.write(b'{"what":"send')  # torn by the kill
        ran = reconcile(server, journal, "--json")
        assert (ran.code, states(ran)) == (0, {2: "fired"})


def test_the_rows_of_each_account_are_looked_for_there_and_read_once(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        rows = [row(n, linked_account_id="b" if n % 2 else "c") for n in range(1, 9)]
        journal = send(server, tmp_path, rows, "--tag", faults=dict.fromkeys((1, 2, 3, 4), FIRED))
        ran = reconcile(server, journal, "--json")
        assert states(ran) == dict.fromkeys((1, 2, 3, 4), "fired")
        assert sorted(entry.account or "" for entry in server.ledger.entries if entry.method == "GET") == ["b", "c"]


def test_a_row_that_was_sent_in_two_runs_has_fired_if_either_is_seen(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        send(server, tmp_path, 2, "--tag", faults={1: FIRED})
        journal = send(server, tmp_path, 2, "--tag", "--resume", "--resend-ambiguous", faults={1: LOST})
        tokens = {entry["token"] for entry in entries(journal) if entry.get("what") == "sending" and entry["line"] == 1}
        assert len(tokens) == 2
        assert states(reconcile(server, journal, "--json")) == {1: "fired"}


def test_the_attempts_of_one_call_share_a_token(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        server.next(Fault.answer(429), kind="trigger")
        journal = tmp_path / "one.journal"
        batch(server, write_rows(tmp_path / "one.jsonl", 1), "--journal", journal, "--tag")
        sends = [entry for entry in entries(journal) if entry.get("what") == "sending"]
        assert (len(sends), len({entry["token"] for entry in sends})) == (2, 1)
        assert len({entry.instance_tag for entry in server.ledger.entries}) == 1


def test_rows_that_went_elsewhere_are_not_looked_for_here(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server, MockRefold(rate_limit=None, runs=SHOWN) as other:
        journal = send(server, tmp_path, 2, "--tag", faults={1: FIRED})
        ran = reconcile(other, journal, "--base-url", other.url)
        assert ran.code == 2
        assert "the rows went to" in ran.err
        send(other, tmp_path, 3, "--tag", "--resume", "--resend-ambiguous", faults={1: LOST, 3: FIRED})
        here = reconcile(other, journal, "--json")
        assert states(here) == {1: "unresolved", 3: "fired"}, "the journal's last host is looked at"
        there = reconcile(server, journal, "--base-url", server.url, "--json")
        assert states(there) == {1: "fired", 3: "unresolved"}
        assert "--base-url" in there.summary["rows"][1]["why"]


def test_what_cannot_be_read_ends_with_1(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 2, "--tag", faults={1: FIRED})
        server.plan(lambda entry: Fault.answer(403), kind="read")
        ran = reconcile(server, journal, "--json")
        assert (ran.code, ran.summary["error"]) == (1, "PermissionDeniedError")


@pytest.mark.parametrize("content", [b"{}\n", b"hello\n", b"\xff\xfe\n", b'{"journal": "other"}\n', None])
def test_what_is_no_journal_is_wrong_usage(server: MockRefold, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.journal"
    if content is not None:
        path.write_bytes(content)
    ran = reconcile(server, path)
    assert ran.code == 2
    assert str(path) in ran.err
    assert reconcile(server, tmp_path).code == 2


@pytest.mark.parametrize("at", ["NaN", "1e400", "-1e30"])
def test_a_time_that_no_clock_has_shown_is_damage(tmp_path: Path, at: str) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 1, "--tag", faults={1: FIRED})
        lines = [
            line.replace(f'"at":{json.loads(line)["at"]}', f'"at":{at}') if '"sending"' in line else line
            for line in journal.read_text().splitlines()
        ]
        journal.write_text("\n".join(lines) + "\n")
        assert at in journal.read_text()
        ran = reconcile(server, journal)
        assert ran.code == 2
        assert "damaged" in ran.err


def test_a_journal_in_use_is_left_alone(server: MockRefold, tmp_path: Path) -> None:
    from refold_async._core.filelock import try_lock

    journal = send(server, tmp_path, 1, "--tag", faults={1: FIRED})
    with journal.open("rb+") as file:
        assert try_lock(file.fileno())
        ran = reconcile(server, journal)
    assert ran.code == 2
    assert "in use" in ran.err


def test_a_tag_of_its_own_does_not_go_with_one_for_all(server: MockRefold, tmp_path: Path) -> None:
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 1), "--tag", "--instance-tag", "mine")
    assert ran.code == 2
    assert "--tag" in ran.err
    assert server.ledger.requests == 0


def test_a_journal_of_an_earlier_version_resumes_with_tags(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, runs=SHOWN) as server:
        journal = send(server, tmp_path, 2, faults={1: LOST})
        edit(journal, lambda entry: {name: value for name, value in entry.items() if name != "base_url"}
             if "resumed" in entry else entry)  # fmt: skip
        send(server, tmp_path, 2, "--tag", "--resume", "--resend-ambiguous", faults={1: FIRED})
        assert states(reconcile(server, journal, "--json")) == {1: "fired"}
