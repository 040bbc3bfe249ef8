"""The facts of one call, shared by the layers it passes through."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import anyio
from attrs import define, field

from .._hooks import Hooks
from .._types.values import Delivery, Trigger
from ..policies.retry import RetryPolicy
from ..policies.verdict import FailureKind, Verdict, over_attempts
from ._attempt import Attempt
from ._scope import Scope, TaskScope

CALL_KEY = "refold_call"
"""Where a request's `extensions` carry its `Call`."""


@define(eq=False)
class Call:
    """One call: its settings, its attempts so far, and why it was interrupted, if it was.

    :ivar patient: the deadline stands still while the call waits for the rate limit, and being asked to slow down
        does not count as an attempt.
    :ivar retry_within: seconds from the first attempt in which all must have ended, where a window is declared.
    :ivar read_limit: the most bytes of an answer that are read; None leaves the answer to the caller, unread.
    :ivar is_genuine: whether a complete success is really the service's.
    :ivar wire_reports: whether the bottom of the stack says when an attempt gets there; if not, each is presumed to.
    :ivar before_send: called once an attempt was granted its slot, before any of it is written. A `RefoldError` it
        raises ends the call there, and the attempt was not sent.
    """

    policy: RetryPolicy | None
    trigger: Trigger | None = None
    hooks: Hooks = field(factory=Hooks)
    patient: bool = False
    retry_within: float | None = None
    read_limit: int | None = None
    is_genuine: Callable[[Attempt], bool] | None = None
    wire_reports: bool = False
    before_send: Callable[[Call], None] | None = None
    scope: Scope | None = None
    interrupted: Literal["closed", "stopped"] | None = None
    idempotency_key: str | None = None
    attempts: list[Attempt] = field(factory=list)
    _seconds_left: float | None = None
    _ends: float | None = None
    _window_ends: float | None = None

    @property
    def repeats_dropped(self) -> bool:
        """Whether the receiver drops repeats of this call's key."""
        return self.retry_within is not None

    @property
    def tried(self) -> int:
        """How many attempts reached the wire."""
        return sum(attempt.on_wire for attempt in self.attempts)

    @property
    def throttled(self) -> int:
        """How many attempts were answered by asking to slow down."""
        return sum(a.verdict is not None and a.verdict.kind is FailureKind.THROTTLED for a in self.attempts)

    @property
    def on_wire(self) -> bool:
        """Whether a request is on its way right now."""
        if not self.attempts:
            return False
        last = self.attempts[-1]
        return last.on_wire and last.verdict is None

    def cancel(self) -> None:
        """End the call where it stands; its verdict is then what `conclude` says."""
        if self.scope is not None:
            self.scope.cancel()

    @property
    def deadline(self) -> float | None:
        """When the call must have ended, on the clock of the layers (`time.monotonic`); None for no limit."""
        if self._ends is None or self._window_ends is None:
            return self._ends if self._window_ends is None else self._window_ends
        return min(self._ends, self._window_ends)

    def give_time(self, seconds: float | None, now: float) -> None:
        """Set the deadline; a patient call's clock first runs when it is granted its first slot."""
        self._seconds_left = seconds
        if not self.patient:
            self.run_clock(now)

    def run_clock(self, now: float) -> None:
        """Let the deadline come nearer, if it stands still."""
        if self._seconds_left is not None:
            self._ends = now + self._seconds_left
            self._seconds_left = None
            self._tell_scope(now)

    def stop_clock(self, now: float) -> None:
        """Let the deadline stand still, if the call is patient."""
        if self.patient and self._ends is not None:
            self._seconds_left = self._ends - now
            self._ends = None
            self._tell_scope(now)

    def end_window(self, end: float, now: float) -> None:
        """Set the time by which all attempts must have ended, so that the receiver still drops repeats."""
        if self._window_ends is None or end < self._window_ends:
            self._window_ends = end
            self._tell_scope(now)

    def _tell_scope(self, now: float) -> None:
        scope, end = self.scope, self.deadline
        if isinstance(scope, TaskScope):
            scope.end_at(math.inf if end is None else end)
        elif scope is not None:
            scope.deadline = math.inf if end is None else anyio.current_time() + (end - now)

    def judge(self, attempt: Attempt, now: float) -> Verdict:
        """Judge an attempt, as it ended or as far as it went, and keep the verdict."""
        verdict = attempt.judge(now=now, classify=self.policy.classify if self.policy else None)
        if verdict.kind is None and attempt.complete and self.is_genuine and not self.is_genuine(attempt):
            verdict = Verdict(Delivery.AMBIGUOUS, FailureKind.NOT_REFOLD, None)
        attempt.verdict = verdict
        return verdict

    def conclude(self, now: float) -> Delivery:
        """Give the verdict over all attempts, also when the last one was cut off."""
        if self.attempts:
            last = self.attempts[-1]
            verdict = last.verdict or self.judge(last, now)
            if verdict.delivery is Delivery.ACCEPTED or last.number == 1:
                return verdict.delivery
        return over_attempts([a.verdict.delivery for a in self.attempts if a.verdict is not None])

    @property
    def accepted(self) -> Attempt | None:
        """The attempt that was accepted, if one was."""
        for attempt in self.attempts:
            if attempt.verdict is not None and attempt.verdict.delivery is Delivery.ACCEPTED:
                return attempt
        return None
