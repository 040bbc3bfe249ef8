"""Fan-out: a fixed number of workers pull from one source, so that memory stays within a bound, however long it is."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import anyio.abc
import anyio.lowlevel
from attrs import define, field

from ._caller import Caller
from ._errors import (
    BatchInterruptedError,
    ClientClosedError,
    ConfigurationError,
    InvalidTriggerError,
    NotAttemptedError,
    RefoldError,
)
from ._hooks import check_callback, logger
from ._models import BatchResult, Delivery, Outcome, Trigger
from .transports._call import Call

_END = object()

Source = Iterable[Trigger] | AsyncIterable[Trigger]

GRACE = 5.0
"""Seconds that what is on the wire has to finish, when a batch is left early or stopped."""

CANCELLED_GRACE = 1.0
"""Likewise when the caller is cancelled, who wants to be gone."""

LOOK_AHEAD_PER_WORKER = 4
"""How many items per worker are pulled ahead by default, once there are ordering keys."""


@define(kw_only=True, frozen=True)
class BatchOptions:
    """What a caller may choose; checked when it is made.

    :raises ConfigurationError: for a value that makes no sense.
    """

    max_concurrency: int
    on_outcome: Callable[[Outcome], object] | None
    stop_on: tuple[type[BaseException], ...]
    on_key_failure: Literal["continue", "stop"]
    look_ahead: int | None

    def __attrs_post_init__(self) -> None:
        if not _is_whole(self.max_concurrency) or self.max_concurrency < 1:
            raise ConfigurationError(f"max_concurrency must be 1 or more, not {self.max_concurrency!r}")
        if self.look_ahead is not None and (not _is_whole(self.look_ahead) or self.look_ahead < 0):
            raise ConfigurationError(f"look_ahead must be 0 or more, or None for the default, not {self.look_ahead!r}")
        if self.on_key_failure not in ("continue", "stop"):
            raise ConfigurationError(f"on_key_failure must be 'continue' or 'stop', not {self.on_key_failure!r}")
        kinds = self.stop_on
        if not isinstance(kinds, tuple) or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
            raise ConfigurationError(f"stop_on must be a tuple of classes of errors, not {kinds!r}")
        if self.on_outcome is not None:
            check_callback("on_outcome", self.on_outcome)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@define(eq=False)
class Batch:
    """One run over a source.

    An item is held from when it is pulled until its outcome is taken, and no more than `max_concurrency` are held at
    a time, or `look_ahead` more once there are ordering keys.

    :param deliver: is given each outcome as it completes, and None when there are no more.
    :param drain: after a stop, pull the rest all the same, and give each item an outcome unsent.
    """

    _caller: Caller
    _source: Source
    _options: BatchOptions
    _deliver: Callable[[Outcome | None], None]
    _drain: bool = field(kw_only=True)
    source_error: Exception | None = field(init=False, default=None)
    ended: anyio.Event = field(init=False, factory=anyio.Event)
    _pulled: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _most_held: int = field(init=False)
    _exhausted: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _workers: int = field(init=False, default=0)
    _active: set[Call] = field(init=False, factory=set)
    _waiting: dict[str, deque[tuple[int, Trigger]]] = field(init=False, factory=dict)
    _failed_keys: set[str] = field(init=False, factory=set)
    _turn: anyio.Lock = field(init=False, factory=lambda: anyio.Lock(fast_acquire=True))
    _room: anyio.Event | None = field(init=False, default=None)
    _pulling: anyio.CancelScope | None = field(init=False, default=None)
    _items: Iterator[Trigger] | AsyncIterator[Trigger] = field(init=False)
    _group: anyio.abc.TaskGroup | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._most_held = self._options.max_concurrency + (self._options.look_ahead or 0)
        if isinstance(self._source, AsyncIterable):
            self._items = aiter(self._source)
        elif isinstance(self._source, Iterable):
            self._items = iter(self._source)
        else:
            raise ConfigurationError(
                f"a batch needs an iterable or async iterable of Trigger, not {type(self._source).__name__}"
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the workers for as long as the block lasts; when it ends, stop, and leave nothing running behind.

        What the block raises comes out as it was.
        """
        failure: BaseException | None = None
        self._caller.runtime.check()
        async with anyio.create_task_group() as group:
            self._group = group
            self._workers = self._options.max_concurrency
            for _ in range(self._workers):
                group.start_soon(self._work)
            try:
                yield
            except anyio.get_cancelled_exc_class():
                await self._wind_down(CANCELLED_GRACE)
                raise
            except BaseException as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                failure = error
            await self._wind_down(GRACE)
        if failure is not None:
            raise failure

    async def _wind_down(self, grace: float) -> None:
        self.stop(drain=False)
        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(grace):
                    await self.ended.wait()
            finally:
                self._cut_off()

    def stop(self, *, drain: bool) -> None:
        """Send nothing more; let what is on the wire finish. Without `drain`, pull nothing more either."""
        self._stopped = True
        for call in self._active:
            call.interrupted = call.interrupted or "stopped"
            if not call.on_wire:
                call.cancel()
        if not drain:
            self._exhausted = True
            if self._pulling is not None:
                self._pulling.cancel()
            self._make_room()

    def _cut_off(self) -> None:
        for call in self._active:
            call.cancel()

    async def _cut_off_after_grace(self) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(GRACE):
                await self.ended.wait()
            self._cut_off()

    async def _work(self) -> None:
        """Pull, send, and go on; shielded, because it is `running` that stops this in order."""
        try:
            with anyio.CancelScope(shield=True):
                item = await self._pull()
                while item is not None:
                    item = await self._send(*item) or await self._pull()
        finally:
            self._workers -= 1
            if not self._workers:
                self.ended.set()
                self._deliver(None)

    async def _pull(self) -> tuple[int, Trigger] | None:
        """Give the next item whose turn it is; None when there are no more."""
        async with self._turn:
            while not self._exhausted:
                if self._held >= self._most_held:
                    self._room = anyio.Event()
                    await self._room.wait()
                    continue
                given = await self._take()
                if given is _END:
                    break
                index, self._pulled = self._pulled, self._pulled + 1
                self._held += 1
                if not isinstance(given, Trigger):
                    self._refuse(index, given)
                elif self._stopped:
                    self._skip(index, given, "the batch was stopped before this trigger's turn")
                elif given.ordering_key is None or self._claim_key(index, given, given.ordering_key):
                    return index, given
                await anyio.lowlevel.cancel_shielded_checkpoint()  # a source of nothing else must not block the loop
        return None

    async def _take(self) -> Any:
        """Take one thing from the source; `_END` when it is used up, stopped, or raised."""
        item: Any = _END
        try:
            if isinstance(self._items, AsyncIterator):
                with anyio.CancelScope() as self._pulling:
                    item = await anext(self._items, _END)
                self._pulling = None
            else:
                item = next(self._items, _END)
        except Exception as error:  # noqa: BLE001 - the caller's own source; BatchInterruptedError has it as its cause
            self.source_error = error
        if item is _END:
            self._exhausted = True
        return item

    def _claim_key(self, index: int, trigger: Trigger, key: str) -> bool:
        """Whether this item may go now; if not, it waits for those before it, or is given up with them."""
        if self._options.look_ahead is None:
            self._most_held = self._options.max_concurrency * (1 + LOOK_AHEAD_PER_WORKER)
        if key in self._failed_keys:
            self._skip(index, trigger, "an earlier trigger with the same ordering_key was not accepted")
            return False
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return True
        waiting.append((index, trigger))
        return False

    async def _send(self, index: int, trigger: Trigger) -> tuple[int, Trigger] | None:
        """Send one item; give the next one with its key, if one waits."""
        settings = self._caller.settings
        call = self._caller.new_call(trigger, patient=True)
        self._active.add(call)
        try:
            ending = await self._caller.settle(trigger, call, settings.timeout, settings.deadline)
        finally:
            self._active.discard(call)
        if isinstance(ending, RefoldError):
            outcome = Outcome(index, trigger, ending.delivery, error=ending, attempts=ending.attempts)
        else:
            outcome = Outcome(index, trigger, Delivery.ACCEPTED, receipt=ending, attempts=ending.attempts)
        self._report(outcome)
        return None if trigger.ordering_key is None else self._next_of(trigger.ordering_key, outcome)

    def _next_of(self, key: str, outcome: Outcome) -> tuple[int, Trigger] | None:
        if not outcome.ok and self._options.on_key_failure == "stop":
            self._failed_keys.add(key)
        waiting = self._waiting[key]
        while waiting:
            index, trigger = waiting.popleft()
            if self._stopped:
                self._skip(index, trigger, "the batch was stopped before this trigger's turn")
            elif key in self._failed_keys:
                self._skip(index, trigger, "an earlier trigger with the same ordering_key was not accepted")
            else:
                return index, trigger
        del self._waiting[key]
        return None

    def _skip(self, index: int, trigger: Trigger, why: str) -> None:
        error = NotAttemptedError(f"{why}; it was not sent", trigger=trigger)
        self._report(Outcome(index, trigger, Delivery.NOT_SENT, error=error))

    def _refuse(self, index: int, given: object) -> None:
        error = InvalidTriggerError(f"item {index} of the batch is a {type(given).__name__}, not a Trigger")
        error.trigger = Trigger("", "", context=given)
        self._report(Outcome(index, error.trigger, Delivery.NOT_SENT, error=error))

    def _report(self, outcome: Outcome) -> None:
        if self._options.on_outcome is not None:
            try:
                self._options.on_outcome(outcome)
            except Exception:  # noqa: BLE001 - the caller's own; it changes no outcome
                logger.exception("on_outcome raised on item %d; the batch goes on", outcome.index)
        if isinstance(outcome.error, (*self._options.stop_on, ClientClosedError)) and not self._stopped:
            self.stop(drain=self._drain)
            if not self._drain and self._group is not None:
                self._group.start_soon(self._cut_off_after_grace)
        self._deliver(outcome)

    def release(self) -> None:
        """Let go of one item: its outcome was taken."""
        self._held -= 1
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None


