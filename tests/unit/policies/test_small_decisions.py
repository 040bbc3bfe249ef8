"""Decisions that are read off a table: every status, every count."""

from __future__ import annotations

from typing import Any

import pytest

from refold_async import CircuitBreaker, Delivery, RetryPolicy
from refold_async.policies.circuit import CircuitState
from refold_async.policies.fence import Event, event_for
from refold_async.policies.verdict import FailureKind, Verdict


def test_a_rejection_for_a_reason_that_passes_keeps_the_event() -> None:
    for status in [*range(100, 600), None]:
        passes = status in {401, 403, 425, 429, 503}
        assert event_for(Delivery.REJECTED, status_code=status) is (Event.DEFER if passes else Event.REJECT), status
        assert event_for(Delivery.REJECTED, status_code=status, retry_after=0.5) is Event.DEFER
        assert event_for(Delivery.NOT_SENT, status_code=status) is Event.DEFER
        assert event_for(Delivery.AMBIGUOUS, status_code=status) is Event.DOUBT
        assert event_for(Delivery.ACCEPTED, status_code=status) is Event.ACCEPT


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize("uncounted", [0, 1, 2])
def test_attempts_that_do_not_count_are_had_again_but_by_who_wants_one_only(most: int, uncounted: int) -> None:
    policy = RetryPolicy(max_attempts=most)
    rejected = Verdict(Delivery.REJECTED, FailureKind.THROTTLED)

    def goes_on(attempt: int) -> bool:
        delay = policy.decide(
            rejected, attempt=attempt, is_deduplicated=False, remaining=None, random=lambda: 0.5,
            uncounted_attempts=uncounted,
        )  # fmt: skip
        return delay is not None

    attempts = 1
    while goes_on(attempts):
        attempts += 1
    assert attempts == (1 if most == 1 else most + uncounted)


def test_a_probe_that_fails_is_followed_by_another_after_the_whole_interval() -> None:
    now = 100.0
    breaker = CircuitBreaker(1, 5.0, clock=lambda: now)
    assert breaker.record_outage()
    assert breaker.seconds_to_probe() == 5.0
    now = 105.0
    for _ in range(3):
        probe = breaker.begin_probe()
        assert probe is not None
        now += 2.0
        probe.failed()
        assert (breaker.state, breaker.seconds_to_probe(), breaker.begin_probe()) == (CircuitState.OPEN, 5.0, None)
        now += 5.0


@pytest.mark.parametrize("seconds", [0.001, 0.5, 1, 3600])
def test_a_probe_may_be_due_after_any_time(seconds: Any) -> None:
    assert CircuitBreaker(1, seconds).probe_every == seconds
