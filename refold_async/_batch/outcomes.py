"""The outcomes of a batch: of calls that ended, that were cut short, and that were never made."""

from __future__ import annotations

from collections.abc import Iterable

from .._core.call import Call
from .._types.errors import BatchStoppedError, InvalidTriggerError, NotAttemptedError, RefoldError
from .._types.outcome import AcceptedOutcome, FailedOutcome
from .._types.results import BatchInterruptedError, BatchResult, Outcome
from .._types.values import Delivery, Receipt, Trigger

STOPPED = "the batch was stopped before this trigger's turn"
KEY_FAILED = "an earlier trigger with the same ordering_key was not accepted"


def failed(index: int, trigger: Trigger, error: RefoldError) -> Outcome:
    """Return the outcome of a call that was not accepted."""
    assert error.delivery is not None  # the error of a trigger has a verdict
    return FailedOutcome(index, trigger, error.delivery, error=error, attempts=error.attempts)


def not_attempted(index: int, trigger: Trigger, why: str) -> Outcome:
    """Return the outcome of what was not sent, though it could have been."""
    error = NotAttemptedError(f"{why}; it was not sent", trigger=trigger)
    return FailedOutcome(index, trigger, Delivery.NOT_SENT, error=error)


def invalid(index: int, trigger: Trigger, why: str) -> Outcome:
    """Return the outcome of an item that cannot be sent."""
    error = InvalidTriggerError(f"item {index} of the batch {why}", trigger=trigger)
    return FailedOutcome(index, trigger, Delivery.NOT_SENT, error=error)


def cut_short(index: int, trigger: Trigger, call: Call, cause: BaseException, host: str) -> Outcome:
    """Return the outcome of a call whose worker was killed: it says as much as the evidence does."""
    delivery = call.delivery
    status = call.last.status
    if delivery is Delivery.ACCEPTED and status is not None:
        receipt = Receipt(message="", status_code=status, attempts=call.tried, sent=call.sent(host))
        return AcceptedOutcome(index, trigger, delivery, receipt, None, receipt.attempts)
    kind = NotAttemptedError if delivery is Delivery.NOT_SENT else BatchStoppedError
    error = kind(f"the call was cut short by {type(cause).__name__}", delivery=delivery, trigger=trigger)
    error.attempts = call.tried
    error.sent = call.sent(host)
    error.call_id = call.id
    error.__cause__ = cause
    return failed(index, trigger, error)


def interrupted(
    cause: BaseException, outcomes: Iterable[Outcome], message: str, *, delivery: Delivery, attempts: int
) -> BatchInterruptedError:
    """Make the error of a batch whose source raised."""
    result = BatchResult(sorted(outcomes, key=lambda outcome: outcome.index))
    error = BatchInterruptedError(message, result=result, delivery=delivery, attempts=attempts)
    error.__cause__ = cause
    return error
