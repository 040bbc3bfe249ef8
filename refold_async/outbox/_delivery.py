"""One event, from its row to its verdict: what any engine calls, as often as it likes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, frozen

from .._core.settings import Sending
from .._types.errors import (
    AuthenticationError,
    CallbackError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    HeldError,
    InvalidTriggerError,
    OutboxError,
    OutboxWriteError,
    PacingTimeoutError,
    PermissionDeniedError,
    RefoldError,
    RetryLater,
    UnknownKeyError,
)
from .._types.values import Delivery, Idempotency, Receipt
from ..policies.fence import Event, State, event_for, place_of, send_until
from ._complete import complete
from ._row import Change, Row, begin, end, hold, lose, postpone
from ._store import DeliveryStore
from ._verdict import dump_error, dump_receipt, load_error, load_receipt

if TYPE_CHECKING:
    from .._core.settings import BeforeSend

_NOT_OF_THE_EVENT: Final = (
    AuthenticationError, CallbackError, CircuitOpenError, ClientClosedError, ConfigurationError, DeadlineExceededError,
    PacingTimeoutError, PermissionDeniedError,
)  # fmt: skip
"""Errors before the first byte that say nothing about the event: its row stays as it is."""


class DeliveryClient(Protocol):
    """What is needed of a `RefoldClient`."""

    @property
    def idempotency(self) -> Idempotency | None:
        """The declared window, if any."""

    async def trigger(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        instance_tag: str | None = None,
        idempotency_key: str | None = None,
        first_sent_at: datetime | None = None,
        deadline: float | None = None,
        retry: None = None,
        before_send: BeforeSend | None = None,
    ) -> Receipt:
        """Fire one event."""


def backoff(attempt: int) -> float:
    """Return the seconds until the next attempt: 1, 2, 4 … 300, of which up to half are left off by chance."""
    return min(300.0, 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)


@frozen
class Pace:
    """How deliveries are timed.

    :ivar deadline: seconds that one call may take, its wait for the rate limit included.
    :ivar slack: further seconds after which a sender that said nothing counts as lost: for the last write of its
        verdict, and for clocks that run at different speeds.
    :ivar freshness: seconds that a claim may take to be written. A process that was frozen meanwhile does not send.
    :ivar backoff: the seconds until the next attempt, from the number of attempts.
    :ivar clock: seconds that only grow.
    """

    deadline: float = 30.0
    slack: float = 30.0
    freshness: float = 15.0
    backoff: Callable[[int], float] = backoff
    clock: Callable[[], float] = time.monotonic


@define(eq=False)
class Pass:
    """The permission of a gate to make one call.

    :ivar began: when it was given, by the event loop's clock.
    """

    began: float


class DeliveryGate(Protocol):
    """Where events wait before their calls; `Gate` is one."""

    async def enter(self) -> Pass:
        """Wait until one more call may be made; then it must `leave`.

        :raises RetryLater: when that takes too long.
        """

    def check(self, one: Pass) -> None:
        """Check that the call may still be made.

        :raises CircuitOpenError: if it may not.
        """

    def leave(self, one: Pass, ending: Receipt | RefoldError | None) -> None:
        """Learn from the end of the call; None if it says nothing of Refold."""


class _ClaimRefusedError(RefoldError):
    """Another sender was faster, or this process was frozen: this attempt is not made."""


@define(eq=False)
class _Claim:
    """The fence of one call, as its `before_send`.

    What always holds: `row` is the row that this attempt wrote, if it did; `has_sent` is false for as long as no byte
    of it can have left; and `ending` is what Refold said to it, if anything.
    """

    store: DeliveryStore
    pace: Pace
    before: Row
    place: str
    retry_within: float | None
    check: Callable[[], None] | None = None
    row: Row | None = None
    has_sent: bool = False
    ending: Receipt | RefoldError | None = None

    async def __call__(self, sending: Sending) -> None:
        if self.check is not None:
            self.check()
        started = self.pace.clock()
        mine = self.row
        lost_after = self.pace.deadline + self.pace.slack
        if mine is None:
            change = begin(
                self.before,
                key=sending.idempotency_key,
                place=self.place,
                retry_within=self.retry_within,
                lost_after=lost_after,
            )
        else:  # asked again before the same attempt, because its connection broke before the first byte
            change = postpone(mine, lost_after)
        was_kept = await self._take(mine or self.before, change)
        if not was_kept:
            raise _ClaimRefusedError("another sender was faster; nothing was sent")
        if self.pace.clock() - started > self.pace.freshness:
            raise _ClaimRefusedError("this process stood still before it could send; nothing was sent")
        self.has_sent = True

    async def _take(self, row: Row, change: Change) -> bool:
        self.has_sent = False
        kept = False

        async def take() -> None:
            nonlocal kept
            found = await self.store.move(row, change)
            if found is not None:
                self.row, kept = found, True

        await complete(take)
        return kept


async def deliver(store: DeliveryStore, client: DeliveryClient, key: str, *, pace: Pace | None = None) -> Receipt:
    """Send an event of an outbox, unless it is known what became of it. Any engine may call this, as often as it likes.

    It never fires an event twice, however often it is called and killed: what may have fired is sent again only with
    its own key, within the window that the client declares.

    :param key: as `put` returned it.
    :returns: the receipt; the first one again for an event that was accepted before.
    :raises RetryLater: call it again after `delay` seconds: it was not sent, or is being sent by another.
    :raises HeldError: it may have fired, and somebody must look. Do not call it again before that.
    :raises RefoldError: the rejection; the same one again for an event that was rejected before.
    :raises UnknownKeyError: for a key that was never put.
    :raises OutboxError: when the store fails.
    """
    row = await store.load(key)
    if row is None:
        raise UnknownKeyError(f"the outbox has no event {key!r}: it was never put, rolled back, or pruned")
    return await deliver_row(store, client, row, pace=pace)


async def deliver_row(
    store: DeliveryStore,
    client: DeliveryClient,
    row: Row,
    *,
    pace: Pace | None = None,
    gate: DeliveryGate | None = None,
) -> Receipt:
    """Do what `deliver` does for a row that was read just now.

    :param gate: what is to be sent goes through it, and is checked again once its slot was granted. Where the gate
        raises the row stays as it is.
    """
    pace = pace or Pace()
    idempotency = client.idempotency
    place = place_of(idempotency)
    retry_within = None if idempotency is None else idempotency.retry_within
    while True:
        ready = await _until_ready(store, row, place, retry_within)
        if isinstance(ready, Receipt):
            return ready
        claim = _Claim(store, pace, ready, place, retry_within)
        try:
            return await (_send(client, claim) if gate is None else _send_through(gate, client, claim))
        except _ClaimRefusedError:
            row = await _load(store, row.key)


async def _send_through(gate: DeliveryGate, client: DeliveryClient, claim: _Claim) -> Receipt:
    one = await gate.enter()
    claim.check = lambda: gate.check(one)
    try:
        return await _send(client, claim)
    finally:
        gate.leave(one, claim.ending)


async def _until_ready(store: DeliveryStore, row: Row, place: str, retry_within: float | None) -> Row | Receipt:
    """Return the row if it may be sent now, or its receipt.

    :raises RefoldError: as `deliver` does.
    """
    while True:
        change: Change
        if row.state is State.ACCEPTED:
            return load_receipt(row.verdict)
        if row.state is State.REJECTED:
            raise load_error(row.verdict)
        if row.is_held:
            raise _held(row)
        if not row.is_due:
            words = "it is being sent" if row.state.is_under_way else "it is not due yet"
            raise RetryLater(words, delay=0.0 if row.due is None else row.due - row.now)
        if row.state is State.QUEUED:
            return row
        if row.state.is_under_way:
            change = lose(row)
        else:
            until = send_until(State.AMBIGUOUS, row.sent, now=row.now, place=place, retry_within=retry_within)
            if until is not None and row.send_until is not None and row.now < row.send_until:
                return row
            change = hold(row)
        row = await store.move(row, change) or await _load(store, row.key)


async def _load(store: DeliveryStore, key: str) -> Row:
    row = await store.load(key)
    if row is None:
        raise UnknownKeyError(f"the event {key!r} was pruned")
    return row


async def _send(client: DeliveryClient, claim: _Claim) -> Receipt:
    """Make the call, and write its verdict."""
    before = claim.before
    trigger = before.load_trigger()
    sent = before.sent
    failure: RefoldError
    try:
        receipt = await client.trigger(
            trigger.slug,
            trigger.event,
            trigger.payload,
            linked_account_id=trigger.linked_account_id,
            config_id=trigger.config_id,
            instance_tag=trigger.instance_tag,
            idempotency_key=trigger.idempotency_key if sent is None else sent.key,
            first_sent_at=None if sent is None else datetime.fromtimestamp(sent.at, UTC),
            deadline=claim.pace.deadline,
            retry=None,
            before_send=claim,
        )
    except RefoldError as error:
        failure = error
        claim.ending = None if isinstance(error, _ClaimRefusedError) else error
    except BaseException:  # cancelled: nobody will be told of its response
        await _abandon(claim)
        raise
    else:
        claim.ending = receipt
        await _write(claim, Event.ACCEPT, dump_receipt(receipt), 0.0, Delivery.ACCEPTED)
        return receipt
    if claim.row is None:
        raise await _never_begun(claim, failure)
    raise await _ended(claim, failure)


async def _abandon(claim: _Claim) -> None:
    """Write what is known of a call that was cancelled."""
    row = claim.row
    if row is None:
        return
    event = Event.DOUBT if claim.has_sent else Event.DEFER
    cancelled = RefoldError(
        "the sender was cancelled", delivery=Delivery.AMBIGUOUS if claim.has_sent else Delivery.NOT_SENT
    )
    try:
        await complete(lambda: _write(claim, event, dump_error(cancelled), 0.0, Delivery.AMBIGUOUS))
    except OutboxError:  # the row says that it is being sent, and will be taken for lost: that is true
        return


async def _never_begun(claim: _Claim, failure: RefoldError) -> RefoldError:
    """Return what to raise for a call that ended before its row was touched."""
    row, pace = claim.before, claim.pace
    if isinstance(failure, _ClaimRefusedError | OutboxError):
        return failure
    if isinstance(failure, InvalidTriggerError):
        if row.state is State.QUEUED:
            kept = await complete(lambda: _move(claim, row, Event.REFUSE, dump_error(failure), 0.0))
            ending: RefoldError = failure
        else:
            kept, ending = await claim.store.move(row, hold(row)), _held(row, failure)
        if kept is None:
            return _ClaimRefusedError("another sender was faster; its row says what became of it")
        return ending
    # A key that is wrong, as its own callable says, or a service that cannot be reached.
    delay = max(failure.retry_after or 0.0, pace.backoff(row.attempt))
    if not isinstance(failure, _NOT_OF_THE_EVENT):
        await claim.store.move(row, postpone(row, delay))
    return _later(failure, delay)


async def _ended(claim: _Claim, failure: RefoldError) -> RefoldError:
    """Write the verdict of an attempt that failed, and return what to raise."""
    row = claim.row
    assert row is not None
    delivery = failure.delivery or Delivery.AMBIGUOUS
    status = getattr(failure, "status_code", None)
    event = event_for(delivery, status_code=status, retry_after=failure.retry_after)
    delay = max(failure.retry_after or 0.0, claim.pace.backoff(row.attempt - 1))
    after = await complete(lambda: _write(claim, event, dump_error(failure), delay, delivery))
    if isinstance(failure, _ClaimRefusedError) or (after is not None and after.state is State.REJECTED):
        return failure
    return _held(after, failure) if after is not None and after.is_held else _later(failure, delay)


async def _write(claim: _Claim, event: Event, verdict: str, delay: float, delivery: Delivery) -> Row | None:
    """Write the verdict of this attempt. None if the row meanwhile belongs to another one.

    :raises OutboxWriteError: when that fails: then the row goes on saying that it is being sent, and is ambiguous once
        its sender counts as lost.
    """
    row = claim.row
    if row is None:  # a client that does not ask before it sends
        raise ConfigurationError("the client never called before_send=, so an outbox cannot send through it")
    try:
        return await _move(claim, row, event, verdict, delay)
    except OutboxWriteError as error:
        error.delivery = delivery
        raise


async def _move(claim: _Claim, row: Row, event: Event, verdict: str, delay: float) -> Row | None:
    store = claim.store
    while True:
        change = end(row, event, verdict, delay=delay, keep_payload=store.keeps_payloads)
        after = await store.move(row, change)
        if after is not None:
            return after
        found = await store.load(row.key)
        # This sender was taken for lost. Its verdict may still say more, as long as nothing else was done.
        if (
            found is None
            or found.attempt != row.attempt
            or found.state is not State.AMBIGUOUS
            or not row.state.is_under_way
        ):
            return None
        row = found


def _later(failure: RefoldError, delay: float) -> RetryLater:
    words = str(failure).rstrip(".")
    later = RetryLater(
        f"{words}; to be tried again", delay=delay, delivery=failure.delivery, retry_after=failure.retry_after
    )
    later.__cause__ = failure
    return later


def _held(row: Row, failure: RefoldError | None = None) -> HeldError:
    held = HeldError(
        f"the event {row.key!r} may have fired: look whether it did, and say so with resolve()",
        delivery=Delivery.AMBIGUOUS,
        attempts=row.attempt,
    )
    held.__cause__ = failure
    return held
