"""How a batch ended: an outcome for each trigger, and the error that carries them when the source raised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

from attrs import evolve, frozen

from .errors import RefoldError, picklable
from .values import Delivery, Receipt, Sent, Trigger


@frozen
class Outcome:
    """How one trigger of a batch ended: with a receipt, or with an error.

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

    @property
    def ok(self) -> bool:
        """Whether the event was accepted."""
        return self.delivery is Delivery.ACCEPTED

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


class BatchResult(Sequence[Outcome]):
    """The outcomes of a batch, in input order, one for each input."""

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._outcomes = tuple(outcomes)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...

    @overload
    def __getitem__(self, index: slice) -> BatchResult: ...

    def __getitem__(self, index: int | slice) -> Outcome | BatchResult:
        if isinstance(index, slice):
            return BatchResult(self._outcomes[index])
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BatchResult):
            return self._outcomes == other._outcomes
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # outcomes hold payloads, which do not hash

    def __repr__(self) -> str:
        counts = dict.fromkeys(Delivery, 0)
        for outcome in self._outcomes:
            counts[outcome.delivery] += 1
        shown = ", ".join(f"{verdict.value}={count}" for verdict, count in counts.items() if count)
        return f"<BatchResult of {len(self)}: {shown or 'empty'}>"

    @property
    def accepted(self) -> tuple[Outcome, ...]:
        """The outcomes of the events that Refold took."""
        return tuple(outcome for outcome in self._outcomes if outcome.ok)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Everything that was not accepted, the ambiguous ones included."""
        return tuple(outcome for outcome in self._outcomes if not outcome.ok)

    @property
    def ambiguous(self) -> tuple[Outcome, ...]:
        """The part of `failed` that may have fired: settle these before you send them again."""
        return tuple(outcome for outcome in self._outcomes if outcome.delivery is Delivery.AMBIGUOUS)

    @property
    def rejected(self) -> tuple[Outcome, ...]:
        """The part of `failed` that Refold rejected: it did not fire."""
        return tuple(outcome for outcome in self._outcomes if outcome.delivery is Delivery.REJECTED)

    @property
    def not_sent(self) -> tuple[Outcome, ...]:
        """The part of `failed` that was not sent: it cannot have fired."""
        return tuple(outcome for outcome in self._outcomes if outcome.delivery is Delivery.NOT_SENT)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and every outcome, as values that `json.dumps` takes."""
        counts = dict.fromkeys((verdict.value for verdict in Delivery), 0)
        for outcome in self._outcomes:
            counts[outcome.delivery.value] += 1
        return {"total": len(self), **counts, "outcomes": [outcome.to_dict() for outcome in self._outcomes]}

    def raise_for_failures(self) -> None:
        """Raise what failed, all of it at once; do nothing if everything was accepted.

        :raises ExceptionGroup: of the `RefoldError` of each outcome in `failed`.
        """
        errors = [outcome.error for outcome in self._outcomes if outcome.error is not None]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} triggers were not accepted", errors)


class BatchInterruptedError(RefoldError):
    """The source of a batch raised; the cause is its error.

    :ivar result: all outcomes of `trigger_many`; of `trigger_stream`, those that you had not taken when the source
        raised.
    :ivar delivery: ambiguous as soon as any of it may have fired: look at each outcome.
    """

    result: BatchResult

    def __init__(self, message: str = "", *, result: BatchResult, **verdict: Any) -> None:
        super().__init__(message, **verdict)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        outcomes = [evolve(outcome, trigger=picklable(outcome.trigger) or outcome.trigger) for outcome in self.result]
        return rebuild, arguments, {**state, "result": type(self.result)(outcomes)}
