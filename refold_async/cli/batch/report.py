"""What a run has to report: counters, failures, and why it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

from attrs import define, field

from ... import AuthenticationError, Delivery, Outcome, RefoldError
from ..console.words import with_cause
from .table import RowState, Table

_MOST_PRINTED: Final = 20
"""How many failures are printed as they happen; the summary has them all."""

_MOST_ALIKE_PRINTED: Final = 3
"""How many of those say the same."""

MOST_KEPT: Final = 1000
"""How many failures are kept with what was said, for the summary for machines."""

StopReason = Literal["interrupted", "input", "journal", "credential", "failures", "alike", "unreachable"]

KINDS: Final = {
    "accepted": (RowState.ACCEPTED,),
    "rejected": (RowState.REJECTED, RowState.DEFERRED),
    "not_sent": (RowState.NOT_SENT,),
    "ambiguous": (RowState.AMBIGUOUS, RowState.RESENDING),
    "invalid": (RowState.INVALID,),
}
"""How rows end, in the words of a summary, and the states that count as that."""


@define(eq=False)
class Report:
    """Counts and keeps what happened in one run.

    :param say: prints a line while the run goes on.
    :ivar stopped: why it stopped before the end of the input, and `error` what there is to say about that.
    :ivar failures: of the rows that were not accepted, the first ones; `failed` counts them all.
    :ivar finished: how many rows were tried in this run, and ended one way or the other.
    :ivar not_accepted: how many of those were rejected or are ambiguous.
    :ivar held: how many rows were kept back by another one of their ordering key.
    """

    table: Table
    say: Callable[[str], None] = field(default=lambda line: None)
    stopped: StopReason | None = None
    error: str | None = None
    failures: list[dict[str, Any]] = field(factory=list)
    failed: int = 0
    finished: int = 0
    not_accepted: int = 0
    held: int = 0
    retries: int = 0
    seconds: float = 0.0
    _printed: int = 0
    _alike: Counter[str] = field(factory=Counter)

    def stop(self, reason: StopReason, error: str | None) -> bool:
        """Record why the run stops. Only the first reason counts; returns whether this is it."""
        if self.stopped is not None:
            return False
        self.stopped, self.error = reason, error
        return True

    def counts(self) -> dict[str, int]:
        """Return how many rows ended how, over all runs."""
        return {kind: self.table.count(*states) for kind, states in KINDS.items()}

    def add_outcome(self, line: int, outcome: Outcome) -> None:
        """Record a row that was not accepted."""
        error = outcome.error
        assert isinstance(error, RefoldError)
        status = getattr(error, "status_code", None)
        self.not_accepted += outcome.delivery is not Delivery.NOT_SENT
        how, message = outcome.delivery.value.replace("_", " "), with_cause(error)
        is_said = isinstance(error, AuthenticationError)  # it stops the batch, and is printed as the reason for that
        self.add(line, how, message, is_said=is_said, error=type(error).__name__, status=status)

    def add(self, line: int, how: str, message: str, *, is_said: bool = False, **more: Any) -> None:
        """Record a row that failed, and print it unless there were many, or many of its kind.

        :param is_said: whether the same is printed at the end anyway.
        """
        self.failed += 1
        if len(self.failures) < MOST_KEPT:
            self.failures.append({"line": line, "ended": how, "message": message, **more})
        if is_said or self._printed >= _MOST_PRINTED:
            return
        self._alike[message] += 1
        alike = self._alike[message]
        if alike <= _MOST_ALIKE_PRINTED:
            self._printed += 1
            self.say(f"line {line}: {how}: {message}")
        if alike == _MOST_ALIKE_PRINTED:
            self.say("Further failures with the same message are counted, and listed at the end.")
        if self._printed == _MOST_PRINTED:
            self.say("Further failures are counted, and listed at the end.")
