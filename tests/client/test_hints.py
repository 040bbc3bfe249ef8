"""A `Retry-After` neither switches backoff off nor stops a client for longer than the longest pause."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from refold_async import Delivery, PacingTimeoutError, RateLimit, RefoldError, RetryPolicy
from refold_async.policies.retry_after import parse_retry_after
from refold_async.policies.verdict import FailureKind, Verdict
from refold_async.testing import Fault, MockRefold
from tests.batch.support import trigger
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over
from tests.support import ending

YEAR = 365 * 86400
ZEROES = ["0", "0.0", "0.", "00", " 0 ", "-0", "-5", "nan", "inf", "-inf", "1e3", "", "soon", "0x10"]


@pytest.mark.parametrize("value", ZEROES)
def test_a_retry_after_that_asks_for_no_time_or_is_junk_is_ignored(value: str) -> None:
    assert parse_retry_after(value, date=None, now=0.0) is None


def test_a_date_that_is_now_or_past_is_ignored() -> None:
    moment = "Wed, 25 Nov 2026 10:00:00 GMT"
    assert parse_retry_after(moment, date=moment, now=0.0) is None
    assert parse_retry_after(moment, date="Wed, 25 Nov 2026 10:00:01 GMT", now=0.0) is None


@pytest.mark.parametrize(("chance", "least", "most"), [(0.0, 10.0, 10.0), (0.5, 10.0, 11.0), (0.999, 10.0, 11.0)])
def test_a_hint_is_jittered_upwards_by_a_tenth(chance: float, least: float, most: float) -> None:
    verdict = Verdict(Delivery.REJECTED, FailureKind.THROTTLED, retry_after=10.0)
    policy = RetryPolicy()
    delay = policy.decide(verdict, attempt=1, is_deduplicated=False, remaining=None, random=lambda: chance)
    assert delay is not None
    assert least <= delay <= most
    if chance:
        assert delay > 10.0, "those who were throttled together do not return together"


def test_jitter_does_not_lift_a_hint_past_the_longest_that_is_waited_out() -> None:
    """A hint of exactly `max_retry_after` is still waited out, whatever the dice say."""
    verdict = Verdict(Delivery.REJECTED, FailureKind.THROTTLED, retry_after=60.0)
    policy = RetryPolicy(max_retry_after=60.0)
    delay = policy.decide(verdict, attempt=1, is_deduplicated=False, remaining=None, random=lambda: 0.999)
    assert delay is not None
    assert 60.0 <= delay <= 66.0


@pytest.mark.parametrize("hint", ["0", "0.0", "-1", "nan"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_429_whose_hint_is_zero_is_retried_after_a_backoff(backend: str, hint: str) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(429 if before < 2 else 200, headers={"Retry-After": hint}))
        async with client_over(wire, retry=RetryPolicy()) as client:
            began = anyio.current_time()
            assert (await client.trigger("slack", "E", {"n": 1})).attempts == 3
        assert anyio.current_time() > began, "full jitter is drawn evenly: it is never exactly 0 twice"

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_against_429s_that_ask_for_no_wait_does_not_hammer(backend: str) -> None:
    """Each row waits between its attempts, up to a second and more; the dice are many, so that chance plays no part."""

    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(429, headers={"Retry-After": "0"}))
        async with client_over(wire, retry=RetryPolicy()) as client:
            await client.trigger_many(trigger(n) for n in range(20))
        waited = sum(spans[-1][0] - spans[0][0] for spans in wire.spans.values())
        assert waited > 0.1 * (len(wire.started) - 20)

    run(backend, main)


@pytest.mark.parametrize("hint", ["0", "0.01", "1"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_retries_of_a_batch_against_503s_stay_within_the_budget(backend: str, hint: str) -> None:
    """A fifth of 200 calls, one a second, and what the budget holds at the start; not 22 repeats of each row."""

    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(503, headers={"Retry-After": hint}))
        async with client_over(wire, retry=RetryPolicy()) as client:
            began = anyio.current_time()
            result = await client.trigger_many(trigger(n) for n in range(200))
            elapsed = anyio.current_time() - began
        assert not any(outcome.ok for outcome in result)
        assert len(wire.started) - 200 <= 0.2 * 200 + elapsed + 10

    run(backend, main)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "retry",
    [None, RetryPolicy(max_retry_after=None), RetryPolicy(max_retry_after=YEAR)],
    ids=["no retries", "no limit", "a year"],
)
async def test_one_429_with_a_long_hint_stops_the_client_for_a_minute_and_no_longer(
    server: MockRefold, retry: RetryPolicy | None
) -> None:
    server.next(Fault.throttle(str(YEAR)))
    async with server.client(retry=retry, rate_limit=RateLimit(20, 5)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}, retry=None))
        assert isinstance(got, RefoldError)
        assert (got.delivery, got.retry_after) == (Delivery.REJECTED, YEAR)
        got = await ending(client.trigger("slack", "E", {"id": 2}, deadline=30))
        assert isinstance(got, PacingTimeoutError), "the pause holds"
        waiting = asyncio.ensure_future(ending(client.trigger("slack", "E", {"id": 3}, deadline=100)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done(), "a slot in a minute is worth waiting for, with a deadline of 100 s"
    assert (await waiting).delivery is Delivery.NOT_SENT
    assert server.ledger.requests == 1
