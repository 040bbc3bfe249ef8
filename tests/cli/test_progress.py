"""What is shown while a batch runs."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from refold_async.cli import _progress
from refold_async.cli._progress import Progress, Status, counted, duration
from refold_async.cli._summary import in_words
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, write_rows


class Shown:
    """A progress whose status and clock the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.status = Status()
        self.written = io.StringIO()
        self.progress = Progress(Console(file=self.written), lambda: self.status, clock=lambda: self.now)

    def after(self, seconds: float, status: Status) -> str:
        self.now += seconds
        self.status = status
        return self.progress.words(self.progress._sample())


def test_a_line_says_all_there_is_to_say() -> None:
    shown = Shown()
    shown.after(0, Status(total=100_000))
    words = shown.after(
        5, Status(accepted=1200, rejected=2, ambiguous=1, retries=1, waiting=7, position=25_000, total=100_000)
    )
    assert words == (
        "1,203 done: 1,200 accepted, 2 rejected, 1 ambiguous; 1 retry; 240.6/s; 7 waiting for the rate limit; "
        "about 15 s left"
    )


def test_the_rate_is_that_of_the_last_seconds_and_the_time_left_looks_further_back() -> None:
    shown = Shown()
    shown.after(0, Status(total=1000, of_rows=True))
    for second in range(1, 21):
        shown.after(1, Status(accepted=10 * second, position=10 * second, total=1000, of_rows=True))
    for _ in range(10):
        words = shown.after(1, Status(accepted=200, position=200, total=1000, paused=50.4, of_rows=True))
    assert words == "200 done: 200 accepted; 0.0/s; paused by the server for 50 s; about 2 min left"


def test_what_is_not_known_is_not_said() -> None:
    shown = Shown()
    assert shown.after(0, Status()) == "0 done: 0 accepted; 0.0/s"
    assert "left" not in shown.after(1, Status(accepted=5, position=50))


@pytest.mark.asyncio
async def test_without_a_terminal_there_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_PLAIN_EVERY", 0.01)
    shown = Shown()
    looked = anyio.Event()
    looks = 0

    def look() -> Status:
        nonlocal looks
        looks += 1
        if looks == 5:
            looked.set()
        return shown.status

    shown.progress._look = look
    with shown.progress.shown(), anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(shown.progress.run)
            await looked.wait()
            group.cancel_scope.cancel()
    lines = shown.written.getvalue().splitlines()
    assert len(lines) >= 3
    assert set(lines) == {"0 done: 0 accepted; 0.0/s"}


def test_nobody_reading_is_no_reason_to_stop(
    server: MockRefold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Console, "print", broken)
    server.plan(lambda entry: Fault.answer(404) if entry.payload["n"] == 1 else None)
    ran = batch(server, write_rows(tmp_path / "rows.jsonl", 30), "--json")
    assert (ran.code, ran.summary["accepted"]) == (1, 29)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5990, "1 h 40 min"), (90_000, "25 h 0 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_and_lines_in_words() -> None:
    assert (counted(1, "row"), counted(1200, "row")) == ("1 row", "1,200 rows")
    assert counted(2, "retry", "retries") == "2 retries"
    assert in_words([3, 7, 8, 9, 12]) == "3, 7-9, 12"
    assert in_words(list(range(1, 2001))) == "1-2000"
    assert in_words(list(range(1, 100, 2))).endswith("57, 59 and 20 more")
