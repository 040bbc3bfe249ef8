"""Sending requests that are not triggers: by the same attempts, with a pace and rules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from .._api.plain import PlainRequest, Repeat
from .._api.response import cure_of, decoded_body, parse_json, parse_object, request_id_of
from .._logging import logger
from .._types.errors import (
    APIError,
    DeadlineExceededError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
    UnexpectedResponseError,
)
from .._types.evidence import Evidence
from .._types.response import Response
from .._types.values import UNSET, Delivery, Receipt, Unset
from ..policies.circuit import is_outage
from ..policies.verdict import Classifier, FailureKind, Verdict
from .call import Call
from .notify import Hooks
from .sender import Sender
from .settings import to_deadline, to_retry, to_timeouts

if TYPE_CHECKING:
    from .._api.request import EncodedRequest
    from ..limiters import PriorityRateLimiter
    from ..policies.retry import RetryPolicy
    from .settings import Settings, TimeoutTypes
    from .slots import FairSemaphore


_BROKEN_OFF = Verdict(Delivery.AMBIGUOUS, FailureKind.NO_RESPONSE)
_MEANINGS = {
    Delivery.ACCEPTED: "Refold has done it",
    Delivery.REJECTED: "Refold did not do it",
    Delivery.NOT_SENT: "it was not sent",
    Delivery.AMBIGUOUS: "Refold may have done it: look there before sending it again",
}
_CURES_OF_ALL = (401, 403, 407, 429, 501)


class PlainCall(Call):
    """A call that is not a trigger's.

    :ivar plain: what is to be sent.
    """

    __slots__ = ("plain",)

    max_response_bytes = 64_000_000  # a page of a hundred executions with all their steps is far below

    def __init__(self, plain: PlainRequest, timeout: Any, policy: RetryPolicy | None) -> None:
        super().__init__(plain.method, plain.path, None, None, None, None, None, timeout, policy)
        self.plain = plain

    def is_refold(self, evidence: Evidence) -> bool:
        """Whether a complete body is a JSON document, or there is none, as after a deletion."""
        body = decoded_body(evidence, self.max_response_bytes)
        if not body:
            return body is not None and not self.plain.is_read
        try:
            parse_json(body)
        except (ValueError, RecursionError):
            return False
        return True

    @property
    def words(self) -> str:
        """What the call is, in words."""
        return f"{self.plain.method} {self.plain.path}"

    def meaning(self, delivery: Delivery) -> str:
        """Return what a verdict means for it, in words."""
        return "nothing was changed" if self.plain.is_read else _MEANINGS[delivery]

    def cure(self, status: int) -> str | None:
        """Return what to do about a status, in words; None where there is nothing to say."""
        return cure_of(status) if status in _CURES_OF_ALL or 300 <= status < 400 else None

    def name_error(self, error: RefoldError) -> None:
        """Put the call's facts on its error. One that fires nothing has no verdict, and no trigger."""
        super().name_error(error)
        error.trigger = None
        error.sent = None
        if self.plain.is_read:
            error.delivery = None


