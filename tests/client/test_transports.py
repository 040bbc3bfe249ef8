"""The policies as transports, each alone in a plain `httpx.AsyncClient`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import httpx
import pytest

from refold_async import RateLimit, RetryPolicy
from refold_async.policies.budget import RetryBudget
from refold_async.testing import Fault, MockRefold
from refold_async.transports import ConcurrencyTransport, RateLimitTransport, RetryTransport
from tests.fakes.clock import VirtualTime
from tests.fakes.transport import FakeTransport, fired
from tests.support import QUICK

pytestmark = pytest.mark.asyncio

URL = "http://service.test/"


class Delays:
    """A clock that jumps instead of sleeping, and says how far."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_the_retry_transport_retries_inside_a_plain_httpx_client() -> None:
    delays = Delays()
    transport = FakeTransport.answering(
        httpx.ConnectError("x"), httpx.Response(429, headers={"Retry-After": "7"}), fired()
    )
    seen = transport.requests
    retrying = RetryTransport(transport, random=lambda: 0.5, sleep=delays.sleep)
    async with httpx.AsyncClient(transport=retrying) as session:
        response = await session.post(URL, content=b'{"a":1}')
    assert response.json() == {"message": "Webhook Fired Success"}
    assert [request.content for request in seen] == [b'{"a":1}'] * 3
    assert delays.slept == [0.25, pytest.approx(7.0 * 1.05)], "a hint is lengthened by up to a tenth"


@pytest.mark.parametrize(("method", "tries"), [("POST", 1), ("PATCH", 1), ("GET", 3), ("PUT", 3), ("DELETE", 3)])
@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.ReadTimeout("x")])
async def test_only_idempotent_methods_repeat_what_may_have_happened(
    method: str, tries: int, answer: httpx.Response | Exception
) -> None:
    transport = FakeTransport.answering(answer)
    seen = transport.requests
    async with httpx.AsyncClient(transport=RetryTransport(transport, policy=QUICK)) as session:
        if isinstance(answer, httpx.Response):
            assert (await session.request(method, URL)).status_code == 500
        else:
            with pytest.raises(httpx.ReadTimeout, match="x"):
                await session.request(method, URL)
    assert len(seen) == tries


async def test_a_policy_for_one_request_and_a_stream_that_cannot_be_repeated() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"once"

    transport = FakeTransport.answering(httpx.ConnectError("x"))
    seen = transport.requests
    async with httpx.AsyncClient(transport=RetryTransport(transport, policy=QUICK)) as session:
        for options in ({"extensions": {"retry": None}}, {"content": stream()}):
            seen.clear()
            with pytest.raises(httpx.ConnectError):
                await session.post(URL, **options)
            assert len(seen) == 1


async def test_a_budget_of_ones_own() -> None:
    transport = FakeTransport.answering(httpx.ConnectError("x"))
    seen = transport.requests
    budget = RetryBudget(ratio=0, per_second=0)
    async with httpx.AsyncClient(transport=RetryTransport(transport, policy=QUICK, budget=budget)) as session:
        with pytest.raises(httpx.ConnectError):
            await session.get(URL)
    assert len(seen) == 1


async def test_what_is_not_of_httpx_passes_through() -> None:
    transport = FakeTransport.answering(KeyError("foreign"))
    seen = transport.requests
    async with httpx.AsyncClient(transport=RetryTransport(transport, policy=QUICK)) as session:
        with pytest.raises(KeyError):
            await session.get(URL)
    assert len(seen) == 1


async def test_over_real_sockets_the_answer_is_a_stream(server: MockRefold) -> None:
    server.next(Fault.throttle("0"), Fault.answer(404, body=b"x" * 100_000))
    wire = ConcurrencyTransport(httpx.AsyncHTTPTransport(), max_concurrency=1)
    slots = wire._slots
    async with httpx.AsyncClient(transport=RetryTransport(wire, policy=QUICK)) as session:
        event = {"event": "E"}
        headers = {"x-api-key": server.api_key, "linked_account_id": "a"}
        async with session.stream(
            "POST", f"{server.url}/api/v2/public/event/slack", json=event, headers=headers
        ) as response:
            assert response.status_code == 404
            assert slots.available == 0, "a place is held until the answer is read or closed"
            assert len(await response.aread()) == 100_000
        assert slots.available == 1
    assert server.ledger.requests == 2


async def test_the_concurrency_transport_limits_requests_inside_a_plain_httpx_client() -> None:
    running = most = 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return httpx.Response(200)

    bounded = ConcurrencyTransport(httpx.MockTransport(handle), max_concurrency=3)
    async with httpx.AsyncClient(transport=bounded) as session:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(session.get, URL)
        assert (most, bounded._slots.available) == (3, 3)


async def test_a_failed_request_gives_its_place_back() -> None:
    transport = FakeTransport.answering(httpx.ReadError("x"))
    bounded = ConcurrencyTransport(transport, max_concurrency=1)
    async with httpx.AsyncClient(transport=bounded) as session:
        for _ in range(3):
            with pytest.raises(httpx.ReadError):
                await session.get(URL)
    for bad in (0, -1, True, 2.5):
        with pytest.raises(ValueError, match="max_concurrency"):
            ConcurrencyTransport(transport, max_concurrency=bad)  # type: ignore[arg-type]


async def test_rate_limit_alone_paces_and_pauses() -> None:
    from refold_async.limiters import MemoryRateLimiter

    time = VirtualTime()
    transport = FakeTransport.answering(httpx.Response(429, headers={"Retry-After": "30"}), fired())
    seen = transport.requests
    limiter = MemoryRateLimiter(RateLimit(10, 2), clock=time, sleep=time.sleep)
    async with httpx.AsyncClient(transport=RateLimitTransport(transport, limiter=limiter)) as session:
        assert (await session.get(URL)).status_code == 429
        async with anyio.create_task_group() as group:
            group.start_soon(session.get, URL)
            await time.run(until=1029.9)
            assert len(seen) == 1
            await time.run(until=1030.1)
        assert len(seen) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_rate_limit_alone_paces_what_a_transport_of_ones_own_sends_whether_or_not_it_fails(fails: bool) -> None:
    from refold_async.limiters import MemoryRateLimiter

    class Own(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(time.now)
            if fails:
                raise httpx.ReadError("mine")
            return fired()

    async def get() -> None:
        with contextlib.suppress(httpx.ReadError):
            await session.get(URL)

    time = VirtualTime()
    sent: list[float] = []
    limiter = MemoryRateLimiter(RateLimit(10, 2), clock=time, sleep=time.sleep)
    async with httpx.AsyncClient(transport=RateLimitTransport(Own(), limiter=limiter)) as session:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(get)
            await time.run()
    assert [at - sent[0] for at in sent] == pytest.approx([0, 0, 0.1, 0.2, 0.3])


async def test_rate_limit_takes_a_plain_limit_or_none() -> None:
    transport = FakeTransport.answering(fired())
    seen = transport.requests
    for limit in (RateLimit(20, 5), None):
        async with httpx.AsyncClient(transport=RateLimitTransport(transport, limiter=limit)) as session:
            await session.get(URL)
    assert len(seen) == 2


async def test_closing_goes_down_the_stack() -> None:
    closed: list[str] = []

    class Wire(httpx.AsyncBaseTransport):
        async def aclose(self) -> None:
            closed.append("wire")

    stack = RetryTransport(
        ConcurrencyTransport(RateLimitTransport(Wire(), limiter=None)), policy=RetryPolicy(max_attempts=1)
    )
    await stack.aclose()
    assert closed == ["wire"]
