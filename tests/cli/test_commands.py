"""The command line, as a user sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from refold_async import __version__
from refold_async.cli import main
from refold_async.cli.app import app
from refold_async.testing import Fault, MockRefold

runner = CliRunner()
PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]


def environment(server: MockRefold, **more: str) -> dict[str, str]:
    return {"REFOLD_API_KEY": server.api_key, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "a", **more}


def test_the_demo_tells_the_truth_in_plain_text() -> None:
    result = runner.invoke(app, ["demo", "--events", "300", "--rate", "500"])
    assert result.exit_code == 0, result.output
    assert "Every verdict is true." in result.output
    assert "\x1b[" not in result.output
    rows = re.findall(r"(ACCEPTED|REJECTED|NOT_SENT|AMBIGUOUS)\D+(\d+)\D+(\d+)", result.output)
    counts = {verdict: (int(said), int(fired)) for verdict, said, fired in rows}
    assert sum(said for said, _ in counts.values()) == 300
    assert counts["ACCEPTED"][0] == counts["ACCEPTED"][1] > 250
    assert "fired twice: 0" in result.output


def test_the_demo_for_machines() -> None:
    result = runner.invoke(app, ["demo", "--events", "20", "--rate", "500", "--json"])
    summary = json.loads(result.stdout)
    assert result.exit_code == 0
    assert summary["truthful"] is True
    assert sum(summary["verdicts"].values()) == 20


def test_the_demo_on_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = runner.invoke(app, ["demo", "--events", "20", "--rate", "500"], color=True)
    assert result.exit_code == 0
    assert "20/20" in result.output


def test_trigger(server: MockRefold) -> None:
    arguments = ["trigger", "pipedrive", "Deal Created", '{"n": 1}', "--config-id", "c", "--idempotency-key", "k"]
    result = runner.invoke(app, arguments, env=environment(server))
    assert (result.exit_code, result.output) == (0, "accepted after 1 attempt(s): Webhook Fired Success\n")
    [entry] = server.ledger.fired
    assert (entry.payload, entry.config_id, entry.idempotency_key) == ({"n": 1}, "c", "k")


@pytest.mark.parametrize(
    ("fault", "code", "delivery"),
    [(None, 0, "accepted"), (Fault.answer(404), 1, "rejected"), (Fault.close_after_firing(), 3, "ambiguous")],
)
def test_trigger_ends_with_the_verdict(server: MockRefold, fault: Fault | None, code: int, delivery: str) -> None:
    server.next(fault)
    result = runner.invoke(app, ["trigger", "slack", "E", "--json"], env=environment(server))
    assert result.exit_code == code
    assert json.loads(result.stdout)["delivery"] == delivery


def test_trigger_that_was_not_sent_is_a_failure(server: MockRefold) -> None:
    server.refuse()
    result = runner.invoke(app, ["trigger", "slack", "E", "--deadline", "0.2"], env=environment(server))
    assert result.exit_code == 1
    assert "not sent" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["slack", "E", "{"], "PAYLOAD is not JSON"),
        (["slack", "E", "[1]"], "payload must be a JSON object"),
        (["slack", "E", "@nowhere.json"], "Write @FILE for a file, and - for standard input"),
        (["slack", "E "], "event ends with a space"),
        (["slack", "E", "--linked-account-id", "a\u200b"], "holds the invisible character U+200B"),
        (["../x", "E"], "slug"),
        (["slack", "E", "--base-url", "nowhere"], "--base-url"),
        (["slack", "E", "--cacert", __file__], f"--cacert {__file__!r} is not a readable file"),
        (["slack"], "Missing argument"),
    ],
)
def test_wrong_usage(server: MockRefold, arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["trigger", *arguments], env=environment(server))
    assert result.exit_code == 2
    assert words in result.stderr
    assert server.ledger.requests == 0


def test_without_a_credential_it_says_where_one_goes() -> None:
    result = runner.invoke(app, ["trigger", "slack", "E"])
    assert result.exit_code == 2
    assert "REFOLD_API_KEY" in result.stderr


def test_no_option_takes_a_credential() -> None:
    result = runner.invoke(app, ["trigger", "--help"], env={"COLUMNS": "200"})
    assert "--api-key" not in result.output
    assert "--session-token" not in result.output


def test_version_and_help() -> None:
    assert runner.invoke(app, ["--version"]).output == f"refold-async {__version__}\n"
    helped = runner.invoke(app, ["--help"]).output
    assert all(command in helped for command in ("demo", "trigger", "mock-server"))


@pytest.fixture
def _signals() -> Iterator[None]:
    """Put back the handlers that the command installs."""
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    yield
    for which, handler in before.items():
        signal.signal(which, handler)


@pytest.mark.usefixtures("_signals")
def test_mock_server_serves_and_sums_up() -> None:
    arguments = ["mock-server", "--port", "0", "--rate", "0", "--dedupe-header", "X-Key", "--seconds", "0.05"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    assert "mock Refold at http://127.0.0.1:" in result.output
    assert "0 requests (none), 0 events fired" in result.output


@pytest.mark.usefixtures("_signals")
def test_mock_server_on_a_port_that_is_taken(server: MockRefold) -> None:
    result = runner.invoke(app, ["mock-server", "--port", str(server.port)])
    assert result.exit_code == 2
    assert "Try --port 0" in result.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_mock_server_stops_when_asked(how: signal.Signals) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*PROGRAM, "mock-server", "--port", "0"], stdout=subprocess.PIPE, text=True, env=env
    ) as server:
        assert server.stdout is not None
        killer = threading.Timer(30, server.kill)
        killer.start()
        url = server.stdout.readline().split()[3]
        fired = subprocess.run(
            [*PROGRAM, "--verbose", "trigger", "slack", "E", "--linked-account-id", "a"],
            env={**env, "REFOLD_API_KEY": "tk_mock_0000", "REFOLD_BASE_URL": url},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert fired.returncode == 0, fired.stderr
        assert "attempt 1: accepted" in fired.stderr
        server.send_signal(how)
        rest = server.stdout.read()
        assert server.wait(10) == 0
        killer.cancel()
    assert "1 request (200: 1), 1 event fired" in rest


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"refold-async\[cli\]"):
        main()
