"""The rate limiter, under a clock that only moves when told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import Delivery, PacingTimeoutError, RateLimit
from refold_async.limiters import MemoryRateLimiter
from refold_async.policies.pacing import Pacer
from tests.fakes.clock import VirtualTime
from tests.unit.policies.test_pacing import check_pace

EPSILON = 1e-6


@define
class Arrival:
    """A caller: when it comes, and when it is cancelled, if it is."""

    at: float
    gives_up_after: float | None


async def play(limiter: MemoryRateLimiter, time: VirtualTime, arrivals: list[Arrival]) -> list[tuple[int, float]]:
    """Let them all come; give who was granted when, in the order of the grants."""
    grants: list[tuple[int, float]] = []

    async def arrive(number: int, arrival: Arrival) -> None:
        await time.sleep(arrival.at)
        asking = asyncio.ensure_future(ask(number))
        if arrival.gives_up_after is not None:
            await time.sleep(arrival.gives_up_after)
            asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    async def ask(number: int) -> None:
        waited = await limiter.acquire()
        assert waited >= 0
        grants.append((number, time.now))

    tasks = [asyncio.ensure_future(arrive(number, arrival)) for number, arrival in enumerate(arrivals)]
    await time.run()
    await asyncio.gather(*tasks)
    return grants


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.floats(0, 3) | st.just(0.0) | st.just(1.0),
        st.none() | st.just(0.0) | st.floats(0, 4),
    ),
    max_size=60,
)
LIMITS = st.sampled_from([RateLimit(), RateLimit(20, 1), RateLimit(3, 5), RateLimit(0.5, 1), RateLimit(7.5, 2)])


@settings(max_examples=60)
@given(arrivals=ARRIVALS, limit=LIMITS)
def test_whoever_comes_and_goes_the_pace_is_kept_in_order(arrivals: list[Arrival], limit: RateLimit) -> None:
    time = VirtualTime()
    limiter = MemoryRateLimiter(limit, clock=time, sleep=time.sleep)
    arrivals.sort(key=lambda arrival: arrival.at)
    grants = asyncio.run(play(limiter, time, arrivals))
    numbers = [number for number, _ in grants]
    check_pace([at for _, at in grants], limit)
    assert numbers == sorted(numbers), "first in, first out"
    stayed = {number for number, arrival in enumerate(arrivals) if arrival.gives_up_after is None}
    assert stayed <= set(numbers), "whoever stays is granted"
    assert limiter.waiting == 0


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=40, max_size=120), LIMITS)
def test_those_who_give_up_cost_nothing(stays: list[bool], limit: RateLimit) -> None:
    """The others are granted exactly when they would have been without them."""
    together: list[float] = []
    alone: list[float] = []
    for arrivals, grants in (
        ([Arrival(0, None if stay else 0.0) for stay in stays], together),
        ([Arrival(0, None) for stay in stays if stay], alone),
    ):
        time = VirtualTime()
        limiter = MemoryRateLimiter(limit, clock=time, sleep=time.sleep)
        played = asyncio.run(play(limiter, time, arrivals))
        grants += [at for number, at in played if arrivals[number].gives_up_after is None]
    free = sum(1 for stay in stays[: limit.burst] if not stay)  # granted before they could give up
    assert len(together) == len(alone)
    if not free:
        assert together == pytest.approx(alone)


@pytest.mark.parametrize("limit", [RateLimit(), RateLimit(8, 5), RateLimit(100, 10)])
def test_a_backlog_uses_the_documented_rate(limit: RateLimit) -> None:
    time = VirtualTime()
    limiter = MemoryRateLimiter(limit, clock=time, sleep=time.sleep)
    count = int(limit.rate * 30)
    grants = asyncio.run(play(limiter, time, [Arrival(0, None)] * count))
    times = [at for _, at in grants]
    check_pace(times, limit)
    assert times[-1] - times[0] <= count / limit.rate / 0.97


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.none() | st.tuples(st.floats(0, 90) | st.none())), min_size=1, max_size=80),
    LIMITS,
)
def test_a_pacer_keeps_rate_and_burst_for_any_arrivals(
    steps: list[tuple[float, tuple[float | None] | None]], limit: RateLimit
) -> None:
    """Pure arithmetic: time passes, and there is either a grant as soon as may be, or a 429."""
    pacer = Pacer(limit)
    now, paused_until, times = 100.0, 0.0, []
    for passed, throttled in steps:
        now += passed
        if throttled is None:
            now = max(now, pacer.earliest(now))
            assert pacer.earliest(now) == now, "what is due stays due"
            assert now >= paused_until - EPSILON
            assert pacer.grant(now)
            pacer.sent(now, now)
            times.append(now)
        else:
            pacer.throttled(now, throttled[0])
            pause = 1.0 if throttled[0] is None else min(60.0, throttled[0])
            paused_until = max(paused_until, now + pause)
            assert min(1.0, limit.rate) <= pacer.rate(now) <= limit.rate
    check_pace(times, limit)
    assert pacer.rate(now + 10_000) == limit.rate, "it recovers"


def test_a_429_slows_once_per_pause_and_recovers() -> None:
    pacer = Pacer(RateLimit())
    for _ in range(10):
        pacer.throttled(0.0, 2.0)
    assert pacer.rate(0.0) == pytest.approx(14.0)
    assert pacer.earliest(0.5) == 2.0
    assert pacer.rate(2.0) == pytest.approx(14.0)
    assert pacer.rate(5.0) == pytest.approx(17.0)
    assert pacer.rate(8.0) == 20.0
    for pause in range(30):
        pacer.throttled(8.0 + pause / 10, 0.05)
    assert pacer.rate(11.0) >= 1.0, "never below 1/s"


def limited(limit: RateLimit, time: VirtualTime, **options: Any) -> MemoryRateLimiter:
    return MemoryRateLimiter(limit, clock=time, sleep=time.sleep, **options)


@pytest.mark.asyncio
async def test_a_wait_past_the_deadline_fails_at_once_and_takes_no_slot() -> None:
    time = VirtualTime()
    limiter = limited(RateLimit(1, 1), time)
    await limiter.acquire()
    waiting = asyncio.ensure_future(limiter.acquire())
    await time.settle()
    with pytest.raises(PacingTimeoutError, match=r"no slot for 2\.0 s") as caught:
        await limiter.acquire(deadline=time.now + 1.5)
    assert caught.value.delivery is Delivery.NOT_SENT
    assert isinstance(caught.value, TimeoutError)
    assert limiter.waiting == 1
    third = asyncio.ensure_future(limiter.acquire(deadline=time.now + 2.5))
    await time.run()
    assert await waiting == pytest.approx(1.02)
    assert await third == pytest.approx(2.04)


@pytest.mark.asyncio
async def test_a_429_while_waiting_pauses_those_who_wait() -> None:
    time = VirtualTime()
    limiter = limited(RateLimit(1, 1), time)
    await limiter.acquire()
    patient = asyncio.ensure_future(limiter.acquire())
    hurried = asyncio.ensure_future(limiter.acquire(deadline=time.now + 5))
    await time.settle()
    await limiter.throttled(30.0)
    await time.run()
    assert await patient == pytest.approx(30.0)
    with pytest.raises(PacingTimeoutError):
        await hurried
    assert limiter.waiting == 0


@pytest.mark.asyncio
async def test_the_pause_has_a_limit() -> None:
    time = VirtualTime()
    limiter = limited(RateLimit(), time, max_retry_after=5.0)
    await limiter.throttled(3600.0)
    waiting = asyncio.ensure_future(limiter.acquire())
    await time.run()
    assert await waiting == pytest.approx(5.0)
    assert repr(limiter) == "<MemoryRateLimiter 14/s of 20, burst 5, 0 waiting>"
