"""The edges of what policies decide, each with the value on either side of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from refold_async import RetryPolicy
from refold_async.policies.budget import RetryBudget
from refold_async.policies.retry_after import parse_retry_after


@pytest.mark.parametrize("attempts", [1, 2, 10])
def test_a_whole_number_of_attempts_from_1_on_is_taken(attempts: int) -> None:
    assert RetryPolicy(max_attempts=attempts).max_attempts == attempts


@pytest.mark.parametrize("attempts", [0, -1, True, 1.0, "1", None])
def test_any_other_number_of_attempts_is_refused(attempts: Any) -> None:
    with pytest.raises(ValueError, match="max_attempts must be a whole number"):
        RetryPolicy(max_attempts=attempts)


@pytest.mark.parametrize("name", ["base_delay", "throttled_base_delay", "max_delay", "max_retry_after"])
@pytest.mark.parametrize("seconds", [0, 0.0, 1, 0.5])
def test_seconds_from_0_on_are_taken(name: str, seconds: float) -> None:
    given: dict[str, Any] = {name: seconds}
    assert getattr(RetryPolicy(**given), name) == seconds


@pytest.mark.parametrize("name", ["base_delay", "throttled_base_delay", "max_delay", "max_retry_after"])
@pytest.mark.parametrize("seconds", [-1, -0.001, math.inf, math.nan, True, "1"])
def test_any_other_seconds_are_refused_by_name(name: str, seconds: Any) -> None:
    given: dict[str, Any] = {name: seconds}
    with pytest.raises(ValueError, match=name):
        RetryPolicy(**given)


def test_no_longest_retry_after_is_a_setting() -> None:
    assert RetryPolicy(max_retry_after=None).max_retry_after is None


def test_the_defaults_are_those_of_the_docs() -> None:
    policy = RetryPolicy()
    seconds = (policy.base_delay, policy.throttled_base_delay, policy.max_delay, policy.max_retry_after)
    assert (policy.max_attempts, seconds, policy.retry_ambiguous) == (3, (0.5, 1.0, 8.0, 60.0), False)


NOON = "Wed, 25 Nov 2026 12:00:00 GMT"
LATER = "Wed, 25 Nov 2026 12:00:07 GMT"


def test_a_date_is_measured_against_the_answers_own_date_and_else_against_the_clock() -> None:
    assert parse_retry_after(LATER, date=NOON, now=0.0) == 7.0
    noon = 1_795_608_000.0
    assert parse_retry_after(LATER, date=None, now=noon + 2) == 5.0
    assert parse_retry_after(LATER, date="junk", now=noon + 2) == 5.0
    assert parse_retry_after(NOON, date=LATER, now=0.0) is None


def test_a_date_without_a_zone_is_read_as_utc() -> None:
    assert parse_retry_after("Wed, 25 Nov 2026 12:00:07", date=NOON, now=0.0) == 7.0


@pytest.mark.parametrize("value", ["Wed, 99 Nov 2026 12:00:00 GMT", "x" * 65, "(" * 64, "Wed, 25 Nov 99999 1:1:1 GMT"])
def test_junk_dates_are_ignored(value: str) -> None:
    assert parse_retry_after(value, date=NOON, now=0.0) is None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(budget: RetryBudget, times: int = 1000) -> int:
    return sum(budget.try_spend() for _ in range(times))


def test_a_budget_of_ones_own_counts_by_its_ratio_floor_and_window() -> None:
    clock = Clock()
    budget = RetryBudget(ratio=0.5, per_second=2.0, window=5.0, clock=clock)
    for _ in range(20):
        budget.record_call()
    assert spend(budget) == 0.5 * 20 + 2.0 * 5.0
    clock.now += 4.9
    assert spend(budget) == 0, "within the window"
    clock.now += 1.2
    assert spend(budget) == 10, "calls and retries are forgotten together, and the floor is there again"


def test_what_is_forgotten_is_forgotten_slice_by_slice() -> None:
    clock = Clock()
    budget = RetryBudget(ratio=1.0, per_second=0.0, window=10.0, clock=clock)
    for _ in range(3):
        budget.record_call()
        clock.now += 4.0
    assert spend(budget) == 2, "the first was 12 seconds ago"
    clock.now += 4.0
    budget.record_call()
    assert spend(budget) == 0, "two calls are within the window, and so are two retries"
    clock.now += 7.0
    assert spend(budget) == 1, "of both only the last call is"