class PlainSender(Sender):
    """Sends requests that fire nothing, for a client or a view of it, with their own pace and their own connections.

    Hooks, `before_send` and the circuit breaker are for triggers.
    """

    goes_in_steps = True
    of_triggers: PriorityRateLimiter | None = None
    """The limiter of the triggers, which a 429 pauses too."""

    @classmethod
    def of(cls, sender: Sender) -> PlainSender:
        """Return one for a client's sender."""
        lane = sender.life.lane
        made = sender.derived(cls, _without_what_is_for_triggers(sender.settings), lane.limiter, lane.budget)
        made.of_triggers = sender.limiter
        return made

    @property
    def slots(self) -> FairSemaphore | None:
        """What bounds how many requests are under way."""
        return self.life.lane.slots

    def encode(self, call: Call) -> EncodedRequest:
        """Turn the call into a request. What it was made of is checked already."""
        assert isinstance(call, PlainCall)
        account, config = self.settings.account(call.linked_account_id, call.config_id)
        return call.plain.encode(self.address, self.credential, self.settings.extra_headers, account, config)

    def _success(self, call: Call) -> Response:
        last = call.last
        assert last.status is not None
        body = decoded_body(last, call.max_response_bytes)
        raw = self.credential.redact(last.body if body is None else body)
        headers: dict[str, str] = {}
        for name, value in last.headers:
            key, text = name.decode("ascii", "replace").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return Response(
            status_code=last.status,
            raw=raw,
            headers=headers,
            request_id=request_id_of(parse_object(raw) or {}, last, self.credential.redact),
            attempts=call.tried,
            elapsed=self.life.clock.now() - call.started,
        )

    def _limiters(self) -> list[PriorityRateLimiter]:
        own = super()._limiters()
        return own if self.of_triggers is None else [*own, self.of_triggers]

    def _judge_one(self, call: Call, evidence: Evidence, classify: Classifier | None) -> Verdict:
        assert isinstance(call, PlainCall)
        verdict = super()._judge_one(call, evidence, None)  # the user's own is about triggers
        if verdict.delivery is Delivery.ACCEPTED and not evidence.complete and call.plain.is_read:
            return _BROKEN_OFF
        return verdict

    def _delay(self, call: Call, verdict: Verdict) -> float | None:
        assert isinstance(call, PlainCall)
        if call.plain.repeat is Repeat.UNWRITTEN and verdict.delivery is not Delivery.NOT_SENT:
            return None
        return super()._delay(call, verdict)

    def _may_repeat(self, call: Call) -> bool:
        assert isinstance(call, PlainCall)
        return call.plain.repeat is Repeat.FREELY

    def _finish(self, call: Call, delivery: Delivery, receipt: Receipt | None, error: RefoldError | None) -> None:
        if error is not None:
            logger.warning("call %s (%s): failed after %d attempts: %s", call.id, call.words, call.tried, error)


class FiringSender(PlainSender):
    """Sends requests that start workflows, such as a rerun, at the pace of triggers, and judged as they are."""

    @classmethod
    def of(cls, sender: Sender) -> FiringSender:
        """Return one for a client's sender."""
        return sender.derived(cls, _without_what_is_for_triggers(sender.settings), sender.limiter, sender.budget)

    @property
    def slots(self) -> FairSemaphore | None:
        """What bounds how many requests are under way."""
        return self.life.slots


def _without_what_is_for_triggers(settings: Settings) -> Settings:
    return evolve(
        settings, hooks=Hooks(), before_send=None, circuit_breaker=None, idempotency=None, tag=False, tag_field=None
    )


async def send_plain(
    sender: Sender,
    plain: PlainRequest,
    *,
    linked_account_id: str | None = None,
    config_id: str | None = None,
    timeout: TimeoutTypes | Unset = UNSET,
    deadline: float | None | Unset = UNSET,
    retry: RetryPolicy | None | Unset = UNSET,
) -> Response:
    """Send a request that is not a trigger's, and return its response.

    :param linked_account_id: another end customer than the client's.
    :raises RefoldError: its `delivery` is None for one that only reads.
    """
    settings = sender.settings
    call = PlainCall(
        plain,
        settings.timeout if isinstance(timeout, Unset) else to_timeouts(timeout),
        settings.retry if isinstance(retry, Unset) else to_retry(retry),
    )
    call.linked_account_id = linked_account_id
    call.config_id = config_id
    limit = settings.deadline if isinstance(deadline, Unset) else to_deadline(deadline)
    made = (FiringSender if plain.repeat is Repeat.AS_TRIGGER else PlainSender).of(sender)
    response: Response = await made.send(call, limit)
    return response


PROBE_SECONDS = 10.0
"""How long a read that looks for Refold may take."""


async def probe(sender: Sender, linked_account_id: str | None) -> bool | None:
    """Make one read. Returns whether Refold answered it, with whatever; None if it could not be made at all."""
    plain = PlainRequest("GET", "/api/v2/public/execution", params={"limit": "1"})
    try:
        await send_plain(
            sender,
            plain,
            linked_account_id=linked_account_id,
            retry=None,
            timeout=PROBE_SECONDS,
            deadline=PROBE_SECONDS,
        )
    except RefoldError as error:
        return was_answered(error)
    return True


def was_answered(error: RefoldError) -> bool | None:
    """Return whether the error of a read says that Refold answered; None if the read could not be made at all."""
    if isinstance(error, APIError):
        return not is_outage(status_code=error.status_code)
    if isinstance(error, DeadlineExceededError | RefoldConnectionError | RefoldTimeoutError | UnexpectedResponseError):
        return False
    return None  # no credential, a session of the user's own that refuses it
