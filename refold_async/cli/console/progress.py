"""Showing how far a batch has come: a bar on a terminal, and elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import anyio
from attrs import field, frozen
from rich import progress as rich_progress
from rich.console import Console, RenderableType
from rich.text import Text

from .words import counted, duration

_EVERY: Final = 0.2
_PLAIN_EVERY: Final = 1.0
"""Seconds between two snapshots, on a terminal and without one."""

_FIRST_LINE: Final = 3.0
_LONGEST_SILENCE: Final = 600.0
_GROWTH: Final = 0.25
"""Without a terminal: seconds to the first line, between two lines at most, and as a share of the time so far."""

_SPEED_OVER: Final = 30.0
"""Seconds over which speeds are measured."""


@frozen(kw_only=True)
class Status:
    """How far a batch has come.

    :ivar counts: rows that have ended, by how; what is "not_sent" here is shown as "not sent".
    :ivar waiting: how many requests wait for the rate limit, and `paused` for how many seconds it is still paused.
    :ivar unreachable: for how many seconds Refold could not be reached; None if it can.
    :ivar position: how much of the input is dealt with, and `total` how much there is of it; None if not known.
    :ivar of_rows: whether those two count rows, not bytes.
    """

    counts: Mapping[str, int] = field(factory=dict)
    retries: int = 0
    waiting: int = 0
    paused: float = 0.0
    unreachable: float | None = None
    position: int = 0
    total: int | None = None
    of_rows: bool = False

    @property
    def done(self) -> int:
        """How many rows have ended, one way or the other."""
        return sum(self.counts.values())


class _Share(rich_progress.ProgressColumn):
    """How much of the input is dealt with: in percent of its bytes, or as M/N of its rows."""

    def render(self, task: rich_progress.Task) -> Text:
        if task.total is None:
            return Text("")
        if task.fields.get("of_rows"):
            return Text(f"{task.completed:.0f}/{task.total:.0f}")
        return Text(f"{task.percentage:.0f} %")


class _Bar(rich_progress.Progress):
    """Rich's own progress, with the counts below the bar, so that they fit into any width."""

    words = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table([task for task in self.tasks if task.visible])
        if self.words:
            yield Text(self.words)


def print_line(console: Console, words: str, *, style: str = "") -> None:
    """Print a sentence: broken between words on a terminal, and whole elsewhere."""
    with contextlib.suppress(OSError):  # nobody reads it: no reason to lose a row
        console.print(Text(words, style=style), soft_wrap=not console.is_terminal)


class Progress:
    """Shows a batch while it runs.

    :param snapshot: returns the status.
    :param quiet: show nothing, and print only what `say` is given.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        console: Console,
        snapshot: Callable[[], Status],
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self._snapshot = snapshot
        self._quiet = quiet
        self._clock = clock
        self._is_live = console.is_terminal and not console.is_dumb_terminal and not quiet
        spinner = "dots" if console.encoding.startswith("utf") and not console.legacy_windows else "line"
        self._bar = _Bar(
            rich_progress.SpinnerColumn(spinner),
            rich_progress.BarColumn(bar_width=None),
            _Share(),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            speed_estimate_period=_SPEED_OVER,
            get_time=clock,
            expand=console.width < 60,
        )
        self._input = self._bar.add_task("input", total=None)
        self._rows = self._bar.add_task("rows", total=None, visible=False)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block lasts; `run` must run meanwhile."""
        self._update()
        if not self._is_live:
            yield
            return
        with self._bar:
            yield
            self._show()

    async def run(self) -> None:
        """Keep it up to date until cancelled."""
        started = self._clock()
        due = started + _FIRST_LINE
        while not self._quiet:
            await anyio.sleep(_EVERY if self._is_live else _PLAIN_EVERY)
            now = self._clock()
            if self._is_live or now >= due:
                self._show()
                due = now + min(_LONGEST_SILENCE, max(_FIRST_LINE, _GROWTH * (now - started)))
            else:
                self._update()  # so that the speed is known when the next line is due

    def say(self, words: str, *, style: str = "") -> None:
        """Print a line, above the bar if there is one."""
        print_line(self.console, words, style=style)

    def _show(self) -> None:
        words = self.words(self._update())
        if not self._is_live:
            self.say(words)
            return
        self._bar.words = words
        with contextlib.suppress(OSError):
            self._bar.refresh()

    def _update(self) -> Status:
        status = self._snapshot()
        done = status.position if status.total is None else min(status.position, status.total)
        self._bar.update(self._input, total=status.total, completed=done, of_rows=status.of_rows)
        self._bar.update(self._rows, completed=status.done)
        return status

    def words(self, status: Status) -> str:
        """Return it in a line."""
        kinds = {"accepted": 0, **status.counts}.items()
        counts = ", ".join(
            f"{count:,} {kind.replace('_', ' ')}" for kind, count in kinds if count or kind == "accepted"
        )
        parts = [f"{status.done:,} done: {counts}"]
        if status.retries:
            parts.append(counted(status.retries, "retry", "retries"))
        parts += self._pace(status)
        return "; ".join(parts)

    def _pace(self, status: Status) -> Iterator[str]:
        if status.unreachable is not None:
            yield f"waiting: Refold cannot be reached, for {duration(status.unreachable)} now"
            return
        speed = self._bar.tasks[self._rows].speed
        if status.paused > 0:
            yield f"paused by the server for {duration(status.paused)}"
        elif speed:
            yield f"{speed:.1f}/s"
        if status.waiting and status.paused <= 0:
            yield f"{status.waiting} waiting for the rate limit"
        left = self._bar.tasks[self._input].time_remaining
        if status.total is not None and left is not None and status.position < status.total:
            yield f"about {duration(left)} left"