async def send_all(caller: Caller, source: Source, options: BatchOptions) -> BatchResult:
    """Send everything, and give the outcomes in input order.

    :raises BatchInterruptedError: when the source raised.
    """
    outcomes: list[Outcome] = []

    def deliver(outcome: Outcome | None) -> None:
        if outcome is not None:
            outcomes.append(outcome)
            batch.release()

    batch = Batch(caller, source, options, deliver, drain=True)
    async with batch.running():
        await batch.ended.wait()
    outcomes.sort(key=lambda outcome: outcome.index)
    result = BatchResult(outcomes)
    if batch.source_error is not None:
        raise _interrupted(batch.source_error, result)
    return result


def _interrupted(cause: Exception, result: BatchResult) -> BatchInterruptedError:
    error = BatchInterruptedError(
        f"the source of the batch raised {type(cause).__name__} after {len(result)} outcomes; they are in .result",
        result=result,
    )
    error.__cause__ = cause
    return error


class OutcomeStream(AsyncIterator[Outcome]):
    """The outcomes of a running batch, as they complete or in input order.

    At its end it raises `BatchInterruptedError`, if the source raised; every outcome was given before.
    """

    def __init__(self, caller: Caller, source: Source, options: BatchOptions, *, ordered: bool) -> None:
        self._ordered = ordered
        self._done: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._next_index = 0
        self._news: anyio.Event | None = None
        self._batch = Batch(caller, source, options, self._deliver, drain=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AsyncIterator[Outcome]]:
        """Run the batch for as long as the block lasts."""
        async with self._batch.running():
            yield self

    def _deliver(self, outcome: Outcome | None) -> None:
        if outcome is None:
            pass
        elif self._ordered:
            self._early[outcome.index] = outcome
            while self._next_index in self._early:
                self._done.append(self._early.pop(self._next_index))
                self._next_index += 1
        else:
            self._done.append(outcome)
        if self._news is not None:
            self._news.set()

    async def __anext__(self) -> Outcome:
        while not self._done:
            if self._batch.ended.is_set():
                cause, self._batch.source_error = self._batch.source_error, None
                if cause is not None:
                    raise _interrupted(cause, BatchResult())
                raise StopAsyncIteration
            if self._news is None or self._news.is_set():
                self._news = anyio.Event()
            await self._news.wait()
        self._batch.release()
        return self._done.popleft()
