"""Ctrl-C, standard input that is slow, and input without end: with real processes, because signals are theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from refold_async.testing import Fault, MockRefold
from tests.cli.support import PROGRAM, batch, entries, row, whole_environment, write_rows

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")


@contextmanager
def running(server: MockRefold, *arguments: str | Path, stdin: int | IO[Any] | None = None) -> Iterator[Any]:
    """Run the batch as a process of its own, and make sure that it ends."""
    command = [*PROGRAM, "batch", *map(str, arguments)]
    env = whole_environment(server, PYTHONUNBUFFERED="1")
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        killer = threading.Timer(40, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            process.kill()


def arrived(server: MockRefold, number: int) -> None:
    assert server.ledger.wait_for(lambda ledger: ledger.requests >= number, timeout=20), server.ledger.requests


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_once_lets_what_is_on_the_wire_finish_and_sums_up(tmp_path: Path, how: signal.Signals) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 150), tmp_path / "run.jsonl"
    with MockRefold(rate_limit=None, latency=0.3) as server:
        with running(server, rows, "--journal", journal, "--json", "--rate", "40") as process:
            arrived(server, 12)
            process.send_signal(how)
            out, err = process.communicate(timeout=150)
        summary = json.loads(out)
        assert (process.returncode, summary["stopped"], summary["ambiguous"]) == (1, "interrupted", 0)
        assert "Stopping: what is on the wire may finish" in err
        assert 12 <= summary["accepted"] == len(server.ledger.fired) < 100
        accepted = {entry["line"] for entry in entries(journal) if entry.get("delivery") == "accepted"}
        assert accepted == {entry.payload["n"] for entry in server.ledger.fired}
        ran = batch(server, rows, "--journal", journal, "--resume", "--json", "--max-concurrency", "50")
        assert (ran.code, ran.summary["accepted"]) == (0, 150)
        assert set(server.ledger.count_fired_by("n").values()) == {1}


def test_ctrl_c_cuts_off_after_the_grace_what_never_answers(tmp_path: Path) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 100), tmp_path / "run.jsonl"
    with MockRefold(rate_limit=None) as server:
        server.plan(lambda entry: Fault.stall_head() if entry.payload["n"] == 3 else None)
        with running(server, rows, "--journal", journal, "--json", "--max-concurrency", "4", "--rate", "50") as process:
            arrived(server, 10)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=150)
        assert time.monotonic() - started < 9
        assert process.returncode == 3
        assert json.loads(out)["lines"]["ambiguous"] == [3]


def test_ctrl_c_twice_leaves_at_once_with_a_journal_that_can_be_used(tmp_path: Path) -> None:
    rows, journal = write_rows(tmp_path / "rows.jsonl", 60), tmp_path / "run.jsonl"
    with MockRefold(rate_limit=None) as server:
        server.plan(lambda entry: Fault.stall_head() if entry.payload["n"] % 10 == 3 else None)
        with running(server, rows, "--journal", journal, "--max-concurrency", "8", "--rate", "100") as process:
            arrived(server, 25)
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline().startswith("Stopping")
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=150)
            assert time.monotonic() - started < 4, "it waited for the grace of five seconds"
        assert process.returncode == 130
        assert f"Left at once: rows that were on the wire may have fired. {journal} has what is known." in err
        server.plan(None)
        ran = batch(server, rows, "--journal", journal, "--resume", "--json")
        fired = server.ledger.count_fired_by("n")
        assert (ran.code, set(fired.values())) == (3, {1})
        assert {3, 13} <= set(ran.summary["lines"]["ambiguous"])
        assert ran.summary["accepted"] + ran.summary["ambiguous"] == 60


def test_ctrl_c_while_standard_input_is_idle(server: MockRefold) -> None:
    with running(server, "-", "--json", stdin=subprocess.PIPE) as process:
        process.stdin.write(json.dumps(row(1)) + "\n")
        process.stdin.flush()
        arrived(server, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 1, "it waited for input"
        assert json.loads(process.stdout.read())["accepted"] == 1


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_slow_pipe_is_sent_as_it_comes(server: MockRefold, form: str) -> None:
    with running(server, "-", "--format", form, "--json", "--no-rate-limit", stdin=subprocess.PIPE) as process:
        if form == "csv":
            process.stdin.write("slug,event,n\n")
        for n in range(1, 4):
            text = json.dumps(row(n)) if form == "jsonl" else f'slack,E,"{n}"'
            process.stdin.write(text[:9])
            process.stdin.flush()
            process.stdin.write(text[9:] + "\n")
            process.stdin.flush()
            arrived(server, n)
        out, _ = process.communicate(timeout=150)
    assert (process.returncode, json.loads(out)["accepted"]) == (0, 3)


def test_a_pipe_that_somebody_made_non_blocking(server: MockRefold) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with running(server, "-", "--json", stdin=reader) as process:
        os.close(reader)
        for n in (1, 2):
            os.write(writer, (json.dumps(row(n)) + "\n").encode())
            arrived(server, n)
        os.close(writer)
        assert process.wait(20) == 0


def test_at_a_terminal_it_says_what_it_waits_for(server: MockRefold) -> None:
    ours, theirs = os.openpty()
    with running(server, "-", "--json", stdin=theirs) as process:
        os.close(theirs)
        assert process.stderr.readline() == "Type the rows, one a line; Ctrl-D ends them.\n"
        os.write(ours, (json.dumps(row(1)) + "\n\x04").encode())
        assert process.wait(20) == 0
    os.close(ours)
    assert len(server.ledger.fired) == 1


def test_input_without_end_is_not_read_ahead(server: MockRefold) -> None:
    """What a pipe took in can only sit in its own buffer, and in that of the batch."""
    line = (json.dumps(row(1)) + "\n").encode()
    reader, writer = os.pipe()
    written = 0

    def feed() -> None:
        nonlocal written
        try:
            while True:
                written += os.write(writer, line * 50)
        except BrokenPipeError:
            os.close(writer)

    feeder = threading.Thread(target=feed)
    with running(server, "-", "--rate", "100", stdin=reader) as process:
        os.close(reader)
        feeder.start()
        arrived(server, 50)
        ahead = written - 50 * len(line)
        process.kill()
    feeder.join(10)
    assert not feeder.is_alive()
    assert ahead < 600_000, "64 KiB for each bunch and for the pipe are enough"


def test_a_file_of_a_million_lines_starts_at_once_and_stays_on_disk(server: MockRefold, tmp_path: Path) -> None:
    small = write_rows(tmp_path / "small.jsonl", 1000)
    large = tmp_path / "large.jsonl"
    large.write_bytes(small.read_bytes() * 1000)

    def first_request(rows: Path) -> tuple[int, int]:
        """Return the bytes that were read up to the hundredth request, and the kilobytes that are held then."""
        server.ledger.clear()
        with running(server, rows, "--rate", "1000", "--journal", tmp_path / f"{rows.stem}.journal") as process:
            arrived(server, 100)
            counted, status = Path(f"/proc/{process.pid}/io"), Path(f"/proc/{process.pid}/status")
            read = counted.read_text().partition("rchar:")[2].split()[0] if counted.exists() else "0"
            held = status.read_text().partition("VmRSS:")[2].split()[0] if status.exists() else "0"
            process.kill()
        return int(read), int(held)

    read, held = first_request(small)
    read_large, held_large = first_request(large)
    assert read_large < read + large.stat().st_size / 10
    assert held_large < held + 15_000
