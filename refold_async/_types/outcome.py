"""How one trigger of a batch ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from attrs import frozen

from .errors import RefoldError
from .filling import new
from .values import Delivery, Receipt, Sent, Trigger

_ACCEPTED = Delivery.ACCEPTED  # looked up once: on Python 3.11 that takes as long as making an object


class _OutcomeFields:
    __slots__ = ("__weakref__", "attempts", "delivery", "error", "index", "receipt", "trigger")


@frozen
class Outcome(_OutcomeFields):
    """How one trigger of a batch ended: an `AcceptedOutcome` with a receipt, or a `FailedOutcome` with an error.

    To a type checker it is the union of the two, so that `if outcome.ok:` tells which one it is. pyright needs
    `if outcome.error is None:` for that, or `match`. Calling it makes the one that fits the verdict.

    :param index: the trigger's place in the input, from 0.
    :param trigger: what was to be sent, `context` included.
    :param delivery: the verdict.
    :param receipt: there if and only if the event was accepted.
    :param error: there if and only if it was not.
    :param attempts: how many requests were tried, 0 if none.
    """

    index: int
    trigger: Trigger
    delivery: Delivery
    receipt: Receipt | None = None
    error: RefoldError | None = None
    attempts: int = 0

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        if cls is Outcome:
            verdict = arguments[2] if len(arguments) > 2 else named.get("delivery")
            kind: Any = AcceptedOutcome if verdict is _ACCEPTED else FailedOutcome
            return object.__new__(kind)  # type: ignore[no-any-return]
        return object.__new__(cls)

    @property
    def ok(self) -> bool:
        """Whether the event was accepted."""
        return self.delivery is _ACCEPTED

    @property
    def sent(self) -> Sent | None:
        """What was sent; None if nothing was written."""
        ending = self.receipt if self.error is None else self.error
        return None if ending is None else ending.sent

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes, without payload and context."""
        return {
            "index": self.index,
            "slug": self.trigger.slug,
            "event": self.trigger.event,
            "delivery": self.delivery.value,
            "attempts": self.attempts,
            "receipt": None if self.receipt is None else self.receipt.to_dict(),
            "error": None if self.error is None else self.error.to_dict(),
        }


class AcceptedOutcome(Outcome):
    """The event was accepted: `receipt` is there."""

    __slots__ = ()

    if TYPE_CHECKING:
        receipt: Receipt
        error: None

        @property
        def ok(self) -> Literal[True]: ...


class FailedOutcome(Outcome):
    """The event was not accepted, or nobody knows: `error` is there."""

    __slots__ = ()

    if TYPE_CHECKING:
        receipt: None
        error: RefoldError

        @property
        def ok(self) -> Literal[False]: ...


def accepted_outcome(index: int, trigger: Trigger, receipt: Receipt) -> AcceptedOutcome:
    """Make the outcome of a trigger that was accepted, in a fifth of the time: most rows of a batch have one."""
    made = new(_OutcomeFields)
    made.index = index
    made.trigger = trigger
    made.delivery = _ACCEPTED
    made.receipt = receipt
    made.error = None
    made.attempts = receipt.attempts
    made.__class__ = AcceptedOutcome
    outcome: AcceptedOutcome = made  # not by `cast`, which is a call
    return outcome
