"""Sending a batch: from the source through the client to the journal, until it ends or is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Literal

import anyio
from attrs import define, field

from .. import AuthenticationError, Delivery, NotAttemptedError, Outcome, RefoldClient, Trigger
from ..hooks import HookEvent, RateLimitPaused, RetryScheduled
from ..limiters import MemoryRateLimiter
from . import _core_access as access
from ._feed import Feed
from ._input import InputError
from ._journal import Journal
from ._progress import Progress, Status
from ._records import Origin
from ._recovery import JournalError
from ._source import BadRow, Source
from ._table import ACCEPTED, DOUBTFUL, INVALID, NOT_SENT, REFUSED, REJECTED, RESENDING, Table

_MOST_TOLD = 20
"""How many failures are told of as they happen; the summary has them all."""

MOST_KEPT = 1000
"""How many failures are kept with what was said, for the summary for machines."""

StopReason = Literal["interrupted", "input", "journal", "credential"]

_WORDS = {
    Delivery.REJECTED: "rejected",
    Delivery.NOT_SENT: "not sent",
    Delivery.AMBIGUOUS: "ambiguous",
}


@define(eq=False)
class Run:
    """One run of a batch.

    :ivar table: what is known of each row.
    :ivar stopped: why it stopped before the end of the input, and `error` what there is to say about that.
    :ivar failures: of the rows that were not accepted, the first ones; `failed` counts them all.
    :ivar ended: how many rows were tried in this run, and ended one way or the other.
    """

    source: Source
    table: Table
    journal: Journal | None
    limiter: MemoryRateLimiter | None
    max_concurrency: int = field(kw_only=True)
    skip_invalid: bool = field(kw_only=True)
    stopped: StopReason | None = None
    error: str | None = None
    failures: list[dict[str, Any]] = field(factory=list)
    failed: int = 0
    ended: int = 0
    retries: int = 0
    seconds: float = 0.0
    _position: int = 0
    _paused_until: float = 0.0
    _taking: anyio.CancelScope | None = None
    _progress: Progress | None = None

    def look(self) -> Status:
        """Give the status, for the progress."""
        count = self.table.count
        return Status(
            accepted=count(ACCEPTED),
            rejected=count(REJECTED, REFUSED),
            not_sent=count(NOT_SENT),
            ambiguous=count(DOUBTFUL, RESENDING),
            invalid=count(INVALID),
            retries=self.retries,
            waiting=0 if self.limiter is None else self.limiter.waiting,
            paused=max(0.0, self._paused_until - time.monotonic()),
            position=self._position,
            total=self.source.input.size,
        )

    def _watch(self, event: HookEvent) -> None:
        if isinstance(event, RetryScheduled):
            self.retries += 1
        elif isinstance(event, RateLimitPaused):
            pause = 1.0 if event.retry_after is None else event.retry_after
            self._paused_until = max(self._paused_until, time.monotonic() + pause)

    async def send(self, client: RefoldClient, progress: Progress) -> None:
        """Send the rows, until there are no more or something stops it."""
        self._progress = progress
        self._position = self.source.offset
        started = time.monotonic()
        if self.journal is None:
            client = client.with_options(hooks=[self._watch])
        else:
            client = client.with_options(hooks=[self._watch, self.journal.watch])
            client = access.with_before_send(client, self.journal.before_send)
        async with anyio.create_task_group() as group:
            with progress.shown(), _signals(self._interrupted, self._last_words):
                group.start_soon(progress.run)
                async with contextlib.aclosing(self._triggers()) as triggers:
                    await self._send_all(client, triggers)
                if self.stopped is None:
                    self._position = self.source.input.size or 0
            group.cancel_scope.cancel()
        self.table.killed()  # should the end of a row have been missed, it counts as what it is then
        self.seconds = time.monotonic() - started

    async def _send_all(self, client: RefoldClient, triggers: AsyncGenerator[Trigger, None]) -> None:
        stream = client.trigger_stream(
            triggers,
            max_concurrency=self.max_concurrency,
            on_outcome=self._ended,
            stop_on=(AuthenticationError, JournalError),
        )
        async with stream as outcomes:
            # Cancelling this, and not the whole, is leaving the block early: what is on the wire may finish.
            with anyio.CancelScope() as self._taking:
                if self.stopped is None:
                    async for _ in outcomes:
                        pass

    async def _triggers(self) -> AsyncGenerator[Trigger, None]:
        items = Feed(self.source.rows).items()
        async with contextlib.aclosing(items):
            try:
                async for item in items:
                    if isinstance(item, Trigger):
                        yield item
                    elif not self._refuse(item):
                        return
            except InputError as error:
                self._stop("input", str(error))

    def _refuse(self, row: BadRow) -> bool:
        """Note a row that cannot be sent; give whether to go on."""
        for line in range(row.line, row.last + 1):
            self.table.invalid(line)
        if self.skip_invalid and row.is_skippable:
            self._tell(row.line, "invalid", row.problem)
            return True
        name = self.source.input.name
        self._stop(
            "input",
            f"{name}, {row.place}: {row.problem}. Nothing after it was sent. Mend it"
            + (", or leave such rows out with --skip-invalid" if row.is_skippable else ""),
        )
        return False

    def _ended(self, outcome: Outcome) -> None:
        origin = outcome.trigger.context
        assert isinstance(origin, Origin)
        error = outcome.error
        status = outcome.receipt.status_code if outcome.receipt else getattr(error, "status_code", None)
        if self.journal is not None:
            self.journal.ended(outcome)
            if self.journal.failure is not None:
                self._stop("journal", self.journal.failure)
        else:
            self.table.ended(origin.line, outcome.delivery, status)
        if not isinstance(error, NotAttemptedError):
            self.ended += 1
            self._position = max(self._position, origin.end)
        if isinstance(error, AuthenticationError):
            self._stop("credential", str(error))
        if error is not None and not isinstance(error, NotAttemptedError | JournalError):
            kind = type(error).__name__
            self._tell(origin.line, _WORDS[outcome.delivery], str(error), error=kind, status=status)

    def _tell(self, line: int, how: str, message: str, **more: Any) -> None:
        self.failed += 1
        if len(self.failures) < MOST_KEPT:
            self.failures.append({"line": line, "ended": how, "message": message, **more})
        if self._progress is not None and self.failed <= _MOST_TOLD:
            self._progress.say(f"line {line}: {how}: {message}")
            if self.failed == _MOST_TOLD:
                self._progress.say("Further failures are counted, and listed at the end.")

    def _stop(self, reason: StopReason, error: str | None) -> None:
        if self.stopped is None:
            self.stopped, self.error = reason, error

    def _interrupted(self) -> None:
        self._stop("interrupted", None)
        if self._progress is not None:
            self._progress.say("Stopping: what is on the wire may finish. Once more to leave at once.", style="bold")
        if self._taking is not None:
            self._taking.cancel()

    def _last_words(self) -> str:
        if self.journal is None:
            return "Left at once: what was on the wire may have fired, and there is no journal that tells what it was."
        return f"Left at once: rows that were on the wire may have fired. {self.journal.path} has what is known."


@contextlib.contextmanager
def _signals(first: Callable[[], None], last_words: Callable[[], str]) -> Iterator[None]:
    """Call `first` on the first Ctrl-C (or SIGTERM) while the block lasts; on the second end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = _running_loop()
    asked = False

    def handle(number: int, _: object) -> None:
        nonlocal asked
        if asked:
            # Nothing that could wait, or that the interrupted code may be in the middle of.
            show_cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""
            os.write(2, b"\n" + show_cursor + last_words().encode() + b"\n")
            os._exit(128 + number)
        asked = True
        loop.call_soon_threadsafe(first)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _running_loop() -> Any:
    import asyncio

    return asyncio.get_running_loop()
