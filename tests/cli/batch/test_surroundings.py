"""Signals, streams and limits of the process: what surrounds a batch does not change what becomes of its rows."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refold_async.testing import Fault, MockRefold
from tests.cli.batch.test_signals import arrived, running
from tests.cli.support import PROGRAM, whole_environment, write_rows

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its shell and signals are others")


def shell(server: MockRefold, script: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the batch from a shell: `$BATCH` is the command with its arguments."""
    command = shlex.join([*PROGRAM, "batch", *map(str, arguments)])
    env = whole_environment(server, BATCH=command)
    return subprocess.run(
        ["bash", "-c", script.replace("$BATCH", command)],
        capture_output=True, text=True, timeout=50, env=env, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", 40)


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["for people", "for machines"])
@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_an_output_that_nobody_reads_changes_no_exit_code(
    server: MockRefold, rows: Path, as_json: list[str], fails: bool, code: int
) -> None:
    server.plan(lambda entry: Fault.answer(404) if fails and entry.payload["n"] == 7 else None)
    done = shell(server, "$BATCH | true; exit ${PIPESTATUS[0]}", rows, "--no-rate-limit", *as_json)
    assert (done.returncode, len(server.ledger.fired)) == (code, 40 - fails)
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["for people", "for machines"])
def test_a_full_disk_behind_the_output_changes_no_exit_code_and_is_mentioned(
    server: MockRefold, rows: Path, as_json: list[str]
) -> None:
    done = shell(server, "$BATCH > /dev/full", rows, "--no-rate-limit", *as_json)
    assert (done.returncode, len(server.ledger.fired)) == (0, 40)
    assert done.stderr.count("standard output could not be written") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_closed_streams_change_no_exit_code(server: MockRefold, rows: Path, closed: str) -> None:
    if "/dev/full" in closed and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = shell(server, f"$BATCH {closed}", rows, "--no-rate-limit")
    assert (done.returncode, len(server.ledger.fired)) == (0, 40)


def test_few_file_descriptors_cost_nothing_but_speed(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 200)
    with MockRefold(rate_limit=None, latency=0.02) as server:
        arguments: list[str | Path] = [
            "--no-rate-limit",
            "--max-concurrency",
            "100",
            "--json",
            "--journal",
            tmp_path / "run.jsonl",
        ]
        done = shell(server, "ulimit -n 40; $BATCH", rows, *arguments)
        assert (done.returncode, json.loads(done.stdout)["accepted"]) == (0, 200), done.stderr
        assert (server.ledger.requests, len(server.ledger.fired)) == (200, 200)


def test_hanging_up_lets_what_is_on_the_wire_finish(tmp_path: Path) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 150), tmp_path / "run.jsonl"
    with (
        MockRefold(rate_limit=None, latency=0.3) as server,
        running(server, rows, "--journal", journal, "--json", "--rate", "40") as process,
    ):
        arrived(server, 12)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)  # the kernel and the shell both send it
        out, _ = process.communicate(timeout=150)
        summary = json.loads(out)
        assert (process.returncode, summary["stopped"], summary["ambiguous"]) == (1, "interrupted", 0)
        assert 12 <= summary["accepted"] == len(server.ledger.fired) < 100


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
def test_signals_that_were_ignored_stay_ignored(tmp_path: Path, name: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 30)
    with MockRefold(rate_limit=None, latency=0.05) as server:
        command = shlex.join([*PROGRAM, "batch", str(rows), "--json", "--rate", "30", "--burst", "1"])
        with subprocess.Popen(
            ["bash", "-c", f"trap '' {name}; exec {command}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=whole_environment(server),
        ) as process:  # fmt: skip
            arrived(server, 5)
            os.kill(process.pid, getattr(signal, f"SIG{name}"))
            out, _ = process.communicate(timeout=150)
        assert (process.returncode, json.loads(out)["accepted"]) == (0, 30)


def test_after_ctrl_c_what_was_not_sent_does_not_count_as_done(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 150)
    with MockRefold(rate_limit=None, latency=0.3) as server:
        with running(server, rows, "--json", "--rate", "40") as process:
            arrived(server, 12)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=150)
        summary = json.loads(out)
        assert (summary["not_sent"], summary["lines"]["not_sent"]) == (0, [])


def test_a_run_from_standard_input_is_resumed_without_a_temporary_folder(server: MockRefold, tmp_path: Path) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 6), tmp_path / "run.jsonl"
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] == 2 else None)
    arguments = ["batch", "-", "--no-rate-limit", "--journal", str(journal)]
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']; "

    def run(*more: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", nowhere + PROGRAM[2], *arguments, *more],
            input=rows.read_bytes(), capture_output=True, timeout=50, env=whole_environment(server), check=False,
        ).returncode  # fmt: skip

    assert run() == 1
    server.plan(None)
    assert run("--resume", "--resend-rejected") == 0
    assert sorted(entry.payload["n"] for entry in server.ledger.fired) == [1, 2, 3, 4, 5, 6]
