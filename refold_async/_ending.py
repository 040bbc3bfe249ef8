"""From what is known of a call to what its caller gets: a receipt, or the error that says why not."""

from __future__ import annotations

import httpx

from ._types.errors import (
    ClientClosedError,
    DeadlineExceededError,
    NotAttemptedError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
)
from ._types.values import Delivery, Receipt
from ._wire import read_acceptance, read_error
from .policies.verdict import FailureKind
from .transports._attempt import Attempt
from .transports._call import Call

_MEANING = {
    Delivery.ACCEPTED: "the event was accepted",
    Delivery.REJECTED: "the event did not fire",
    Delivery.NOT_SENT: "the event was not sent",
    Delivery.AMBIGUOUS: "the event may have fired: look in Refold before sending it again",
}


def receipt_of(call: Call, accepted: Attempt, key: str | None, elapsed: float, secret: str | None) -> Receipt:
    """Make the receipt of an accepted call."""
    said = read_acceptance(accepted, secret)
    assert accepted.status_code is not None
    earlier = () if accepted.number == 1 else call.attempts[: accepted.number - 1]
    return Receipt(
        message=said.message,
        status_code=accepted.status_code,
        request_id=said.request_id,
        attempts=call.tried,
        elapsed=elapsed,
        idempotency_key=key,
        after_ambiguous=any(a.verdict is not None and a.verdict.delivery is Delivery.AMBIGUOUS for a in earlier),
        raw=said.raw,
    )


def refusal_of(call: Call, secret: str | None) -> RefoldError:
    """Make the error of a call that was not accepted, its verdict and its cause included."""
    delivery = call.conclude(0.0)
    last = call.attempts[-1] if call.attempts else None
    cut_off = call.scope is not None and call.scope.cancelled_caught
    error: RefoldError
    if last is not None and last.status_code is not None:
        error = read_error(last, secret, _MEANING[delivery])
    elif last is not None and isinstance(last.error, RefoldError):
        error = last.error
    elif cut_off and call.interrupted == "closed":
        error = ClientClosedError(f"the client was closed during the call; {_MEANING[delivery]}")
    elif cut_off and call.interrupted == "stopped" and delivery is Delivery.NOT_SENT:
        error = NotAttemptedError(f"the batch was stopped before this trigger's turn; {_MEANING[delivery]}")
    elif cut_off and call.interrupted == "stopped":
        error = DeadlineExceededError(f"the batch was stopped, and no answer came in time; {_MEANING[delivery]}")
    elif cut_off:
        error = DeadlineExceededError(f"the deadline passed; {_MEANING[delivery]}")
    else:
        error = _failure(last, delivery)
    error.delivery = delivery
    error.attempts = call.tried
    verdict = None if last is None else last.verdict
    error.retry_after = None if verdict is None else verdict.retry_after
    cause = None if last is None else last.error
    if cause is not error and cause is not None:
        error.__cause__ = cause
    elif cut_off and len(call.attempts) > 1:
        error.__cause__ = call.attempts[-2].error
    return error


def _failure(last: Attempt | None, delivery: Delivery) -> RefoldError:
    cause = None if last is None else last.error
    meaning = _MEANING[delivery]
    if isinstance(cause, httpx.TimeoutException):
        return RefoldTimeoutError(f"{_words(type(cause).__name__)}; {meaning}")
    verdict = None if last is None else last.verdict
    if verdict is not None and verdict.kind is FailureKind.TLS:
        return RefoldConnectionError(
            f"the server's certificate was not accepted; check base_url and verify=; {meaning}"
        )
    if isinstance(cause, httpx.TransportError):
        return RefoldConnectionError(f"{_words(type(cause).__name__)}: {cause}; {meaning}")
    return RefoldConnectionError(f"the transport raised {type(cause).__name__}; {meaning}")


def _words(name: str) -> str:
    """Spell a class name of httpx as words: `ReadTimeout` becomes `read timeout`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
