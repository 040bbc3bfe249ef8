"""Rate limits and 429s in a batch: it pauses and carries on, and no row is burnt by waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import (
    DeadlineExceededError,
    Delivery,
    Idempotency,
    Outcome,
    RateLimit,
    RateLimitedError,
    RefoldClient,
    RefoldConnectionError,
    RetryPolicy,
)
from refold_async._core.sender import MAX_UNCOUNTED_THROTTLES as PATIENCE
from refold_async.limiters import MemoryRateLimiter
from tests.batch.support import Rows, Told
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Plan, Reply, client_over

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


def paced(wire: FakeTransport, limit: RateLimit = RateLimit(), **options: Any) -> RefoldClient:  # noqa: B008 - frozen
    limiter = MemoryRateLimiter(limit, clock=anyio.current_time, **options.pop("limiter", {}))
    return client_over(wire, **{"rate_limit": limiter, "retry": RetryPolicy(), **options})


def throttling(fires: Callable[[float], bool], retry_after: Callable[[float], float | None]) -> Plan:
    """A server that answers 429 at certain times, counted from its first request."""
    first: list[float] = []

    def plan(n: int, before: int) -> Reply:
        now = anyio.current_time()
        first.append(now)
        since = now - first[0]
        if not fires(since):
            return Reply(200, seconds=0.2)
        seconds = retry_after(since)
        return Reply(429, seconds=0.05, headers={} if seconds is None else {"retry-after": f"{seconds:g}"})

    return plan


async def test_waiting_for_the_limiter_uses_up_no_deadline() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=0.3))
    async with paced(wire, RateLimit(1, 1), deadline=0.5) as client:
        result = await client.trigger_many(Rows(60))
    assert len(result.accepted) == 60
    assert wire.times[-1] - wire.times[0] >= 59


async def test_waiting_for_a_silent_server_uses_up_the_deadline_of_a_row() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=60 if n == 1 else 0))
    async with paced(wire, deadline=2.0, timeout=None) as client:
        began = anyio.current_time()
        result = await client.trigger_many(Rows(3))
        assert anyio.current_time() - began == pytest.approx(2, abs=0.2)
    assert [type(outcome.error) for outcome in result] == [type(None), DeadlineExceededError, type(None)]
    assert result[1].delivery is Delivery.AMBIGUOUS


@pytest.mark.parametrize("retry_after", [2.0, 30.0, 59.0])
async def test_a_429_with_a_long_retry_after_pauses_the_batch_and_then_it_carries_on(retry_after: float) -> None:
    wire = FakeTransport(throttling(lambda since: 3 <= since < 3 + retry_after, lambda since: retry_after))
    told = Told()
    async with paced(wire, deadline=1.0) as client:
        result = await client.trigger_many(Rows(200), on_outcome=told)
    assert len(result.accepted) == 200
    times = [at - wire.times[0] for at in wire.times]
    paused = [at for at in times if 3.5 < at < 3 + retry_after]
    assert not paused, "those in flight met it, and then nobody was sent"
    assert len(wire.started) <= 200 + 20
    assert max(outcome.attempts for outcome in result) <= 3


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.5, 3.0])
async def test_a_server_that_throttles_for_a_while_burns_no_row(retry_after: float | None) -> None:
    """More than three 429s in a row for one row; they are no attempts of its own."""
    wire = FakeTransport(throttling(lambda since: 2 <= since < 17, lambda since: retry_after))
    async with paced(wire, deadline=1.0) as client:
        result = await client.trigger_many(Rows(150), max_concurrency=2)
    assert len(result.accepted) == 150
    assert max(outcome.attempts for outcome in result) > 3


async def test_without_a_limiter_too() -> None:
    wire = FakeTransport(throttling(lambda since: 0 <= since < 12, lambda since: 1.0))
    async with client_over(wire, retry=RetryPolicy(), deadline=2.0) as client:
        result = await client.trigger_many(Rows(40))
    assert len(result.accepted) == 40


async def test_a_server_that_throttles_for_ever_does_not_hold_a_batch_for_ever() -> None:
    wire = FakeTransport(lambda n, before: Reply(429, headers={"retry-after": "1"}))
    async with paced(wire) as client:
        result = await client.trigger_many(Rows(4))
    assert {type(outcome.error) for outcome in result} == {RateLimitedError}
    assert {outcome.delivery for outcome in result} == {Delivery.REJECTED}
    assert {outcome.attempts for outcome in result} == {PATIENCE + 3}


@pytest.mark.parametrize("retry", [None, RetryPolicy(max_attempts=1)])
async def test_a_throttled_row_is_tried_once_when_only_one_attempt_is_allowed(retry: RetryPolicy | None) -> None:
    wire = FakeTransport(lambda n, before: Reply(429, headers={"retry-after": "1"}))
    async with paced(wire, retry=retry) as client:
        result = await client.trigger_many(Rows(4))
    assert {outcome.attempts for outcome in result} == {1}


async def test_a_lone_trigger_counts_each_attempt() -> None:
    wire = FakeTransport(lambda n, before: Reply(429, headers={"retry-after": "1"}))
    async with paced(wire) as client:
        with pytest.raises(RateLimitedError) as caught:
            await client.trigger("pipedrive", "Deal Created", {"n": 0})
    assert caught.value.attempts == 3


async def test_a_retry_after_beyond_the_limit_fails_those_that_met_it_and_pauses_the_rest() -> None:
    wire = FakeTransport(throttling(lambda since: 3 <= since < 50, lambda since: 300.0))
    async with paced(wire) as client:
        result = await client.trigger_many(Rows(200))
    assert {type(outcome.error) for outcome in result.failed} == {RateLimitedError}
    assert 1 <= len(result.failed) <= 20
    assert {outcome.error.retry_after for outcome in result.failed if outcome.error} == {300.0}


async def test_a_long_retry_after_is_waited_out_when_the_limit_is_off() -> None:
    wire = FakeTransport(throttling(lambda since: 3 <= since < 300, lambda since: 300.0))
    policy = RetryPolicy(max_retry_after=None)
    async with paced(wire, retry=policy, limiter={"max_retry_after": None}) as client:
        result = await client.trigger_many(Rows(200))
    assert len(result.accepted) == 200
    assert wire.times[-1] - wire.times[0] < 330 * 1.1, "a hint is lengthened by up to a tenth"


async def test_other_failures_count_as_ever() -> None:
    refused = httpx.ConnectError("refused")
    endings: list[int | Exception] = [refused, 429, refused, 429, 429, refused, 200]
    wire = FakeTransport(lambda n, before: Reply(endings[before], headers={"retry-after": "1"}))
    async with paced(wire) as client:
        result = await client.trigger_many(Rows(1))
    assert isinstance(result[0].error, RefoldConnectionError)
    assert result[0].attempts == 6, "three of its own, and three that were waited out"


async def test_a_declared_window_still_bounds_all_attempts() -> None:
    window = Idempotency(header="Idempotency-Key", window=10)
    wire = FakeTransport(lambda n, before: Reply(429, headers={"retry-after": "9"}))
    async with paced(wire, idempotency=window) as client:
        result = await client.trigger_many(Rows(2))
    assert {outcome.attempts for outcome in result} == {1}, "8 seconds of the window are not 9"


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0.5, 20), st.floats(0.1, 40) | st.none()), max_size=4),
    st.integers(1, 30),
    st.sampled_from(list(BACKENDS)),
)
def test_whatever_the_pauses_no_row_is_burnt(
    pauses: list[tuple[float, float | None]], concurrency: int, backend: str
) -> None:
    """Each pause comes so many seconds after the one before, and lasts for as long as its Retry-After says, or 3 s."""
    spans: list[tuple[float, float]] = []
    at = 0.0
    for after, lasts in pauses:
        at += after
        spans.append((at, at + (3.0 if lasts is None else lasts)))
        at = spans[-1][1]
    announced = {start: lasts for (start, _), (_, lasts) in zip(spans, pauses, strict=True)}

    def throttled(since: float) -> bool:
        return any(start <= since < end for start, end in spans)

    def retry_after(since: float) -> float | None:
        start, end = next(span for span in spans if span[0] <= since < span[1])
        return None if announced[start] is None else end - since

    async def main() -> None:
        wire = FakeTransport(throttling(throttled, retry_after))
        ended: list[Outcome] = []
        async with paced(wire, deadline=1.0) as client:
            async with client.trigger_stream(Rows(150), max_concurrency=concurrency) as outcomes:
                ended = [outcome async for outcome in outcomes]
        assert sum(outcome.ok for outcome in ended) == 150
        assert wire.most_in_flight <= concurrency

    run(backend, main)
