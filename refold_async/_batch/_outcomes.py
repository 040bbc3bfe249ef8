"""The outcomes of a batch: of calls that ended, that were cut short, and that were never made."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .._types.errors import DeadlineExceededError, InvalidTriggerError, NotAttemptedError, RefoldError
from .._types.results import BatchInterruptedError, BatchResult, Outcome
from .._types.values import Delivery, Receipt, Trigger
from ..transports._call import Call

STOPPED = "the batch was stopped before this trigger's turn"
KEY_FAILED = "an earlier trigger with the same ordering_key was not accepted"


def ended(index: int, trigger: Trigger, ending: Receipt | RefoldError) -> Outcome:
    """Give the outcome of a call."""
    if isinstance(ending, RefoldError):
        assert ending.delivery is not None  # the error of a trigger has a verdict
        return Outcome(index, trigger, ending.delivery, error=ending, attempts=ending.attempts)
    return Outcome(index, trigger, Delivery.ACCEPTED, receipt=ending, attempts=ending.attempts)


def not_attempted(index: int, trigger: Trigger, why: str) -> Outcome:
    """Give the outcome of what was not sent, though it could have been."""
    error = NotAttemptedError(f"{why}; it was not sent", trigger=trigger)
    return Outcome(index, trigger, Delivery.NOT_SENT, error=error)


def refused(index: int, trigger: Trigger, why: str) -> Outcome:
    """Give the outcome of an item that cannot be sent."""
    error = InvalidTriggerError(f"item {index} of the batch {why}", trigger=trigger)
    return Outcome(index, trigger, Delivery.NOT_SENT, error=error)


def cut_short(index: int, trigger: Trigger, call: Call, error: BaseException) -> Outcome:
    """Give the outcome of a call that something foreign has ended: it says as much as the evidence does.

    That is the kill of a worker's task, or what a callable of the caller's own (such as `classify`) raised.
    """
    try:
        delivery = call.conclude(time.time())
    except Exception:  # noqa: BLE001 - the same callable again
        delivery = Delivery.AMBIGUOUS if call.tried else Delivery.NOT_SENT
    accepted = call.accepted
    if accepted is not None and accepted.status_code is not None:
        return ended(index, trigger, Receipt(message="", status_code=accepted.status_code, attempts=call.tried))
    kind = NotAttemptedError if delivery is Delivery.NOT_SENT else DeadlineExceededError
    ending: RefoldError = kind(f"the call was cut short by {type(error).__name__}", delivery=delivery, trigger=trigger)
    if isinstance(error, Exception):
        ending = RefoldError(f"{type(error).__name__} was raised during the call", delivery=delivery, trigger=trigger)
    ending.attempts = call.tried
    ending.__cause__ = error
    return ended(index, trigger, ending)


def interrupted(
    cause: BaseException, outcomes: Iterable[Outcome], message: str, *, delivery: Delivery, attempts: int
) -> BatchInterruptedError:
    """Make the error of a batch whose source raised."""
    result = BatchResult(sorted(outcomes, key=lambda outcome: outcome.index))
    error = BatchInterruptedError(message, result=result, delivery=delivery, attempts=attempts)
    error.__cause__ = cause
    return error
