"""The arithmetic of the rate limit: the promise is about writes, whatever happens between a grant and its write."""

from __future__ import annotations

import heapq
import itertools
from math import ceil
from random import Random

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import RateLimit
from refold_async.policies.pacing import FRESH_FOR, LONGEST_PAUSE, Pacer

EPSILON = 1e-6

LIMITS = st.sampled_from(
    [RateLimit(), RateLimit(20, 1), RateLimit(3, 5), RateLimit(1.9), RateLimit(0.5, 1), RateLimit(7.5, 2)]
) | st.builds(RateLimit, st.floats(0.2, 60), st.integers(1, 30))

DELAYS = st.sampled_from([0.0, 0.005, 0.02, 0.05, 0.3, 1.2, 5.0]) | st.floats(0, 3)


def check_pace(writes: list[float], limit: RateLimit, tolerance: float = 0.0) -> None:
    """Hold the writes against both readings of the limit, by counting.

    :param tolerance: seconds by which writes may be closer together.
    """
    writes = sorted(writes)
    most, window = ceil(limit.rate), ceil(limit.rate) / limit.rate
    best_start = float("inf")
    for j, at in enumerate(writes):
        best_start = min(best_start, j - limit.rate * at)  # over all intervals that end here
        assert j + 1 - limit.rate * at - best_start <= limit.burst + limit.rate * tolerance + EPSILON, (
            "beyond the bucket"
        )
        if j >= most:
            assert at - writes[j - most] >= window - tolerance - EPSILON, "beyond the window"


@define
class Step:
    """Some time passes, then as many ask for a grant, and one that is held is written or dropped."""

    passed: float
    asked: int
    written: int | None
    dropped: int | None
    throttled: float | None


STEPS = st.lists(
    st.builds(
        Step,
        DELAYS,
        st.integers(0, 7),
        st.none() | st.integers(0, 50),
        st.none() | st.integers(0, 50),
        st.one_of([st.none()] * 9 + [st.floats(0, 90)]),
    ),
    max_size=80,
)


@settings(max_examples=600)
@given(STEPS, LIMITS)
def test_no_delay_between_grant_and_write_and_no_order_of_writes_breaks_the_pace(
    steps: list[Step], limit: RateLimit
) -> None:
    pacer, now = Pacer(limit), 1000.0
    held: list[float] = []
    writes: list[float] = []
    paused_until = 0.0
    for step in steps:
        now += step.passed
        if step.throttled is not None:
            pacer.throttled(now, step.throttled)
            paused_until = max(paused_until, now + min(step.throttled, LONGEST_PAUSE))
        for _ in range(step.asked):
            if pacer.grant(now):
                assert now >= paused_until - EPSILON, "granted in a pause"
                held.append(now)
        if held and step.dropped is not None:
            held.pop(step.dropped % len(held))
            pacer.dropped()
        if held and step.written is not None:
            granted = held.pop(step.written % len(held))
            pacer.sent(granted, now)
            writes.append(now)
    for granted in held:  # and all that is held at the end, at one instant
        pacer.sent(granted, now)
        writes.append(now)
    check_pace(writes, limit)


def backlog(limit: RateLimit, delays: list[float], count: int, drops: set[int] = frozenset()) -> list[float]:  # type: ignore[assignment]
    """Play an endless queue: each grant is used as soon as may be, and is written with a delay, or dropped at once."""
    pacer, now = Pacer(limit), 1000.0
    on_their_way: list[tuple[float, int, float]] = []
    writes: list[float] = []
    numbers = itertools.count()
    delay = itertools.cycle(delays)
    while len(writes) < count:
        while on_their_way and on_their_way[0][0] <= now + 1e-9:
            at, _, granted = heapq.heappop(on_their_way)
            now = max(now, at)
            pacer.sent(granted, now)
            writes.append(now)
        if pacer.grant(now):
            number = next(numbers)
            if number in drops:
                pacer.dropped()
            else:
                heapq.heappush(on_their_way, (now + next(delay), number, now))
            continue
        at = pacer.earliest(now)
        assert at > now
        now = min(at, on_their_way[0][0]) if on_their_way else at
    return writes


@settings(max_examples=150)
@given(
    st.sampled_from([20, 1.9, 0.5, 7.5, 50, 8]),
    st.integers(2, 20),
    st.lists(st.sampled_from([0.0, FRESH_FOR]) | st.floats(0, FRESH_FOR), min_size=1, max_size=40),
)
def test_with_short_delays_a_backlog_uses_97_percent_of_the_rate(rate: float, burst: int, delays: list[float]) -> None:
    limit = RateLimit(rate, max(burst, ceil(rate * FRESH_FOR) + 1))
    count = max(20, 20 * ceil(rate))
    writes = backlog(limit, delays, count + 1)
    check_pace(writes, limit)
    assert count / (writes[-1] - writes[0]) >= 0.97 * rate


@pytest.mark.parametrize("rate", [20, 1.9, 0.5])
def test_with_a_burst_of_one_and_no_delays_a_backlog_uses_97_percent_of_the_rate(rate: float) -> None:
    writes = backlog(RateLimit(rate, 1), [0.0], 200)
    check_pace(writes, RateLimit(rate, 1))
    assert 199 / (writes[-1] - writes[0]) >= 0.97 * rate


@settings(max_examples=100)
@given(LIMITS, st.sets(st.integers(0, 60), max_size=40), st.lists(st.floats(0, FRESH_FOR), min_size=1, max_size=7))
def test_a_dropped_grant_delays_nobody(limit: RateLimit, drops: set[int], delays: list[float]) -> None:
    assert backlog(limit, delays, 40, drops) == pytest.approx(backlog(limit, delays, 40))


@settings(max_examples=200)
@given(LIMITS, st.integers(0, 70), st.integers(0, 30), st.floats(0, 2))
def test_the_forecast_for_those_who_queue_is_never_late_and_not_far_early(
    limit: RateLimit, ahead: int, before: int, passed: float
) -> None:
    """`earliest(now, ahead)` is when the one behind so many others is granted, if all are written at once."""
    pacer, now = Pacer(limit), 1000.0
    for _ in range(before):
        if pacer.grant(now):
            pacer.sent(now, now)
    now += passed
    forecast = pacer.earliest(now, ahead)
    for _ in range(ahead + 1):
        now = max(now, pacer.earliest(now))
        assert pacer.grant(now)
        pacer.sent(now, now)
    assert forecast <= now + EPSILON
    assert now - forecast <= limit.burst / limit.rate + EPSILON


def test_memory_and_time_stay_small_at_a_million_a_second() -> None:
    limit = RateLimit(1_000_000, 10_000)
    pacer, now, random = Pacer(limit), 1000.0, Random(7)
    for _ in range(60_000):
        now += random.expovariate(2_000)
        if pacer.grant(now):
            pacer.sent(now - random.random() * FRESH_FOR, now)
        assert len(pacer._times) <= 1100


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1001, 3000))
def test_what_is_remembered_in_groups_keeps_the_window_all_the_same(seed: int, rate: int) -> None:
    random = Random(seed)
    delays = [random.random() * FRESH_FOR for _ in range(97)]
    writes = sorted(backlog(RateLimit(rate, rate), delays, 3 * rate))
    assert all(later - earlier >= 1 - EPSILON for earlier, later in zip(writes, writes[rate:], strict=False))
    assert 2 * rate / (writes[-1] - writes[rate - 1]) >= 0.97 * rate
