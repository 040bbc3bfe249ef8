"""Settings whose effect is in time or in who is asked, on a clock that jumps."""

from __future__ import annotations

import ssl
from datetime import UTC, date, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from refold_async import Idempotency, InvalidTriggerError, RateLimit, RefoldConnectionError, RefoldError, RetryPolicy
from refold_async.limiters import MemoryRateLimiter
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hint", [2, 5, 20])
@pytest.mark.parametrize("deadline", [4.0, 10.0, None])
def test_a_wait_that_would_pass_the_deadline_is_not_begun(backend: str, hint: int, deadline: float | None) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(200 if before else 503, headers={"retry-after": str(hint)}))
        began = anyio.current_time()
        async with client_over(wire, retry=RetryPolicy(), deadline=deadline) as client:
            if deadline is None or hint < deadline / 1.5:
                await client.trigger("slack", "E", {"n": 1})
                assert hint <= anyio.current_time() - began <= 1.5 * hint
            elif hint > deadline:
                with pytest.raises(RefoldError) as caught:
                    await client.trigger("slack", "E", {"n": 1})
                assert caught.value.attempts == 1
                assert anyio.current_time() == began, "it has waited in vain"

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rate", [RateLimit(2, 1), None])
def test_a_view_with_a_limit_of_its_own_goes_by_that_and_the_client_by_its_own(
    backend: str, rate: RateLimit | None
) -> None:
    async def spent(client: Any) -> float:
        began = anyio.current_time()
        for n in range(5):
            await client.trigger("slack", "E", {"n": n})
        return anyio.current_time() - began

    async def main() -> None:
        slow = MemoryRateLimiter(RateLimit(1, 1), clock=anyio.current_time)
        async with client_over(FakeTransport(lambda n, before: Reply()), rate_limit=None) as client:
            view = client.with_options(rate_limit=slow)
            assert await spent(client) == 0
            assert await spent(view) == pytest.approx(4, abs=0.2)
            assert await spent(view.with_options(rate_limit=None)) == 0
            assert await spent(view.with_options(tag=False)) == pytest.approx(5, abs=0.2)
        own = None if rate is None else MemoryRateLimiter(rate, clock=anyio.current_time)
        async with client_over(FakeTransport(lambda n, before: Reply()), rate_limit=own) as client:
            expected = 0 if rate is None else 2
            assert await spent(client.with_options(deadline=60)) == pytest.approx(expected, abs=0.2)

    run(backend, main)


@pytest.mark.parametrize("first", ["yesterday", 7, 7.5, date(2026, 1, 1), datetime(2026, 1, 1), timedelta(1)])
def test_a_first_time_that_is_none_is_refused_by_name(first: Any) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply())
        async with client_over(wire, idempotency=Idempotency(header="K")) as client:
            with pytest.raises(InvalidTriggerError, match="first_sent_at must be a datetime with a time zone"):
                await client.trigger("slack", "E", idempotency_key="k", first_sent_at=first)
            await client.trigger("slack", "E", idempotency_key="k", first_sent_at=datetime.now(UTC))
        assert len(wire.requests) == 1

    run("asyncio", main)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "is not valid yet"), (10, "has expired"), (18, "is self-signed"), (19, "self-signed one in its chain"),
        (20, "unknown authority"), (21, "unknown authority"), (62, "is for another name"), (64, "not for this address"),
        (23, "was not accepted: revoked"),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_accepted_says_why(code: int, words: str) -> None:
    cause = ssl.SSLCertVerificationError("certificate verify failed")
    cause.verify_code, cause.verify_message = code, "revoked"
    failure = httpx.ConnectError("handshake failed")
    failure.__cause__ = cause

    async def main() -> None:
        async with client_over(FakeTransport(lambda n, before: Reply(failure))) as client:
            with pytest.raises(RefoldConnectionError, match="the TLS certificate of .*" + words):
                await client.trigger("slack", "E")

    run("asyncio", main)


@pytest.mark.parametrize("hooked", [False, True])
def test_each_call_earns_a_fifth_of_a_retry_and_no_more(hooked: bool) -> None:
    """10 retries in 10 s are free."""

    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(200 if n < 200 else 503, headers={"retry-after": "1"}))
        hooks = [lambda event: None] if hooked else []
        policy = RetryPolicy(max_attempts=2)
        async with client_over(wire, retry=policy, hooks=hooks, deadline=None) as client:
            for n in range(200):
                await client.trigger("slack", "E", {"n": n})
            for n in range(200, 300):
                with pytest.raises(RefoldError):
                    await client.trigger("slack", "E", {"n": n})
        retried = len(wire.requests) - 300
        assert 10 + 200 // 5 <= retried <= 10 + 300 // 5

    run("asyncio", main)
