"""When to try again, and after how long: a pure decision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from .verdict import Classifier, FailureKind, Verdict

_NEVER = frozenset(
    {
        FailureKind.TLS,
        FailureKind.PROXY,
        FailureKind.LOCAL,
        FailureKind.REJECTED,
        FailureKind.CONFLICT,
        FailureKind.NOT_REFOLD,
    }
)
_MAY_HAVE_FIRED = frozenset({FailureKind.SERVER, FailureKind.NO_RESPONSE})

HINT_JITTER = 0.1
"""The share of a `Retry-After` that is added at random, so that those throttled together do not return together."""


def _seconds(_: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be a number of seconds, 0 or more, not {value!r}")


@frozen(kw_only=True)
class RetryPolicy:
    """When to try again, and after how long.

    The delay is drawn evenly between 0 and `base_delay` × 2^(attempt - 1), at most `max_delay` ("full jitter", which
    spreads callers that failed together). A `Retry-After` is waited out instead: never shortened,
    and lengthened at random by up to a tenth.

    :param max_attempts: how many requests may be tried, the first one included. In a batch those that were answered by
        asking to slow down do not count, up to 20 of a row, unless this is 1.
    :param base_delay: seconds; the most that is waited before the second attempt.
    :param throttled_base_delay: likewise after a 429 that does not say how long to wait.
    :param max_delay: seconds; the most that is waited without a `Retry-After`.
    :param max_retry_after: the longest `Retry-After`, in seconds, that is waited out; a longer one fails the call at
        once. None for no limit.
    :param retry_ambiguous: also try again when the event may have fired. Without a declared idempotency window this
        means at-least-once: the event may fire twice.
    :param classify: overrides what a status means for the event; see `Classifier`.
    """

    max_attempts: int = field(default=3)
    base_delay: float = field(default=0.5, validator=_seconds)
    throttled_base_delay: float = field(default=1.0, validator=_seconds)
    max_delay: float = field(default=8.0, validator=_seconds)
    max_retry_after: float | None = field(default=60.0)
    retry_ambiguous: bool = False
    classify: Classifier | None = None

    @max_attempts.validator
    def _check_attempts(self, _: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"max_attempts must be a whole number of at least 1, not {value!r}")

    @max_retry_after.validator
    def _check_retry_after(self, attribute: Any, value: object) -> None:
        if value is not None:
            _seconds(self, attribute, value)

    def decide(
        self,
        verdict: Verdict,
        *,
        attempt: int,
        is_deduplicated: bool,
        remaining: float | None,
        random: Callable[[], float],
        uncounted_attempts: int = 0,
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up.

        :param verdict: what is known of the attempt that just ended.
        :param attempt: its number, from 1.
        :param is_deduplicated: whether the receiver drops repeats of this call.
        :param remaining: seconds to the deadline; a wait that would pass it is not begun.
        :param random: gives numbers in [0, 1).
        :param uncounted_attempts: how many attempts so far do not count against `max_attempts`, unless that is 1.
        """
        kind = verdict.kind
        counted = attempt if self.max_attempts == 1 else attempt - uncounted_attempts
        if kind is None or kind in _NEVER or counted >= self.max_attempts:
            return None
        if kind in _MAY_HAVE_FIRED and not (is_deduplicated or self.retry_ambiguous):
            return None
        if kind is FailureKind.TOO_EARLY and attempt > 1:
            return None
        delay = self._delay(verdict, attempt, random)
        if delay is None or (remaining is not None and delay >= remaining):
            return None
        return delay

    def _delay(self, verdict: Verdict, attempt: int, random: Callable[[], float]) -> float | None:
        if verdict.retry_after is not None:
            too_long = self.max_retry_after is not None and verdict.retry_after > self.max_retry_after
            return None if too_long else verdict.retry_after * (1 + HINT_JITTER * random())
        base = self.throttled_base_delay if verdict.kind is FailureKind.THROTTLED else self.base_delay
        return random() * min(self.max_delay, base * 2.0 ** min(attempt - 1, 64))
