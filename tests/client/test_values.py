"""The value objects and the error tree."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import attrs
import pytest

import refold_async
from refold_async import (
    AcceptedOutcome,
    APIError,
    BatchInterruptedError,
    BatchResult,
    ConfigurationError,
    Delivery,
    ExecutionDetail,
    FailedOutcome,
    Outcome,
    Receipt,
    RefoldError,
    ServerError,
    Trigger,
    UnexpectedResponseError,
)
from refold_async._types.values import UNSET

ERRORS = [
    getattr(refold_async, name)
    for name in refold_async.__all__
    if isinstance(getattr(refold_async, name), type) and issubclass(getattr(refold_async, name), RefoldError)
]


EXECUTION = ExecutionDetail.of(
    {"_id": "x1", "status": "ERRORED", "createdAt": "2026-07-01T00:00:00Z", "nodes": [{"node_id": "n1"}], "new": None}
)

WITHOUT_VERDICT: dict[str, tuple[Any, ...]] = {
    "ExecutionFailedError": (EXECUTION,),
    "InvalidRequestError": (),
    "WaitTimeoutError": (EXECUTION,),
    "WebhookBodyError": (),
    "WebhookPayloadError": (),
    "WebhookSignatureError": (),
}
"""They are about what fires nothing: what each takes beside its message."""


def make(kind: type[RefoldError]) -> RefoldError:
    if kind.__name__ in WITHOUT_VERDICT:
        return kind("what to do", *WITHOUT_VERDICT[kind.__name__])
    more: dict[str, Any] = {}
    if issubclass(kind, APIError):
        more = {"status_code": 418, "error_type": "T", "error_code": "C", "request_id": "r", "body": "b"}
    elif kind is UnexpectedResponseError:
        more = {"status_code": 200, "body": "<html>"}
    elif kind is BatchInterruptedError:
        more = {"result": BatchResult()}
    trigger = Trigger("slack", "E", {"a": 1}, context="ticket")
    return kind("what to do", delivery=Delivery.AMBIGUOUS, attempts=2, trigger=trigger, retry_after=1.5, **more)


def test_every_error_is_in_the_tree_with_its_bases() -> None:
    names = {kind.__name__: {base.__name__ for base in kind.__mro__} for kind in ERRORS}
    assert set(WITHOUT_VERDICT) <= set(names)
    assert {"ValueError"} <= names["InvalidTriggerError"]
    for name in ("DeadlineExceededError", "PacingTimeoutError", "RefoldTimeoutError"):
        assert "TimeoutError" in names[name]
    api = {"BadRequest", "Authentication", "PermissionDenied", "NotFound", "Conflict", "RateLimited", "Server"}
    assert {name for name, bases in names.items() if "APIError" in bases} == {"APIError", *(f"{n}Error" for n in api)}
    statuses = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError"}
    statuses |= {409: "ConflictError", 429: "RateLimitedError", 500: "ServerError", 599: "ServerError", 418: "APIError"}
    assert {status: APIError.of_status(status).__name__ for status in statuses} == statuses


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_errors_survive_pickle_and_copy(kind: type[RefoldError], through: Any) -> None:
    error = make(kind)
    twin = through(error)
    assert type(twin) is kind
    assert str(twin) == str(error) == "what to do"
    assert twin.__dict__ == error.__dict__
    assert repr(twin) == repr(error)
    if kind.__name__ in WITHOUT_VERDICT:
        assert repr(error) == f"{kind.__name__}('what to do', delivery=None, attempts=0)"
        # What became of an execution says that its event fired.
        assert error.safe_to_resend is (kind.__name__ not in ("ExecutionFailedError", "WaitTimeoutError"))
        own = [value for name, value in vars(twin).items() if name not in vars(RefoldError("x"))]
        assert own == list(WITHOUT_VERDICT[kind.__name__])
    else:
        assert repr(error) == f"{kind.__name__}('what to do', delivery=AMBIGUOUS, attempts=2)"


def test_what_cannot_be_pickled_is_left_behind() -> None:
    error = ServerError("x", trigger=Trigger("slack", "E", {"a": 1}, context=threading.Lock()))
    twin = pickle.loads(pickle.dumps(error))
    assert twin.trigger == Trigger("slack", "E", {"a": 1})
    odd = ServerError("x", trigger=Trigger("slack", "E", {"a": threading.Lock()}, ordering_key="k"))
    assert pickle.loads(pickle.dumps(odd)).trigger == Trigger("slack", "E", ordering_key="k")


def test_safe_to_resend_is_never_true_where_it_may_have_fired() -> None:
    safe = {verdict: RefoldError("x", delivery=verdict).safe_to_resend for verdict in Delivery}
    assert safe == {
        Delivery.ACCEPTED: False, Delivery.REJECTED: True, Delivery.NOT_SENT: True, Delivery.AMBIGUOUS: False
    }  # fmt: skip


def test_triggers_and_receipts_are_frozen_and_show_no_payload() -> None:
    trigger = Trigger("slack", "E", {"secret": 1}, linked_account_id="a", context="mine")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        trigger.slug = "x"  # type: ignore[misc]
    assert "secret" not in repr(trigger)
    receipt = Receipt(message="ok", status_code=200, raw=b"body")
    assert receipt.delivery is Delivery.ACCEPTED
    assert "body" not in repr(receipt)
    assert pickle.loads(pickle.dumps((trigger, receipt))) == (trigger, receipt)
    assert repr(UNSET) == "UNSET"


def test_a_batch_result() -> None:
    trigger = Trigger("slack", "E")
    receipt = Receipt(message="ok", status_code=200)
    outcomes: list[Outcome] = [AcceptedOutcome(0, trigger, Delivery.ACCEPTED, receipt=receipt, attempts=1)]
    for index, verdict in enumerate([Delivery.REJECTED, Delivery.AMBIGUOUS, Delivery.NOT_SENT], 1):
        outcomes.append(FailedOutcome(index, trigger, verdict, error=RefoldError(verdict.value, delivery=verdict)))
    result = BatchResult(outcomes)
    assert list(result) == outcomes
    assert len(result) == 4
    assert result[1:] == BatchResult(outcomes[1:])
    assert result[-1] is outcomes[-1]
    assert result != outcomes
    assert outcomes[0].ok
    assert result.accepted == (outcomes[0],)
    assert result.failed == tuple(outcomes[1:])
    assert result.ambiguous == (outcomes[2],)
    assert repr(result) == "<BatchResult of 4: accepted=1, rejected=1, not_sent=1, ambiguous=1>"
    assert repr(BatchResult()) == "<BatchResult of 0: empty>"
    with pytest.raises(ExceptionGroup) as caught:
        result.raise_for_failures()
    assert caught.value.exceptions == tuple(outcome.error for outcome in outcomes[1:])
    result[:1].raise_for_failures()
    with pytest.raises(TypeError):
        hash(result)


def test_configuration_errors_are_of_the_family() -> None:
    assert issubclass(ConfigurationError, RefoldError)
    assert ConfigurationError("x").delivery is Delivery.NOT_SENT
