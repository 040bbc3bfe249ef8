"""What the evidence of an attempt means for the event: may it have fired, and may the call be tried again?"""

from __future__ import annotations

import enum
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from .._types.evidence import Evidence
from .._types.values import Delivery
from .retry_after import is_retry_after, parse_retry_after

Classifier = Callable[[int, Mapping[str, str]], Delivery | None]
"""Returns what a status (with its headers, names in lower case) means for the event; None for the default."""


class FailureKind(enum.Enum):
    """Why an attempt did not end in acceptance; decides whether it may be tried again."""

    CONNECT = "could not connect"
    TLS = "the TLS certificate was not accepted"
    PROXY = "the proxy asked for credentials"
    LOCAL = "stopped before anything was written"
    THROTTLED = "asked to slow down"
    TOO_EARLY = "too early"
    REJECTED = "rejected"
    CONFLICT = "409 for a key that may have been used before"
    SERVER = "failed behind the API"
    NO_RESPONSE = "no response"
    NOT_REFOLD = "a response that is not Refold's"


@frozen
class Verdict:
    """What is known of one attempt.

    :param delivery: whether the event may have fired.
    :param kind: why it was not accepted; None where it was.
    :param retry_after: seconds the server asked to wait, where it did.
    :param duplicate: whether the acceptance is a repeat that Refold dropped.
    """

    delivery: Delivery
    kind: FailureKind | None
    retry_after: float | None = None
    duplicate: bool = False


ACCEPTED_VERDICT = Verdict(Delivery.ACCEPTED, None)
_NOT_REFOLD = Verdict(Delivery.AMBIGUOUS, FailureKind.NOT_REFOLD)
_NO_RESPONSE = Verdict(Delivery.AMBIGUOUS, FailureKind.NO_RESPONSE)
LOCAL_VERDICT = Verdict(Delivery.NOT_SENT, FailureKind.LOCAL)

_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError)


def judge(
    evidence: Evidence,
    *,
    is_refold: Callable[[Evidence], bool],
    key_may_be_used: Callable[[], bool] = lambda: False,
    conflict_is_duplicate: bool = False,
    never_sent: tuple[type[Exception], ...] = (),
    classify: Classifier | None = None,
    now: Callable[[], float] = lambda: 0.0,
) -> Verdict:
    """Return what the evidence of an attempt means for the event. Pure, but for what it is given to ask.

    The rows of the table in docs/delivery.md, in the order in which they are tried.

    :param is_refold: whether a complete body is a response of Refold's own: a JSON object.
    :param key_may_be_used: whether the idempotency key may have been seen by Refold before this attempt.
    :param conflict_is_duplicate: whether a 409 for such a key is declared to mean a dropped repeat.
    :param never_sent: errors that say by their type that nothing was written, for a wire that cannot tell.
    :param classify: overrides what a status means. It must neither raise nor return anything but a `Delivery` or None.
    :param now: POSIX seconds, for a `Retry-After` that is a date in a response without a `Date`.
    """
    status = evidence.status
    if status is None:
        return _without_status(evidence, never_sent)
    if classify is None:
        if 200 <= status < 300:
            if not evidence.complete or is_refold(evidence):
                return ACCEPTED_VERDICT
            return _NOT_REFOLD
        retry_after = _retry_after(evidence, now)
        if status == 409 and key_may_be_used():
            if conflict_is_duplicate:
                return Verdict(Delivery.ACCEPTED, None, duplicate=True)
            return Verdict(Delivery.AMBIGUOUS, FailureKind.CONFLICT, retry_after)
        sheds = retry_after is not None or is_retry_after(evidence.header(b"retry-after"))
        return Verdict(*of_status(status, sheds_load=sheds), retry_after)
    default = judge(
        evidence,
        is_refold=is_refold,
        key_may_be_used=key_may_be_used,
        conflict_is_duplicate=conflict_is_duplicate,
        now=now,
    )
    headers: dict[str, str] = {}
    for name, value in evidence.headers:
        text = value.decode("utf-8", "replace")
        key = name.decode("ascii", "replace").lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    override = classify(status, headers)
    if override is None or override is default.delivery:
        return default
    return Verdict(override, _kind_of(override, default.kind), _retry_after(evidence, now))


def of_status(status: int, *, sheds_load: bool) -> tuple[Delivery, FailureKind | None]:
    """Return what a status alone means, and why.

    That a 4xx, or a 503 with `Retry-After`, did not fire is an assumption about Refold; `classify` overrides it.

    :param sheds_load: whether the response asks to come again later.
    """
    if 200 <= status < 300:
        return Delivery.ACCEPTED, None
    if status == 429 or (status == 503 and sheds_load):
        return Delivery.REJECTED, FailureKind.THROTTLED
    if status == 425:
        return Delivery.REJECTED, FailureKind.TOO_EARLY
    if status == 501 or (300 <= status < 500 and status != 408):
        return Delivery.REJECTED, FailureKind.REJECTED
    return Delivery.AMBIGUOUS, FailureKind.SERVER  # other 5xx, 408, and what no server should send: 1xx, 6xx and up


def over_attempts(deliveries: Sequence[Delivery]) -> Delivery:
    """Return the verdict over several attempts.

    Any acceptance is one; else any attempt that may have fired makes the whole ambiguous; else the last one counts.
    """
    if Delivery.ACCEPTED in deliveries:
        return Delivery.ACCEPTED
    if Delivery.AMBIGUOUS in deliveries:
        return Delivery.AMBIGUOUS
    return deliveries[-1] if deliveries else Delivery.NOT_SENT


def _without_status(evidence: Evidence, never_sent: tuple[type[Exception], ...]) -> Verdict:
    error = evidence.error
    if not evidence.reached:
        return LOCAL_VERDICT
    if evidence.written or (evidence.written is None and not isinstance(error, never_sent)):
        return _NO_RESPONSE
    if evidence.cut is not None:
        return LOCAL_VERDICT
    if is_bad_certificate(error):
        return Verdict(Delivery.NOT_SENT, FailureKind.TLS)
    if proxy_status(error) == 407:
        return Verdict(Delivery.NOT_SENT, FailureKind.PROXY)
    return Verdict(Delivery.NOT_SENT, FailureKind.CONNECT)


def _retry_after(evidence: Evidence, now: Callable[[], float]) -> float | None:
    value = evidence.header(b"retry-after")
    return None if value is None else parse_retry_after(value, date=evidence.header(b"date"), now=now())


def _kind_of(delivery: Delivery, default: FailureKind | None) -> FailureKind | None:
    if delivery is Delivery.ACCEPTED:
        return None
    if delivery is Delivery.AMBIGUOUS:
        return FailureKind.SERVER
    if delivery is Delivery.NOT_SENT:
        return FailureKind.CONNECT
    return default if default in (FailureKind.THROTTLED, FailureKind.TOO_EARLY) else FailureKind.REJECTED


def causes(error: BaseException | None) -> list[BaseException]:
    """Return an error and what it stems from, nearest first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def is_bad_certificate(error: BaseException | None) -> bool:
    """Whether the TLS handshake failed for a reason that trying again will not change."""
    return any(isinstance(e, ssl.SSLError) and not isinstance(e, _TRANSIENT_TLS) for e in causes(error))


def proxy_status(error: BaseException | None) -> int | None:
    """Return the status with which a proxy refused a tunnel, where the error says so."""
    text: Any = str(error) if type(error).__name__ == "ProxyError" else ""
    return int(text[:3]) if text[:3].isdigit() else None
