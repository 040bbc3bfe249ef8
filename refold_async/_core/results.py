"""From what is known of a call to its receipt, or to the error that says why not."""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx

from .._api.response import read_error, read_reply, request_id_of
from .._types.errors import (
    BatchStoppedError,
    ClientClosedError,
    DeadlineExceededError,
    NotAttemptedError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
)
from .._types.evidence import Cut, Evidence
from .._types.values import Delivery, Receipt, make_receipt
from ..policies.verdict import causes, proxy_status
from .call import Call
from .credentials import Credential

_CERTIFICATE_PROBLEMS = {
    10: "has expired",
    9: "is not valid yet",
    18: "is self-signed",
    19: "comes from an unknown authority (a self-signed one in its chain)",
    20: "comes from an unknown authority",
    21: "comes from an unknown authority",
    62: "is for another name",
    64: "is for another name, and not for this address",
}
"""By OpenSSL's `verify_code`."""


def build_receipt(
    call: Call, accepted: Evidence, document: dict[str, Any] | None, host: str, elapsed: float, credential: Credential
) -> Receipt:
    """Make the receipt of an accepted call.

    :param document: the JSON object in its body, if it was parsed already.
    """
    raw = accepted.body
    verdicts, request = call.verdicts, call.request
    assert accepted.status is not None and verdicts is not None  # noqa: PT018 - both narrow a type
    if document is None or not isinstance(accepted.head, bytes) or credential.redact(raw) is not raw:
        reading = read_reply(accepted, document, credential.redact)
        raw, document = reading.raw, reading.fields
    message = document.get("message")
    return make_receipt(
        message if isinstance(message, str) else "",
        accepted.status,
        request_id_of(document, accepted, credential.redact),
        call.tried,
        elapsed,
        None if request is None else request.key,
        len(verdicts) > 1 and call.after_ambiguous,
        raw,
        verdicts[-1].duplicate,
        None if call.first_sent is None or request is None else call.sent_as(request, host),
    )


def build_error(call: Call, host: str, credential: Credential, *, via: str | None = None) -> RefoldError:
    """Make the error of a call that was not accepted, with its verdict and its cause.

    :param via: the proxy that was in between, if any.
    """
    delivery = call.delivery
    last = call.last
    meaning = call.meaning(delivery)
    cut = last.cut if last.cut is not None else call.interrupted
    error: RefoldError
    if last.status is not None:
        error = read_error(last, credential.redact, meaning, call.cure)
    elif isinstance(last.error, RefoldError):
        error = last.error
    elif last.cut is not None:
        error = _cut_short(cut or last.cut, delivery, meaning)
    else:
        error = _failure(last.error, meaning, host, via)
    if error is not last.error:
        error.args = (f"{error.args[0]} ({call.words})",)
    error.delivery = delivery
    error.attempts = call.tried
    error.retry_after = call.verdicts[-1].retry_after if call.verdicts else None
    error.sent = call.sent(host)
    if error is not last.error and last.error is not None:
        error.__cause__ = last.error
    call.name_error(error)
    return error


def cut_short(cut: Cut, call: Call) -> RefoldError:
    """Make the error of a call that was ended from this side before anything was sent."""
    return _cut_short(cut, Delivery.NOT_SENT, call.meaning(Delivery.NOT_SENT))


def _cut_short(cut: Cut, delivery: Delivery, meaning: str) -> RefoldError:
    if cut is Cut.CLOSED:
        return ClientClosedError(f"the client was closed during the call; {meaning}")
    if cut is Cut.STOPPED and delivery is Delivery.NOT_SENT:
        return NotAttemptedError(f"the batch was stopped before this trigger's turn; {meaning}")
    if cut is Cut.STOPPED:
        return BatchStoppedError(f"the batch was stopped, and no response came in time; {meaning}")
    return DeadlineExceededError(f"the deadline passed; {meaning}")


def _failure(cause: Exception | None, meaning: str, host: str, via: str | None) -> RefoldError:
    between = "" if via is None else f" through the proxy {via}"
    if isinstance(cause, httpx.TimeoutException):
        return RefoldTimeoutError(f"{_words(type(cause).__name__)} at {host}{between}; {meaning}")
    problem = _tls_problem(cause, host)
    if problem is not None:
        return RefoldConnectionError(f"{problem}; {meaning}")
    status = proxy_status(cause)
    if status is not None:
        hint = "check its user name and password; " if status == 407 else ""
        return RefoldConnectionError(f"the proxy {via or ''} refused to connect to {host} ({status}); {hint}{meaning}")
    if isinstance(cause, httpx.TransportError):
        said = re.sub(r"\s+", " ", str(cause))
        return RefoldConnectionError(f"{_words(type(cause).__name__)} at {host}{between}: {said}; {meaning}")
    if cause is None:
        return RefoldConnectionError(f"no response from {host}; {meaning}")
    return RefoldConnectionError(f"the transport raised {type(cause).__name__}; {meaning}")


def _tls_problem(cause: Exception | None, host: str) -> str | None:
    """Return why TLS failed, in words; None if that was not it."""
    for error in causes(cause):
        if isinstance(error, ssl.SSLCertVerificationError):
            why = _CERTIFICATE_PROBLEMS.get(error.verify_code, f"was not accepted: {error.verify_message}")
            return f"the TLS certificate of {host} {why}; check base_url and verify="
        if isinstance(error, ssl.SSLError):
            reason = error.reason or ""
            if reason in (
                "WRONG_VERSION_NUMBER",
                "HTTP_REQUEST",
                "RECORD_LAYER_FAILURE",
                "UNKNOWN_PROTOCOL",
                "PACKET_LENGTH_TOO_LONG",
            ):
                return f"{host} does not speak TLS on that port: is it an http:// address?"
            if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return f"{host} closed the connection during the TLS handshake"
            return (
                f"the TLS handshake with {host} failed ({reason or type(error).__name__}); check base_url and verify="
            )
    return None


def _words(name: str) -> str:
    """Spell a class name of httpx as words: `ReadTimeout` becomes `read timeout`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
