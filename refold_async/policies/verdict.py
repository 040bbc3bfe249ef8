"""What an ending means for the event: may it have fired, and may the call be tried again?"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from .._types.values import Delivery
from .retry_after import parse_retry_after

Classifier = Callable[[int, Mapping[str, str]], Delivery | None]
"""Says what a status (with its headers, names in lower case) means for the event; None for "as by default"."""


class FailureKind(enum.Enum):
    """Why an attempt did not end in acceptance; decides whether it may be tried again."""

    CONNECT = "could not connect"
    TLS = "the certificate was not accepted"
    THROTTLED = "asked to slow down"
    TOO_EARLY = "too early"
    REFUSED = "refused"
    SERVER = "failed behind the API"
    NO_ANSWER = "no answer"
    NOT_REFOLD = "an answer that is not Refold's"


@frozen
class Verdict:
    """What is known of one attempt.

    :param delivery: whether the event may have fired.
    :param kind: why it was not accepted; None where it was.
    :param retry_after: seconds the server asked to wait, where it did.
    """

    delivery: Delivery
    kind: FailureKind | None
    retry_after: float | None = None


TAKEN = Verdict(Delivery.ACCEPTED, None)
"""The verdict of a plain success."""


def classify_status(
    status_code: int, headers: Mapping[str, str], *, now: float, classify: Classifier | None = None
) -> Verdict:
    """Say what a status means for the event.

    That a 4xx, or a 503 with `Retry-After`, did not fire is an assumption about Refold; `classify` overrides it.

    :param headers: names in lower case.
    :param now: POSIX seconds, for a `Retry-After` that is a date and an answer without one.
    """
    retry_after = parse_retry_after(headers.get("retry-after"), date=headers.get("date"), now=now)
    verdict = Verdict(*_by_default(status_code, retry_after), retry_after)
    override = None if classify is None else classify(status_code, headers)
    if override is None or override is verdict.delivery:
        return verdict
    return Verdict(override, _kind_of(override, verdict.kind), retry_after)


def over_attempts(deliveries: Sequence[Delivery]) -> Delivery:
    """Give the verdict over several attempts: the best news that is certain, the worst that is possible."""
    if Delivery.ACCEPTED in deliveries:
        return Delivery.ACCEPTED
    if Delivery.AMBIGUOUS in deliveries:
        return Delivery.AMBIGUOUS
    return deliveries[-1] if deliveries else Delivery.NOT_SENT


def _by_default(status_code: int, retry_after: float | None) -> tuple[Delivery, FailureKind | None]:
    if 200 <= status_code < 300:
        return Delivery.ACCEPTED, None
    if status_code == 429 or (status_code == 503 and retry_after is not None):
        return Delivery.REJECTED, FailureKind.THROTTLED
    if status_code == 425:
        return Delivery.REJECTED, FailureKind.TOO_EARLY
    if status_code == 501 or (300 <= status_code < 500 and status_code != 408):
        return Delivery.REJECTED, FailureKind.REFUSED
    return Delivery.AMBIGUOUS, FailureKind.SERVER


def _kind_of(delivery: Delivery, default: FailureKind | None) -> FailureKind | None:
    if delivery is Delivery.ACCEPTED:
        return None
    if delivery is Delivery.AMBIGUOUS:
        return FailureKind.SERVER
    if delivery is Delivery.NOT_SENT:
        return FailureKind.CONNECT
    return default if default in (FailureKind.THROTTLED, FailureKind.TOO_EARLY) else FailureKind.REFUSED
