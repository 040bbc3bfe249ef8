"""The retry budget against one that remembers each call and each retry by its slice of the window."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from refold_async.policies.budget import RetryBudget

STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "retry"]), st.floats(0, 0.4) | st.floats(0, 40) | st.just(0.0)), max_size=80
)


class Remembering:
    """Tenths of the window; whatever is older than ten of them is forgotten, calls and retries together."""

    def __init__(self, ratio: float, per_second: float, window: float) -> None:
        self.ratio, self.floor, self.width = ratio, per_second * window, window / 10
        self.calls: list[int] = []
        self.retries: list[int] = []

    def move(self, now: float) -> int:
        tenth = math.floor(now / self.width)
        self.calls = [each for each in self.calls if each >= tenth - 10]
        self.retries = [each for each in self.retries if each >= tenth - 10]
        return tenth

    def call(self, now: float) -> None:
        tenth = self.move(now)
        self.calls.append(tenth)

    def retry(self, now: float) -> bool:
        tenth = self.move(now)
        fits = len(self.retries) + 1 <= self.ratio * len(self.calls) + self.floor
        if fits:
            self.retries.append(tenth)
        return fits


@given(
    st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1.0, 3.0, 10.0]), STEPS
)
def test_a_retry_is_granted_whenever_the_calls_of_the_window_have_earned_it(
    ratio: float, per_second: float, window: float, steps: list[tuple[str, float]]
) -> None:
    now = 1000.0
    budget = RetryBudget(ratio, per_second, window, clock=lambda: now)
    model = Remembering(ratio, per_second, window)
    for step, seconds in steps:
        now += seconds
        if step == "call":
            budget.record_call()
            model.call(now)
        else:
            assert budget.try_spend() == model.retry(now)


def test_what_was_earned_and_spent_is_forgotten_a_window_and_a_tenth_later_at_most() -> None:
    for age, calls_count in [(0.99, True), (10.99, True), (11.0, False)]:
        now = 0.0
        budget = RetryBudget(1.0, 0.0, 10.0, clock=lambda: now)  # noqa: B023 - used within the turn
        budget.record_call()
        now = age
        assert budget.try_spend() == calls_count, age


def test_the_defaults_are_a_fifth_of_the_calls_and_one_a_second_over_ten_seconds() -> None:
    now = 5.0
    budget = RetryBudget(clock=lambda: now)
    assert [budget.try_spend() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(5):
        budget.record_call()
    assert [budget.try_spend() for _ in range(2)] == [True, False]
    now = 16.0
    assert [budget.try_spend() for _ in range(11)] == [True] * 10 + [False]
