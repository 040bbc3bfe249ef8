"""Showing how far a batch has come: a bar on a terminal, and elsewhere a line every few seconds."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

import anyio
from attrs import frozen
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_EVERY = 0.2
_PLAIN_EVERY = 3.0
_RATE_OVER = 5.0
_TIME_LEFT_OVER = 30.0
"""Seconds: between two looks at a terminal, between two plain lines, and over which speeds are measured."""


@frozen(kw_only=True)
class Status:
    """How far a batch has come.

    :ivar waiting: how many requests wait for the rate limit, and `paused` for how many seconds it is still paused.
    :ivar position: how much of the input is dealt with, and `total` how much there is of it; None if not known.
    :ivar of_rows: whether those two count rows, not bytes.
    """

    accepted: int = 0
    rejected: int = 0
    not_sent: int = 0
    ambiguous: int = 0
    invalid: int = 0
    retries: int = 0
    waiting: int = 0
    paused: float = 0.0
    position: int = 0
    total: int | None = None
    of_rows: bool = False

    @property
    def done(self) -> int:
        """How many rows have ended, one way or the other."""
        return self.accepted + self.rejected + self.not_sent + self.ambiguous + self.invalid


class Progress:
    """Shows a batch while it runs.

    :param look: gives the status.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self, console: Console, look: Callable[[], Status], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self._look = look
        self._clock = clock
        self._samples: deque[tuple[float, int, int]] = deque()  # when, how many rows, how far in the input
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block lasts; `run` must run meanwhile."""
        self._sample()
        if self._live is None:
            yield
            return
        with self._live:
            yield
            self._update()

    async def run(self) -> None:
        """Keep it up to date, for ever."""
        while True:
            await anyio.sleep(_PLAIN_EVERY if self._live is None else _EVERY)
            self._update()

    def say(self, words: str, *, style: str = "") -> None:
        """Print a line, above the bar if there is one."""
        with contextlib.suppress(OSError):  # nobody reads it: no reason to lose a row
            self.console.print(Text(words, style=style), soft_wrap=True)

    def _update(self) -> None:
        status = self._sample()
        if self._live is None:
            self.say(self.words(status))
            return
        with contextlib.suppress(OSError):
            self._live.update(self._render(status), refresh=True)

    def _sample(self) -> Status:
        status = self._look()
        now = self._clock()
        self._samples.append((now, status.done, status.position))
        while self._samples[0][0] < now - _TIME_LEFT_OVER:
            self._samples.popleft()
        return status

    def _render(self, status: Status) -> RenderableType:
        words = Text(self.words(status))
        if status.total is None:
            self._spinner.update(text=words)
            return self._spinner
        line = Table.grid(padding=(0, 1), expand=False)
        width = max(10, min(40, self.console.width - 20))
        done = min(status.position, status.total)
        line.add_row(ProgressBar(status.total, done, width=width, complete_style="cyan"), self._share(status))
        return Group(line, words)

    @staticmethod
    def _share(status: Status) -> str:
        if status.of_rows:
            return f"{status.position}/{status.total}"
        return f"{100 * status.position // max(1, status.total or 0)} %"

    def words(self, status: Status) -> str:
        """Say it in a line."""
        kinds = {
            "accepted": status.accepted,
            "rejected": status.rejected,
            "not sent": status.not_sent,
            "ambiguous": status.ambiguous,
            "invalid": status.invalid,
        }
        counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count or kind == "accepted")
        parts = [f"{status.done:,} done: {counts}"]
        if status.retries:
            parts.append(counted(status.retries, "retry", "retries"))
        parts.append(f"{self._speed(_RATE_OVER, 1):.1f}/s")
        if status.paused > 0:
            parts.append(f"paused by the server for {duration(status.paused)}")
        elif status.waiting:
            parts.append(f"{status.waiting} waiting for the rate limit")
        speed = self._speed(_TIME_LEFT_OVER, 2)
        if status.total is not None and speed > 0 and status.position < status.total:
            parts.append(f"about {duration((status.total - status.position) / speed)} left")
        return "; ".join(parts)

    def _speed(self, over: float, what: int) -> float:
        """Give the rows (1) or bytes (2) a second over the last seconds."""
        last = self._samples[-1]
        first = next(sample for sample in self._samples if sample[0] >= last[0] - over)
        return (last[what] - first[what]) / (last[0] - first[0]) if last[0] > first[0] else 0.0


def duration(seconds: float) -> str:
    """Say a time as people do: 42 s, 3 min, 2 h 5 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Say how many there are: 1 row, 2 rows."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
