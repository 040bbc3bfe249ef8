"""Sending again what may have fired, so that Refold drops it if it did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import evolve

from .._core.sender import Sender
from .._types.errors import InvalidTriggerError, RefoldError
from .._types.sent import Sent, make_sent
from .._types.values import Delivery, Receipt, Trigger
from ..policies.verdict import FailureKind, Verdict

if TYPE_CHECKING:
    from .._api.request import EncodedRequest
    from .._core.call import Call

_OPEN = Verdict(Delivery.AMBIGUOUS, FailureKind.NO_RESPONSE)
"""The verdict that is to be settled."""


class Resender(Sender):
    """Sends what another call of the same client has sent: the same key and the same body, byte for byte.

    :ivar sent: what that call has sent.
    """

    sent: Sent

    @classmethod
    def of(cls, sender: Sender, sent: Sent) -> Resender:
        """Return one for a client's sender."""
        made = sender.derived(cls, sender.settings, sender.limiter, sender.budget)
        made.sent = sent
        return made

    def encode(self, call: Call) -> EncodedRequest:
        """Turn the call into a request, and compare that with what was sent.

        :raises InvalidTriggerError: where they differ.
        """
        request = super().encode(call)
        sent = self.sent
        request.token = sent.token
        again = make_sent(call.sent_as(request, self.address.host))
        for name, words in _COMPARED.items():
            if getattr(again, name) != getattr(sent, name):
                raise _refusal(f"{words} is not what was sent")
        return request


_COMPARED = {
    "linked_account_id": "the linked account",
    "config_id": "the configuration",
    "instance_tag": "the instance_tag",
    "idempotency_key": "the idempotency key",
    "body_sha256": "the body, or one of its files,",
}


async def resend(sender: Sender, error: RefoldError, deadline: float | None) -> Receipt:
    """Send again what an error was about.

    :raises InvalidTriggerError: where it cannot be sent just as it was, or too late. Nothing was sent now.
    :raises RefoldError: ambiguous as long as nothing settles what happened before.
    """
    trigger, sent = check(sender, error)
    settings = sender.settings
    payload: Any = trigger.payload
    if settings.tag_field is not None and sent.token is not None and (payload or {}).get(settings.tag_field) is None:
        payload = {**(payload or {}), settings.tag_field: sent.token}
    made = Resender.of(sender, sent)
    call = made.new_call(
        evolve(
            trigger,
            payload=payload,
            instance_tag=sent.instance_tag,
            idempotency_key=sent.idempotency_key,
            first_sent_at=sent.first_sent_at,
        )
    )
    call.given = trigger
    call.is_for_all = trigger.slug == "*"
    call.first_sent = sent.first_sent_at.timestamp()  # the window runs from then, also for the next resend
    call.verdicts = [_OPEN]
    receipt: Receipt = await made.send(call, deadline)
    return evolve(receipt, after_ambiguous=True)


def check(
    sender: Sender, error: object, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> tuple[Trigger, Sent]:
    """Return what is to be sent again.

    :param now: returns the time.
    :raises InvalidTriggerError: where that is not known for certain, or must not be sent.
    """
    if not isinstance(error, RefoldError):
        raise InvalidTriggerError(f"resend() takes the error of a trigger, not {type(error).__name__}")
    trigger, sent = error.trigger, error.sent
    window = sender.settings.idempotency
    if error.delivery is not Delivery.AMBIGUOUS:
        raise _refusal("only what may have fired needs this: send anything else with trigger()", error.delivery)
    if window is None:
        raise _refusal("without idempotency= nothing is known to drop repeats")
    if trigger is None or sent is None or sent.idempotency_key is None:
        raise _refusal("the error does not tell what was sent with which key")
    if sent.host != sender.address.host or not sender.life.has_raised(error, window):
        raise _refusal("it is not an error that this client has raised, in this process")
    if (now() - sent.first_sent_at).total_seconds() >= window.retry_within:
        raise _refusal("too much of the idempotency window has passed, so Refold may not drop it as a repeat")
    return trigger, sent


def _refusal(why: str, delivery: Delivery | None = Delivery.AMBIGUOUS) -> InvalidTriggerError:
    return InvalidTriggerError(f"not sent again: {why}; nothing was sent now", delivery=delivery)
