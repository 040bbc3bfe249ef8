"""How a batch ended: an outcome for each trigger, and the error that carries them when the source raised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from attrs import evolve

from .errors import RefoldError, picklable
from .outcome import AcceptedOutcome, FailedOutcome
from .values import Delivery

if TYPE_CHECKING:  # so that `if outcome.ok:` tells which of the two it is
    Outcome = AcceptedOutcome | FailedOutcome
else:
    from .outcome import Outcome


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
    def accepted(self) -> tuple[AcceptedOutcome, ...]:
        """The outcomes of the events that Refold took."""
        return tuple(outcome for outcome in self._outcomes if outcome.ok)

    @property
    def failed(self) -> tuple[FailedOutcome, ...]:
        """Everything that was not accepted, the ambiguous ones included."""
        return tuple(outcome for outcome in self._outcomes if not outcome.ok)

    @property
    def ambiguous(self) -> tuple[FailedOutcome, ...]:
        """The part of `failed` that may have fired: settle these before you send them again."""
        return self._failed_as(Delivery.AMBIGUOUS)

    @property
    def rejected(self) -> tuple[FailedOutcome, ...]:
        """The part of `failed` that Refold rejected: it did not fire."""
        return self._failed_as(Delivery.REJECTED)

    @property
    def not_sent(self) -> tuple[FailedOutcome, ...]:
        """The part of `failed` that was not sent: it cannot have fired."""
        return self._failed_as(Delivery.NOT_SENT)

    def _failed_as(self, verdict: Delivery) -> tuple[FailedOutcome, ...]:
        return tuple(outcome for outcome in self._outcomes if not outcome.ok and outcome.delivery is verdict)

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
