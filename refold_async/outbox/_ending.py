"""What becomes of one call: its verdict is written, and the engine is told what to do."""

from __future__ import annotations

from typing import Final

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
)
from .._types.values import Delivery, Receipt
from ..policies.fence import Event, State, event_for
from ._claim import Claim, ClaimRefusedError
from ._complete import complete
from ._row import Row, end, hold, postpone
from ._verdict import dump_error, dump_receipt

_NOT_OF_THE_EVENT: Final = (
    AuthenticationError, CallbackError, CircuitOpenError, ClientClosedError, ConfigurationError, DeadlineExceededError,
    PacingTimeoutError, PermissionDeniedError,
)  # fmt: skip
"""Errors before the first byte that say nothing about the event: its row stays as it is."""


async def accepted(claim: Claim, receipt: Receipt) -> None:
    """Write that the event was accepted."""
    claim.ending = receipt
    await _write(claim, Event.ACCEPT, dump_receipt(receipt), 0.0, Delivery.ACCEPTED)


async def failed(claim: Claim, failure: RefoldError) -> RefoldError:
    """Write what an error says of the event, and return what to raise."""
    if claim.row is None:
        return await _never_begun(claim, failure)
    return await _ended(claim, failure)


async def abandon(claim: Claim) -> None:
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


async def _never_begun(claim: Claim, failure: RefoldError) -> RefoldError:
    """Return what to raise for a call that ended before its row was touched."""
    row, pace = claim.before, claim.pace
    if isinstance(failure, ClaimRefusedError | OutboxError):
        return failure
    ending: RefoldError
    delay = max(failure.retry_after or 0.0, pace.backoff(row.attempt))
    if isinstance(failure, _NOT_OF_THE_EVENT):  # such as a key that is wrong, as its own callable says
        return _later(failure, delay)
    if not isinstance(failure, InvalidTriggerError):  # a service that cannot be reached
        kept, ending = await claim.store.move(row, postpone(row, delay)), _later(failure, delay)
    elif row.state is State.QUEUED:
        kept, ending = await complete(lambda: _move(claim, row, Event.REFUSE, dump_error(failure), 0.0)), failure
    else:
        kept, ending = await claim.store.move(row, hold(row)), held(row, failure)
    if kept is None:
        return ClaimRefusedError("another sender was faster; its row says what became of it")
    return ending


async def _ended(claim: Claim, failure: RefoldError) -> RefoldError:
    """Write the verdict of an attempt that failed, and return what to raise."""
    row = claim.row
    assert row is not None
    delivery = failure.delivery or Delivery.AMBIGUOUS
    status = getattr(failure, "status_code", None)
    event = event_for(delivery, status_code=status, retry_after=failure.retry_after)
    delay = max(failure.retry_after or 0.0, claim.pace.backoff(row.attempt - 1))
    after = await complete(lambda: _write(claim, event, dump_error(failure), delay, delivery))
    if isinstance(failure, ClaimRefusedError) or (after is not None and after.state is State.REJECTED):
        return failure
    return held(after, failure) if after is not None and after.is_held else _later(failure, delay)


async def _write(claim: Claim, event: Event, verdict: str, delay: float, delivery: Delivery) -> Row | None:
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


async def _move(claim: Claim, row: Row, event: Event, verdict: str, delay: float) -> Row | None:
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


def held(row: Row, failure: RefoldError | None = None) -> HeldError:
    """Return the error for an event that somebody must look at."""
    error = HeldError(
        f"the event {row.key!r} may have fired: look whether it did, and say so with resolve()",
        delivery=Delivery.AMBIGUOUS,
        attempts=row.attempt,
    )
    error.__cause__ = failure
    return error
