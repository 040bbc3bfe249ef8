"""`refold-async executions`, `events` and `trigger --wait`: reading what became of events."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from refold_async.cli.app import app
from refold_async.cli.console.output import cell_of
from refold_async.testing import Fault, MockRefold, RunPlan
from tests.cli.support import PROGRAM, Ran, whole_environment
from tests.fakes.server import RawServer, answering, serving

TAGGED = RunPlan(shows_tag=True, tag_field="label")


def run(server: MockRefold | RawServer, *arguments: str, **more: str) -> Ran:
    """Run a command in this process."""
    key = getattr(server, "api_key", "tk_mock_0000")
    env = {"REFOLD_API_KEY": key, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "a", **more}
    result = CliRunner().invoke(app, list(arguments), env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def test_executions_are_listed_for_people_with_whole_ids(server: MockRefold) -> None:
    for status in ("COMPLETED", "ERRORED"):
        server.runs.add(
            account="a", workflow="A workflow with a name that is much longer than its column", status=status
        )
    ran = run(server, "executions", "list", COLUMNS="60")
    assert ran.code == 0
    header, *lines = ran.out.splitlines()
    assert header.split()[:3] == ["id", "status", "workflow"]
    assert [line.split()[:2] for line in lines] == [
        [each.id, each.set_status] for each in reversed(server.runs.all())
    ], "the newest first, and no id is cut off"


def test_executions_are_listed_for_machines(server: MockRefold) -> None:
    kept = server.runs.add(account="a", status="ERRORED")
    server.runs.add(account="b", status="ERRORED")
    server.runs.add(account="a")
    ran = run(server, "executions", "list", "--status", "ERRORED", "--source", "SCHEDULE", "--json")
    [found] = ran.summary
    assert (found["id"], found["status"], found["has_ended"], found["linked_account_id"]) == (
        kept.id, "ERRORED", True, "a"
    )  # fmt: skip
    assert [each["linked_account_id"] for each in run(
        server, "executions", "list", "--linked-account-id", "b", "--json"
    ).summary] == ["b"]  # fmt: skip


def test_a_list_ends_at_its_limit_and_reads_no_more_than_it_needs(server: MockRefold) -> None:
    for _ in range(130):
        server.runs.add(account="a")
    newest = [each.id for each in reversed(server.runs.all())]
    assert [each["id"] for each in run(server, "executions", "list", "--json").summary] == newest[:20]
    assert [entry.query["limit"] for entry in server.ledger.entries] == ["20"]
    assert [each["id"] for each in run(server, "executions", "list", "--limit", "120", "--json").summary] == newest[
        :120
    ]
    oldest = run(server, "executions", "list", "--limit", "1", "--oldest-first", "--json").summary
    assert [each["id"] for each in oldest] == newest[-1:]


def test_a_list_can_be_bounded_in_time(server: MockRefold) -> None:
    server.runs.add(account="a")
    assert len(run(server, "executions", "list", "--since", "2020-01-01", "--json").summary) == 1
    assert run(server, "executions", "list", "--since", "2999-01-01T00:00:00Z", "--json").summary == []
    assert run(server, "executions", "list", "--until", "2020-01-01T00:00+02:00", "--json").summary == []


@pytest.mark.parametrize("when", ["yesterday", "", "2026-13-01", "0001-01-01T00:00:00+14:00", "17"])
def test_a_time_that_is_none_is_refused(server: MockRefold, when: str) -> None:
    ran = run(server, "executions", "list", "--since", when)
    assert ran.code == 2
    assert "--since" in ran.err
    assert server.ledger.entries == []


def test_one_execution_is_shown_with_its_nodes(server: MockRefold) -> None:
    run(server, "trigger", "slack", "E", '{"n": 1}')
    [one] = server.runs.all()
    ran = run(server, "executions", "get", one.id)
    assert ran.code == 0
    assert one.id in ran.out
    assert "Success" in ran.out
    document = run(server, "executions", "get", one.id, "--json").summary
    assert document["id"] == one.id
    assert document["nodes"][0]["node_status"] == "Success"


@pytest.mark.parametrize("arguments", [["executions", "get", "0" * 24], ["executions", "list"], ["events", "list"]])
def test_what_refold_refuses_ends_with_1_and_wrong_usage_with_2(server: MockRefold, arguments: list[str]) -> None:
    server.plan(lambda entry: Fault.answer(404), kind="read")
    ran = run(server, *arguments, "--json")
    assert (ran.code, ran.summary["error"], ran.summary["exit_code"]) == (1, "NotFoundError", 1)
    assert run(server, *arguments).err.strip() == ran.summary["message"]
    assert run(server, *arguments, "--base-url", "nowhere").code == 2
    assert "REFOLD_API_KEY" in run(server, *arguments, REFOLD_API_KEY="").err


@pytest.mark.parametrize("execution_id", ["..", ".", " ", "a\0b"])
def test_an_id_that_no_path_can_hold_is_wrong_usage(server: MockRefold, execution_id: str) -> None:
    assert run(server, "executions", "get", execution_id).code == 2
    assert server.ledger.entries == []


def test_events_are_listed_by_name(server: MockRefold) -> None:
    for name in ("Won", "Deal Created", "deal lost"):
        server.events.add(name, {"deal": {"id": 1}})
    ran = run(server, "events", "list")
    assert ran.code == 0
    assert [line.split("  ")[0].strip() for line in ran.out.splitlines()] == [
        "name",
        "Deal Created",
        "Won",
        "deal lost",
    ]
    assert "payload.deal.id" in ran.out
    found = run(server, "events", "list", "--name", "DEAL", "--json").summary
    assert [each["name"] for each in found] == ["Deal Created", "deal lost"]


def test_listing_events_with_a_session_token_says_what_it_needs(server: MockRefold) -> None:
    env = {"REFOLD_BASE_URL": server.url, "REFOLD_SESSION_TOKEN": server.session_token}
    ran = CliRunner().invoke(app, ["events", "list"], env=env)
    assert ran.exit_code == 2
    assert "API key" in ran.stderr
    assert server.ledger.entries == []


@pytest.mark.parametrize(
    "value", ["\x1b[31mred", "a\nb", "a\r\0b", "\ud800", "\u202egnp.exe", "[bold]x[/bold]", ":smile:"]
)
@pytest.mark.asyncio
async def test_what_comes_from_a_server_stays_on_its_line_and_commands_no_terminal(value: str) -> None:
    cell = cell_of(value)
    assert cell.isprintable()
    assert len(cell) == len(value)
    document: dict[str, Any] = {"docs": [{"_id": "1", "status": value, "associated_workflow": {"name": value}}]}
    body = json.dumps(document).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    import anyio.to_thread

    async with serving(answering(answer)) as server:
        ran = await anyio.to_thread.run_sync(lambda: run(server, "executions", "list"))
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert cell.strip() in ran.out


def test_trigger_waits_for_all_executions_that_show_its_tag() -> None:
    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=True, tag_field="x", count=2)) as server:
        server.runs.add(account="a", status="ERRORED")  # of another event
        ran = run(server, "trigger", "slack", "E", "--wait", "--json")
        assert ran.code == 0
        assert (ran.summary["delivery"], ran.summary["problems"]) == ("accepted", [])
        [entry] = server.ledger.fired
        assert {each["id"] for each in ran.summary["executions"]} == {each.id for each in server.runs.of(entry)}
        in_words = run(server, "trigger", "slack", "E", "--wait")
        assert in_words.code == 0
        first, _, *lines = in_words.out.splitlines()
        assert first.startswith("accepted after 1 attempt")
        assert len(lines) == 2
        assert [line.split()[1] for line in lines] == ["COMPLETED", "COMPLETED"]


def test_trigger_waits_for_the_account_that_it_fired_for() -> None:
    with MockRefold(rate_limit=None, runs=TAGGED) as server:
        ran = run(server, "trigger", "slack", "E", "--wait", "--linked-account-id", "other", "--json")
        assert (ran.code, len(ran.summary["executions"])) == (0, 1)
        assert {entry.account for entry in server.ledger.entries} == {"other"}


def test_trigger_that_waited_for_an_execution_that_failed_ends_with_1() -> None:
    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=True, ends="ERRORED")) as server:
        ran = run(server, "trigger", "slack", "E", "--wait", "--json")
        assert (ran.code, ran.summary["delivery"], ran.summary["executions"][0]["status"]) == (1, "accepted", "ERRORED")


def test_trigger_that_waited_in_vain_says_so_and_that_it_fired() -> None:
    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=False)) as server:
        ran = run(server, "trigger", "slack", "E", "--wait", "--wait-timeout", "1")
        assert ran.code == 1
        assert ran.out.startswith("accepted after 1 attempt")
        assert "No execution was found in time" in ran.err
        assert len(server.ledger.fired) == 1


def test_trigger_that_cannot_read_executions_has_fired_all_the_same() -> None:
    with MockRefold(rate_limit=None, runs=TAGGED) as server:
        server.plan(lambda entry: Fault.answer(403), kind="read")
        ran = run(server, "trigger", "slack", "E", "--wait", "--json")
        assert (ran.code, ran.summary["delivery"], len(ran.summary["problems"])) == (1, "accepted", 1)


def test_trigger_that_failed_waits_for_nothing() -> None:
    with MockRefold(rate_limit=None, runs=TAGGED) as server:
        server.next(Fault.answer(404))
        assert run(server, "trigger", "slack", "E", "--wait").code == 1
        assert len(server.ledger.entries) == 1
        assert run(server, "trigger", "slack", "E", "--wait", "--instance-tag", "t").code == 2
        assert len(server.ledger.entries) == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_while_waiting_still_tells_that_it_fired(as_json: bool) -> None:
    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=True, duration=1000.0)) as server:
        line = [*PROGRAM, "trigger", "slack", "E", "--wait", *(["--json"] if as_json else [])]
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=whole_environment(server)
        )
        ends = time.monotonic() + 40
        while len(server.ledger.entries) < 2 and time.monotonic() < ends:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=150)
    assert process.returncode == 1
    if as_json:
        assert json.loads(out)["delivery"] == "accepted"
        assert "stopped" in json.loads(out)["problems"][-1]
    else:
        assert out.startswith("accepted")
        assert "The event has fired" in err
    assert "Traceback" not in err
