"""What is shown while a batch runs."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from rich.console import Console

from refold_async.cli.batch.summary import in_words
from refold_async.cli.console.progress import Progress, Status
from refold_async.cli.console.words import counted, duration
from refold_async.testing import Fault, MockRefold
from tests.cli.support import batch, write_rows
from tests.fakes.clock import run


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
        return self.progress.words(self.progress._update())


def test_a_line_says_all_there_is_to_say() -> None:
    shown = Shown()
    for second in range(6):
        done = Status(counts={"accepted": 200 * second}, position=5000 * second, total=100_000)
        shown.after(1, done)
    words = shown.after(
        0,
        Status(
            counts={"accepted": 1000, "rejected": 2, "ambiguous": 1},
            retries=1,
            waiting=7,
            position=25_000,
            total=100_000,
        ),
    )
    assert words == (
        "1,003 done: 1,000 accepted, 2 rejected, 1 ambiguous; 1 retry; 200.8/s; 7 waiting for the rate limit; "
        "about 15 s left"
    )


def test_while_it_is_paused_the_pause_is_shown_in_place_of_the_speed() -> None:
    shown = Shown()
    for second in range(1, 21):
        shown.after(1, Status(counts={"accepted": 10 * second}, position=10 * second, total=1000, of_rows=True))
    words = shown.after(1, Status(counts={"accepted": 200}, position=200, total=1000, paused=50.4, of_rows=True))
    assert words == "200 done: 200 accepted; paused by the server for 50 s; about 80 s left"
    words = shown.after(1, Status(counts={"accepted": 200}, position=200, total=1000, unreachable=300, of_rows=True))
    assert words == "200 done: 200 accepted; waiting: Refold cannot be reached, for 5 min now"


def test_what_is_not_known_is_not_shown() -> None:
    shown = Shown()
    assert shown.after(0, Status()) == "0 done: 0 accepted"
    assert "left" not in shown.after(1, Status(counts={"accepted": 5}, position=50))
    shown.after(1, Status(counts={"accepted": 10}, position=100))
    assert "/s" not in shown.after(40, Status(counts={"accepted": 10}, position=100)), "nothing has ended for long"


def test_without_a_terminal_there_are_lines_that_grow_rarer() -> None:
    class Lines(io.StringIO):
        at: ClassVar[list[float]] = []

        def write(self, text: str) -> int:
            self.at.append(anyio.current_time())
            return super().write(text)

    async def main() -> None:
        started = anyio.current_time()
        progress = Progress(Console(file=Lines()), Status, clock=anyio.current_time)
        with progress.shown(), anyio.move_on_after(36_000):
            await progress.run()
        Lines.at[:] = sorted({at - started for at in Lines.at})

    run("asyncio", main)
    gaps = [later - earlier for earlier, later in pairwise(Lines.at)]
    assert Lines.at[0] == 3
    assert gaps == sorted(gaps)
    assert gaps[-1] == 600
    assert len(gaps) < 100


def test_a_quiet_progress_prints_only_what_went_wrong() -> None:
    written = io.StringIO()

    async def main() -> None:
        progress = Progress(Console(file=written), Status, quiet=True, clock=anyio.current_time)
        with progress.shown(), anyio.move_on_after(100):
            await progress.run()
            progress.say("line 1: rejected")

    run("asyncio", main)
    assert written.getvalue() == "line 1: rejected\n"


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
