"""The first rows of each event are a trial: if they all fail alike, the name is wrong, and not the rows."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from ... import APIError, Delivery, Outcome, Trigger
from ...policies.fence import PASSING_STATUSES

FIRST_ROWS: Final = 10
"""How many rows of an event may be under way or rejected before one was answered otherwise."""

_MOST_EVENTS: Final = 10_000
"""How many events are kept apart; those that come later have no trial. They bound the memory."""

_Kind = tuple[str, int, str | None]


@define(eq=False)
class _Trial:
    """How the first rows of an event fare.

    :ivar out: how many were handed out and have not ended.
    :ivar rejected: how many were rejected, all of them for the same `kind` of reason.
    :ivar passed: whether one ended otherwise; then the others need not wait.
    """

    out: int = 0
    rejected: int = 0
    kind: _Kind | None = None
    passed: bool = False


@define(eq=False)
class Trials:
    """Holds the rows of an event back until one of its first rows was not rejected like all others.

    What always holds: an event of which every row is rejected alike costs at most `FIRST_ROWS` rows.

    :param on: False lets everything pass.
    """

    on: bool = True
    _trials: dict[tuple[str, str], _Trial] = field(factory=dict, init=False)

    def may_go(self, trigger: Trigger) -> bool:
        """Whether a row may be handed out now; if not, it may when another of its event has ended."""
        trial = self._of(trigger)
        return trial is None or trial.passed or trial.out + trial.rejected < FIRST_ROWS

    def goes(self, trigger: Trigger) -> None:
        """Record that a row was handed out."""
        trial = self._of(trigger)
        if trial is not None:
            trial.out += 1

    def ended(self, outcome: Outcome) -> str | None:
        """Record how a row ended. Returns a sentence if this shows that its event's rows all fail alike."""
        trial = self._of(outcome.trigger)
        if trial is None:
            return None
        trial.out -= 1
        error = outcome.error
        status = getattr(error, "status_code", None)
        if outcome.delivery is Delivery.ACCEPTED:
            trial.passed = True
        if trial.passed or outcome.delivery is not Delivery.REJECTED or status in PASSING_STATUSES - {403}:
            return None
        assert isinstance(error, APIError)
        kind = (type(error).__name__, error.status_code, error.error_code)
        if trial.kind not in (None, kind):
            trial.passed = True
            return None
        trial.kind = kind
        trial.rejected += 1
        if trial.rejected < FIRST_ROWS:
            return None
        return (
            f"the first {FIRST_ROWS} rows of the event {outcome.trigger.event!r} ({outcome.trigger.slug}) were all "
            f"rejected alike, the last one with: {error}. Nothing more was sent. If that is right for these rows, go "
            "on with --keep-going"
        )

    def _of(self, trigger: Trigger) -> _Trial | None:
        if not self.on:
            return None
        name = (trigger.slug, trigger.event)
        trial = self._trials.get(name)
        if trial is None and len(self._trials) < _MOST_EVENTS:
            trial = self._trials[name] = _Trial()
        return trial
