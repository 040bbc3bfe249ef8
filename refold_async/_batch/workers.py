"""The workers of a batch: a bounded number over one source, so that memory stays bounded, however long it is."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel

from .._core.call import Call
from .._core.sender import Sender
from .._core.usercode import call_logged
from .._logging import logger
from .._types.errors import ClientClosedError, RefoldError
from .._types.evidence import Cut
from .._types.outcome import accepted_outcome
from .._types.results import BatchInterruptedError, Outcome
from .._types.values import Delivery, Trigger
from .._wire.loops import ends_program
from .crew import CANCELLED_GRACE, GRACE, Crew
from .feeder import CHECKPOINT_EVERY, Feeder
from .options import BatchOptions, Source, check_source
from .ordering import Item, Lanes
from .outcomes import KEY_FAILED, STOPPED, cut_short, failed, interrupted, invalid, not_attempted

_END: Any = object()
_MAY_HAVE_FIRED = (Delivery.ACCEPTED, Delivery.AMBIGUOUS)


class Batch:
    """One run over a source, for as long as its block lasts; when that ends, nothing is left running.

    An item is held from when it is pulled until its outcome is delivered, or, if streamed, released by who takes it.
    No more than `max_concurrency` are held at a time, or `look_ahead` more once there are ordering keys.

    A sync source is pulled by the workers themselves, and whoever has pulled an item calls the next one; an async
    source is pulled by a `Feeder`.

    :param deliver: is given each outcome as it completes.
    :param finish: is called when there are no more.
    :param streamed: whether somebody takes the outcomes one by one. If not, all are kept, so that after an error in
        `stop_on` the rest is pulled all the same, and each item has an outcome.
    :ivar source_error: what the source raised, if it did.
    :ivar pulled: how many items were.
    :ivar attempts: how many requests were tried, over all items.
    :ivar may_have_fired: whether any event has fired, or may have.
    """

    def __init__(
        self,
        sender: Sender,
        source: Source,
        options: BatchOptions,
        deliver: Callable[[Outcome], None],
        finish: Callable[[], None],
        *,
        streamed: bool,
    ) -> None:
        check_source(source)
        self.source_error: BaseException | None = None
        self.pulled = 0
        self.attempts = 0
        self.may_have_fired = False
        self._sender = sender
        self._source = source
        self._options = options
        self._deliver = deliver
        self._on_outcome = options.on_outcome
        self._streamed = streamed
        self._stop_on = (*options.stop_on, ClientClosedError)
        self._most_held = options.max_concurrency
        self._lanes = Lanes(stop_on_failure=options.on_key_failure == "stop")
        self._items: Iterator[Any] | None = None
        self._feeder: Feeder | None = None
        self._ready: deque[Item] = deque()
        self._held = 0
        self._exhausted = False
        self._stopped = False
        self._active: set[Call] = set()
        self._since_checkpoint = 0
        self._crew = Crew(options.max_concurrency, self._work, fatal=self._die, last=finish)

    @property
    def ended(self) -> anyio.Event:
        """Set when all is sent, told and delivered."""
        return self._crew.ended

    # Life and end

    async def __aenter__(self) -> Self:
        self._sender.life.check()
        await self._crew.enter()
        if isinstance(self._source, AsyncIterable):
            self._feeder = Feeder(self._source, room=self._has_room_and_a_worker, hand_over=self._hand_over)
            self._crew.start(self._feed)
        else:
            self._make_room()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        worse = await self._crew.leave(error, self._cut_off)
        self._close()
        if worse is not None:
            raise worse

    def stop(self, *, drain: bool = False) -> None:
        """Send nothing more, and let what is on the wire finish. Without `drain`, pull nothing more either."""
        if not self._stopped:
            self._stopped = True
            for call in list(self._active):
                if not call.is_on_wire:
                    call.interrupt(Cut.STOPPED)
        if not drain:
            self._exhaust()
            if self._feeder is not None:
                self._feeder.stop()
        self._make_room()

    def _cut_off(self) -> None:
        for call in list(self._active):
            call.interrupt(Cut.STOPPED)

    def _close(self) -> None:
        """Leave no item without an outcome, and no generator open."""
        for item in (*self._ready, *self._lanes.clear()):  # only if a worker was killed
            self._report(not_attempted(*item, STOPPED))
        if isinstance(self._items, Generator):
            try:
                self._items.close()
            except BaseException as error:  # the caller's own source
                if ends_program(error):
                    raise
                logger.warning("the source of the batch raised while it was closed", exc_info=True)

    def _die(self, error: BaseException) -> None:
        """Come to an end after what no batch can go on after, such as a KeyboardInterrupt."""
        self.stop()
        self._crew.cut_off_after(CANCELLED_GRACE, self._cut_off)

    # Pulling

    async def _feed(self) -> None:
        assert self._feeder is not None
        error = await self._feeder.run()
        if error is not None:
            self.source_error = error
        self._exhaust()

    def _has_room_and_a_worker(self) -> bool:
        if self._stopped:
            return True
        busy = len(self._active) + len(self._ready)
        return self._held < self._most_held and busy < self._options.max_concurrency

    def _hand_over(self, given: object) -> None:
        item = self._admit(given)
        if item is not None:
            self._ready.append(item)
            self._crew.wake_or_make()

    def _pull(self) -> Item | None:
        """Take one thing from the sync source; give it if it is to be sent now."""
        try:
            if self._items is None:
                self._items = iter(self._source)  # type: ignore[arg-type]  # the async ones have a feeder
            given = next(self._items, _END)
        except BaseException as error:  # the caller's own source; BatchInterruptedError has it as its cause
            if ends_program(error):  # a cancellation is its own: nothing is awaited here
                raise
            self.source_error = error
            given = _END
        if given is _END:
            self._exhaust()
            return None
        return self._admit(given)

    def _admit(self, given: object) -> Item | None:
        """Count what was pulled; give it if it is to be sent now, and see to it if it is not."""
        index, self.pulled = self.pulled, self.pulled + 1
        self._held += 1
        if not isinstance(given, Trigger):
            self._report(invalid(index, Trigger("", "", context=given), f"is a {type(given).__name__}, not a Trigger"))
        elif self._stopped:
            self._report(not_attempted(index, given, STOPPED))
        elif given.ordering_key is None or self._may_go(index, given):
            return index, given
        return None

    def _may_go(self, index: int, trigger: Trigger) -> bool:
        try:
            entry = self._lanes.enter(trigger.ordering_key, (index, trigger))
        except TypeError:
            kind = type(trigger.ordering_key).__name__
            self._report(invalid(index, trigger, f"has an ordering_key that is a {kind}: it should be a string"))
            return False
        self._most_held = self._options.max_concurrency + self._options.look_ahead_with_keys
        if entry == "given up":
            self._report(not_attempted(index, trigger, KEY_FAILED))
        return entry == "go"

    def _exhaust(self) -> None:
        self._exhausted = True
        self._crew.wake_all()

    def release(self) -> None:
        """Let go of one item: its outcome was taken."""
        self._held -= 1
        self._make_room()

    def _make_room(self) -> None:
        if self._feeder is not None:
            self._feeder.poke()
        elif self._held < self._most_held and not self._exhausted:
            self._crew.call()

    # Working

    async def _work(self) -> None:
        """Send one item after the other. All of it in one frame: a row costs little more than its call."""
        sender, active, crew = self._sender, self._active, self._crew
        deadline, host = sender.settings.deadline, sender.address.host
        item = await self._next()
        while item is not None:
            if self._feeder is not None or (self._held < self._most_held and not self._exhausted and crew.has_more):
                self._make_room()
            index, trigger = item
            key = trigger.ordering_key
            if self._stopped:
                self._report(not_attempted(index, trigger, STOPPED))
            else:
                call = sender.new_call(trigger, is_patient=True)
                active.add(call)
                try:
                    try:  # what `Sender.send` does, in this frame
                        evidence = await sender.begin(call, deadline)
                        receipt = sender.conclude(call, evidence)
                    except BaseException:
                        sender.break_off(call)
                        raise
                    receipt = receipt or await sender.go_on(call, evidence)
                    outcome: Outcome = accepted_outcome(index, trigger, receipt)
                except RefoldError as error:
                    outcome = failed(index, trigger, error)
                except BaseException as error:
                    self._report(cut_short(index, trigger, call, error, host))
                    raise
                finally:
                    active.discard(call)
                if key is not None and not outcome.ok:
                    self._lanes.failed(key)
                self._report(outcome)
                self._since_checkpoint += 1
                if self._since_checkpoint >= CHECKPOINT_EVERY:
                    await self._yield_to_loop()
            item = None if key is None else self._next_of(key)
            if item is None:
                if self._ready:
                    item = self._ready.popleft()
                elif self._feeder is None and self._held < self._most_held and not self._exhausted:
                    item = self._pull()  # without a coroutine of its own
                item = item or await self._next()

    async def _next(self) -> Item | None:
        """Return the next item to send, once there is room for one; None when there are no more."""
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._exhausted:
                return None
            if self._feeder is None and self._held < self._most_held:
                item = self._pull()
                if item is not None:
                    return item
                self._since_checkpoint += 1
                if self._since_checkpoint >= CHECKPOINT_EVERY:
                    await self._yield_to_loop()
            else:
                self._make_room()
                await self._crew.park()

    async def _yield_to_loop(self) -> None:
        """Let the event loop run now and then: rows that are rejected here, or answered by a mock, never wait."""
        self._since_checkpoint = 0
        await anyio.lowlevel.checkpoint()

    def _next_of(self, key: object) -> Item | None:
        while (item := self._lanes.next(key)) is not None:
            if not self._lanes.is_given_up(key):
                return item
            self._report(not_attempted(*item, KEY_FAILED))
        return None

    # Telling

    def _report(self, outcome: Outcome) -> None:
        self.attempts += outcome.attempts
        if not self.may_have_fired:
            self.may_have_fired = outcome.delivery in _MAY_HAVE_FIRED
        if self._on_outcome is not None:
            call_logged(f"on_outcome for item {outcome.index}", self._on_outcome, outcome)
        if outcome.error is not None and not self._stopped and isinstance(outcome.error, self._stop_on):
            self.stop(drain=not self._streamed)
            if self._streamed:
                self._crew.cut_off_after(GRACE, self._cut_off)
        if not self._streamed:
            self._held -= 1  # whoever reports goes on to see what there is room for
        self._deliver(outcome)

    def interruption(self, outcomes: Iterable[Outcome], where: str) -> BatchInterruptedError:
        """Make the error that tells what the source raised, and gives these outcomes."""
        assert self.source_error is not None
        return interrupted(
            self.source_error,
            outcomes,
            f"the source of the batch raised {type(self.source_error).__name__} after {self.pulled} triggers; "
            f"each has an outcome: {where}",
            delivery=Delivery.AMBIGUOUS if self.may_have_fired else Delivery.NOT_SENT,
            attempts=self.attempts,
        )
