"""Sending a batch: from the source through the client to the journal, until it ends or is stopped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
from attrs import define, field

from ... import (
    AuthenticationError,
    CircuitBreaker,
    CircuitOpenError,
    DeadlineExceededError,
    Delivery,
    NotAttemptedError,
    Outcome,
    RefoldClient,
    RefoldConnectionError,
    RefoldTimeoutError,
    Sending,
    Trigger,
)
from ...hooks import HookEvent, RateLimitPaused, RetryScheduled
from ...limiters import MemoryRateLimiter, SharedRateLimiter
from ..console.progress import Progress, Status
from ..console.signals import drained_by_signals
from ..console.words import counted, sentence, with_cause
from ..reading.records import origin_of
from .feed import ThreadedIterator
from .journal import Journal
from .leftovers import Leftovers
from .order import KeyOrder
from .outage import Outage, is_permanent, reader
from .recovery import JournalError
from .report import Report, StopReason
from .rows import RowHeldError, RowQueue
from .source import BadRow, Source
from .table import Sent, Table
from .trials import Trials

_DEFAULT_PAUSE: Final = 1.0
"""Seconds that a 429 pauses the limiter for when it does not say how long."""


@define(eq=False, kw_only=True)
class Run:
    """One run of a batch: the flow. What is counted is in `report`.

    A row that was certainly not sent, because Refold could not be reached or no descriptor was free, is put back and
    sent again; all other endings count. Each attempt is written down before its first byte.

    :param table: what is known of each row.
    :param max_failures: stop after so many rows that were rejected or are ambiguous; None for no limit.
    :param max_outage: stop when Refold could not be reached for so many seconds; None waits as long as it takes.
    :param make_feed: turns the source's rows into an async iterator.
    """

    source: Source
    table: Table
    journal: Journal | None
    limiter: MemoryRateLimiter | SharedRateLimiter | None
    order: KeyOrder
    trials: Trials
    max_concurrency: int
    skip_invalid: bool
    max_failures: int | None = None
    max_outage: float | None = None
    failed_to: Leftovers | None = None
    ambiguous_to: Leftovers | None = None
    make_feed: Callable[[Any], Any] = ThreadedIterator
    report: Report = field(init=False)
    _rows: RowQueue = field(init=False)
    _outage: Outage = field(init=False)
    _position: int = 0
    _paused_until: float = 0.0
    _taking: anyio.CancelScope | None = None
    _say: Callable[[str], None] = field(default=lambda line: None)

    def __attrs_post_init__(self) -> None:
        self.report = Report(self.table, lambda line: self._say(line))
        self._rows = RowQueue(self.order, self.trials, self._on_bad, self._on_held)

    def snapshot(self) -> Status:
        """Return how far it has come, for the progress."""
        return Status(
            counts=self.report.counts(),
            retries=self.report.retries,
            waiting=0 if self.limiter is None else self.limiter.waiting,
            paused=max(0.0, self._paused_until - time.monotonic()),
            unreachable=self._outage.seconds,
            position=self._position,
            total=self.source.input.size,
        )

    async def send(self, client: RefoldClient, progress: Progress) -> None:
        """Send the rows, until there are no more or something stops it."""
        self._say = progress.say
        self._position = self.source.offset
        started = time.monotonic()
        self._outage = Outage(
            CircuitBreaker(clock=anyio.current_time),
            client.session.base_url.host,
            reader(client),
            progress.say,
            self._rows.changed,
            self._on_unreachable,
        )
        self._rows.outage = self._outage
        hooks = [self._watch, self._outage.watch, *([] if self.journal is None else [self.journal.watch])]
        client = client.with_options(hooks=hooks, before_send=self._before_send)
        async with anyio.create_task_group() as group:
            with progress.shown(), drained_by_signals(self._interrupted, self._exit_message):
                group.start_soon(progress.run)
                group.start_soon(self._outage.run)
                group.start_soon(self._give_up_in_time)
                group.start_soon(self._rows.fill, self.make_feed(self.source.rows).items())
                await self._send_all(client)
                if self.report.stopped is None:
                    self._position = self.source.input.size or 0
            group.cancel_scope.cancel()
        self.table.killed()  # should the end of a row have been missed, it counts as what it is then
        self.report.seconds = time.monotonic() - started

    async def _send_all(self, client: RefoldClient) -> None:
        async with contextlib.aclosing(self._rows.triggers()) as triggers:
            stream = client.trigger_stream(
                triggers,
                max_concurrency=self.max_concurrency,
                on_outcome=self._ended,
                stop_on=(AuthenticationError, JournalError),
            )
            async with stream as outcomes:
                # Cancelling this, and not the whole, is leaving the block early: what is on the wire may finish.
                with anyio.CancelScope() as self._taking:
                    if self.report.stopped is None:
                        async for _ in outcomes:
                            pass
        if self._rows.error is not None:
            self._stop("input", str(self._rows.error))

    # Before a row is sent

    def _before_send(self, sending: Sending) -> None:
        """Check that the row may still go, and write down that it does; whatever is raised here ends it, not sent."""
        trigger = sending.trigger
        origin = origin_of(trigger)
        hold = self.order.hold_on(trigger.ordering_key, origin.line)
        if hold is not None:
            raise RowHeldError(hold.reason)
        self._outage.check(origin.line)
        if self.journal is not None:
            self.journal.before_send(sending)
        elif not self.table.fence(origin.line).is_under_way:
            self.table.sending(origin.line, origin.digest, Sent(None, "", 0.0))

    def _watch(self, event: HookEvent) -> None:
        if isinstance(event, RetryScheduled):
            self.report.retries += 1
            if self.journal is None and event.trigger is not None:
                line = origin_of(event.trigger).line
                if self.table.fence(line).is_under_way:
                    self.table.retrying(line, event.delivery)
        elif isinstance(event, RateLimitPaused):
            pause = _DEFAULT_PAUSE if event.retry_after is None else event.retry_after
            self._paused_until = max(self._paused_until, time.monotonic() + pause)

    # After it has ended

    def _ended(self, outcome: Outcome) -> None:
        trigger, line = outcome.trigger, origin_of(outcome.trigger).line
        self._record(line, outcome)
        if isinstance(outcome.error, DeadlineExceededError) and outcome.attempts and self.report.stopped is None:
            self._outage.record_deadline()
        self._outage.ended(line)
        alike = self.trials.ended(outcome)
        if self._goes_again(outcome):
            self.table.waits(line)
            self._rows.put_back(trigger)
        elif isinstance(outcome.error, NotAttemptedError) or self._waits_for_the_next_run(outcome):
            self.table.waits(line)
        else:
            self._count(line, outcome)
        self._rows.ended()
        self._stop_if_hopeless(outcome, alike)

    def _record(self, line: int, outcome: Outcome) -> None:
        """Write down how a row ended."""
        if self.journal is not None:
            self.journal.ended(outcome)
            if self.journal.failure is not None:
                self._stop("journal", self.journal.failure)
        else:
            status = outcome.receipt.status_code if outcome.receipt else getattr(outcome.error, "status_code", None)
            self.table.ended(line, outcome.delivery, status)

    def _goes_again(self, outcome: Outcome) -> bool:
        """Whether a row was certainly not sent, for no fault of its own, and this run can still send it."""
        return self.report.stopped is None and self._waits_for_the_next_run(outcome)

    def _waits_for_the_next_run(self, outcome: Outcome) -> bool:
        error = outcome.error
        if outcome.delivery is not Delivery.NOT_SENT:
            return False
        if isinstance(error, RowHeldError):
            hold = self.order.hold_on(outcome.trigger.ordering_key, origin_of(outcome.trigger).line)
            return hold is None or hold.passes
        if isinstance(error, DeadlineExceededError):
            return not self._outage.breaker.is_closed
        return isinstance(error, RefoldConnectionError | RefoldTimeoutError | CircuitOpenError)

    def _count(self, line: int, outcome: Outcome) -> None:
        self._position = max(self._position, origin_of(outcome.trigger).end)
        error = outcome.error
        if isinstance(error, RowHeldError):
            self._on_held(outcome.trigger, str(error))
            return
        self.report.finished += 1
        if error is None:
            self.order.accepted(line)
            return
        self.order.failed(outcome.trigger.ordering_key, line)
        if not isinstance(error, JournalError):
            self.report.add_outcome(line, outcome)
        leftovers = self.ambiguous_to if outcome.delivery is Delivery.AMBIGUOUS else self.failed_to
        if leftovers is not None:
            leftovers.write(outcome.trigger, outcome)

    def _stop_if_hopeless(self, outcome: Outcome, alike: str | None) -> None:
        error = outcome.error
        if isinstance(error, AuthenticationError):
            self._stop("credential", str(error))
        if alike is not None:
            self._stop("alike", alike)
        failed = self.report.not_accepted
        if self.max_failures is not None and failed >= self.max_failures:
            self._stop(
                "failures",
                f"{counted(failed, 'row')} failed, as many as --max-failures allows. Nothing more was sent",
            )
        if isinstance(error, RefoldConnectionError):
            self._stop_if_it_cannot_pass(error)

    def _on_unreachable(self, error: Exception) -> None:
        self._say(f"No answer to the read either: {sentence(with_cause(error))}")
        self._stop_if_it_cannot_pass(error)

    def _stop_if_it_cannot_pass(self, error: Exception) -> None:
        if not self._outage.answered and is_permanent(error):
            self._stop("unreachable", f"{sentence(with_cause(error))} Nothing was sent: check --base-url and --cacert")

    def _on_bad(self, row: BadRow) -> bool:
        """Record a row that cannot be sent; return whether to go on."""
        for line in range(row.line, row.last + 1):
            self.table.invalid(line)
        if self.skip_invalid and row.is_skippable:
            self.report.add(row.line, "invalid", row.problem)
            self.order.failed(row.ordering_key, row.line)
            return True
        name = self.source.input.name
        self._stop(
            "input",
            f"{name}, {row.place}: {sentence(row.problem)} Nothing after it was sent. Mend it"
            + (", or leave such rows out with --skip-invalid" if row.is_skippable else ""),
        )
        return False

    def _on_held(self, trigger: Trigger, reason: str) -> None:
        """Record a row that another one of its ordering key keeps back."""
        line = origin_of(trigger).line
        if not self.table.fence(line).may_have_fired:
            self.table.ended(line, Delivery.NOT_SENT, None)
        self.report.held += 1
        self.report.add(line, "held back", reason)
        if self.failed_to is not None:
            self.failed_to.write(trigger)

    # Stopping

    async def _give_up_in_time(self) -> None:
        while self.max_outage is not None:
            await anyio.sleep(min(1.0, self.max_outage))
            seconds = self._outage.seconds
            if seconds is not None and seconds >= self.max_outage:
                self._stop("unreachable", "Refold could not be reached for as long as --max-outage allows")
                return

    def _stop(self, reason: StopReason, error: str | None) -> None:
        """Send nothing more; what is on the wire may finish."""
        is_first = self.report.stop(reason, error)
        if is_first and self._taking is not None and reason not in ("input", "credential", "journal"):
            self._taking.cancel()  # for the others, the stream or the queue stops by itself

    def _interrupted(self) -> None:
        self._say("Stopping: what is on the wire may finish. Once more to leave at once.")
        self._stop("interrupted", None)

    def _exit_message(self) -> str:
        if self.journal is None:
            return "Left at once: what was on the wire may have fired, and there is no journal that tells what it was."
        return f"Left at once: rows that were on the wire may have fired. {self.journal.path} has what is known."
