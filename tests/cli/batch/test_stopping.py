"""When a batch stops by itself: the first rows all fail alike, too many failures, nothing that could ever connect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import (
    AcceptedOutcome,
    APIError,
    BadRequestError,
    Delivery,
    FailedOutcome,
    NotFoundError,
    Outcome,
    Receipt,
    Trigger,
)
from refold_async.cli.batch.trials import FIRST_ROWS, Trials
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, environment, row, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 500)


def test_a_wrong_event_name_costs_at_most_twenty_requests(server: MockRefold, rows: Path) -> None:
    server.plan(lambda _: Fault.answer(400, body=b'{"message":"Trigger with name E not found"}'))
    ran = batch(server, rows, "--max-concurrency", "100", "--json")
    assert (ran.code, ran.summary["stopped"]) == (1, "alike")
    assert server.ledger.requests <= 20
    assert "the first 10 rows of the event 'E' (slack) were all rejected alike" in ran.err
    assert "Trigger with name E not found" in ran.err
    assert ran.summary["not_sent"] == 0, "what was not tried is not counted as done"


def test_a_wrong_event_name_in_mid_file_costs_no_more(server: MockRefold, tmp_path: Path) -> None:
    server.plan(lambda entry: Fault.answer(404) if entry.event == "Wrong" else None)
    rows = [row(n, event="Wrong" if n > 100 else "E") for n in range(1, 500)]
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", rows), "--json")
    assert (ran.code, ran.summary["stopped"], ran.summary["accepted"]) == (1, "alike", 100)
    assert server.ledger.requests <= 100 + 20


def test_keep_going_sends_them_all(server: MockRefold, rows: Path) -> None:
    server.plan(lambda _: Fault.answer(404))
    ran = batch(server, rows, "--keep-going", "--json")
    assert (ran.code, ran.summary["rejected"], ran.summary["stopped"]) == (1, 500, None)


def test_first_rows_that_fail_each_in_its_own_way_stop_nothing(server: MockRefold, tmp_path: Path) -> None:
    server.plan(lambda entry: Fault.answer(400 if entry.payload["n"] % 2 else 404))
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 60), "--json")
    assert (ran.summary["rejected"], ran.summary["stopped"]) == (60, None)


def test_max_failures_stops_it(server: MockRefold, rows: Path) -> None:
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] % 3 == 0 else None)
    ran = batch(server, rows, "--max-failures", "7", "--max-concurrency", "4", "--json")
    assert (ran.code, ran.summary["stopped"]) == (1, "failures")
    assert 7 <= ran.summary["rejected"] <= 7 + 4
    assert "7 rows failed, as many as --max-failures allows" in ran.err


def test_a_host_that_does_not_exist_stops_it_at_once(server: MockRefold, rows: Path) -> None:
    env = environment(server, REFOLD_BASE_URL="http://nowhere.invalid")
    ran = batch(server, rows, "--json", env=env)
    assert (ran.code, ran.summary["stopped"], ran.summary["not_sent"]) == (1, "unreachable", 0)
    assert "check --base-url and --cacert" in ran.err


def test_a_certificate_that_is_not_trusted_stops_it_at_once_and_cacert_trusts_it(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 100)
    with MockRefold(rate_limit=None, tls=True) as server:
        ran = batch(server, rows, "--json")
        assert (ran.code, ran.summary["stopped"], server.ledger.requests) == (1, "unreachable", 0)
        trusted = tmp_path / "ca.pem"
        trusted.write_bytes(server.ca_pem)
        assert batch(server, rows, "--cacert", trusted).code == 0


def test_after_a_wrong_key_its_message_is_printed_once(server: MockRefold, rows: Path) -> None:
    ran = batch(server, rows, "--json", env=environment(server, REFOLD_API_KEY="tk_wrong_wrong"))
    assert ran.summary["stopped"] == "credential"
    assert ran.err.count("Invalid Credentials") == 1


def outcome(n: int, kind: type[APIError] | None, status: int = 400) -> Outcome:
    sent = Trigger("slack", "E", {"n": n})
    if kind is None:
        return AcceptedOutcome(n, sent, Delivery.ACCEPTED, receipt=Receipt(message="", status_code=200))
    return FailedOutcome(n, sent, Delivery.REJECTED, error=kind("no", delivery=Delivery.REJECTED, status_code=status))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([BadRequestError, NotFoundError, None])), max_size=80))
def test_an_event_whose_rows_all_fail_alike_costs_ten_and_others_cost_nothing(
    steps: list[tuple[bool, type[APIError] | None]],
) -> None:
    trials = Trials()
    out: list[int] = []
    seen: list[Any] = []
    sent = 0
    for starts, kind in steps:
        probe = Trigger("slack", "E")
        if starts and trials.may_go(probe):
            trials.goes(probe)
            sent += 1
            out.append(sent)
        elif out:
            stop = trials.ended(outcome(out.pop(0), kind))
            seen.append(kind)
            alike = len(set(seen)) == 1 and seen[0] is not None
            assert (stop is not None) == (alike and len(seen) == FIRST_ROWS)
            if stop is not None:
                assert sent <= FIRST_ROWS
                return
        passed = None in seen or len(set(seen)) > 1
        assert trials.may_go(probe) == (passed or len(seen) + len(out) < FIRST_ROWS)


def test_failed_and_ambiguous_rows_go_to_files_that_can_be_fed_in_again(server: MockRefold, tmp_path: Path) -> None:
    faults = {3: Fault.answer(404), 5: Fault.close_after_firing(), 7: Fault.answer(400)}
    server.plan(lambda entry: faults.get(entry.payload["n"]))
    failed, ambiguous = tmp_path / "failed.jsonl", tmp_path / "ambiguous.jsonl"
    rows = [row(n, linked_account_id=f"acct_{n}", config_id="c") for n in range(1, 10)]
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", rows), "--failed-to", failed, "--ambiguous-to", ambiguous)
    assert ran.code == 3
    assert [json.loads(line) for line in failed.read_text().splitlines()] == [rows[2], rows[6]]
    assert [json.loads(line) for line in ambiguous.read_text().splitlines()] == [rows[4]]
    assert "has 2 rows, to be fed in again" in " ".join(ran.out.split())
    server.plan(None)
    server.ledger.clear()
    assert batch(server, failed, "--failed-to", tmp_path / "none.jsonl").code == 0
    assert [entry.linked_account_id for entry in server.ledger.fired] == ["acct_3", "acct_7"]
    assert not (tmp_path / "none.jsonl").exists(), "it is made only when there is something to write"


def test_a_file_that_is_there_is_not_written_over(server: MockRefold, rows: Path) -> None:
    ran = batch(server, rows, "--failed-to", rows)
    assert (ran.code, server.ledger.requests) == (2, 0)
    assert "is there already" in ran.err
