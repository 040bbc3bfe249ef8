"""What a user of command lines takes for granted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from refold_async import __version__
from refold_async.cli.app import app
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, environment, row, write_rows

COMMANDS = ["demo", "trigger", "batch", "reconcile", "executions", "events", "mock-server"]


def invoke(*arguments: str, **env: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", **env})
    return done.exit_code, done.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_each_command_helps(command: str, flag: str) -> None:
    code, output = invoke(command, flag)
    assert code == 0
    assert "Usage" in output


@pytest.mark.parametrize("command", ["trigger", "batch"])
def test_the_commands_that_send_show_examples(command: str) -> None:
    assert "Examples" in invoke(command, "-h")[1]


def test_no_option_turns_the_checks_of_certificates_off() -> None:
    for command in COMMANDS:
        output = invoke(command, "-h")[1].lower()
        assert not [word for word in ("insecure", "no-verify", "verify") if f"--{word}" in output]


def test_verbose_may_stand_before_and_after_the_command(server: MockRefold) -> None:
    arguments = ["trigger", "slack", "E"]
    for line in (["-v", *arguments], [*arguments, "-v"], [*arguments, "--verbose"]):
        done = subprocess.run(
            [sys.executable, "-m", "refold_async", *line],
            capture_output=True, text=True, timeout=50, check=False, env={**os.environ, **environment(server)},
        )  # fmt: skip
        assert done.returncode == 0
        assert "attempt 1: accepted" in done.stderr.lower()


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "refold_async", "--version"], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == f"refold-async {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_completes_in_shells(shell: str) -> None:
    env = {**os.environ, "_REFOLD_ASYNC_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [sys.executable, "-m", "refold_async"], capture_output=True, text=True, timeout=50, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    assert "refold-async" in done.stdout


def test_the_cause_of_an_error_is_printed(server: MockRefold) -> None:
    server.refuse()
    code, output = invoke("trigger", "slack", "E", "--deadline", "2", **environment(server))
    assert code == 1
    assert "refused" in output.lower() or "Connect call failed" in output


def test_without_a_journal_there_is_a_hint_and_quiet_leaves_it_out(
    server: MockRefold, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", [row(n) for n in range(1, 4)])
    assert "there is no --journal FILE" in batch(server, rows).err
    quiet = batch(server, rows, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] == 2 else None)
    failing = batch(server, rows, "-q")
    assert (failing.code, failing.out) == (1, "")
    assert failing.err.startswith("line 2: rejected")
    assert batch(server, rows, "-q", "--json").summary["rejected"] == 1
