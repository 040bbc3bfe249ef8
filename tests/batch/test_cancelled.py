"""Cancelling the caller of a batch, wherever it may strike: nothing is left running, and every row is told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from refold_async import Delivery, RateLimit, RefoldClient, RetryPolicy
from refold_async.hooks import CallFinished, HookEvent
from refold_async.limiters import MemoryRateLimiter
from tests.batch.support import Rows, Told, leaving_nothing
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["many", "stream"])
def call(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def fire(client: RefoldClient, call: str, source: Any, **options: Any) -> None:
    if call == "many":
        await client.trigger_many(source, **options)
        return
    async with client.trigger_stream(source, **options) as outcomes:
        async for _ in outcomes:
            pass


def check(wire: FakeTransport, rows: Rows, told: Told) -> None:
    """Hold each verdict against what the wire has seen."""
    assert wire.in_flight == 0
    assert sorted(told.indexes) == list(range(rows.pulled)), "each that was pulled is told of, once"
    answered = {n for n, _ in wire.answered}
    for outcome in told.outcomes:
        if outcome.index in answered:
            assert outcome.delivery is Delivery.ACCEPTED
        elif outcome.index in wire.started:
            assert outcome.delivery is Delivery.AMBIGUOUS
            assert outcome.attempts == 1
        else:
            assert outcome.delivery is Delivery.NOT_SENT
            assert outcome.attempts == 0
        assert (outcome.error is None) == outcome.ok == (outcome.receipt is not None)


def test_a_cancelled_batch_stops_pulling_gives_requests_in_flight_a_second_and_reports_each(
    backend: str, call: str, kind: str
) -> None:
    async def main() -> None:
        rows, told, events = Rows(None), Told(), list[HookEvent]()
        wire = FakeTransport(lambda n, before: Reply(seconds=[0.5, 1.2, 60.0][n % 3]))
        async with client_over(wire, hooks=[events.append]) as client:
            with leaving_nothing(), anyio.move_on_after(1) as scope:
                await fire(
                    client, call, rows if kind == "sync" else rows.asynchronous(), max_concurrency=6, on_outcome=told
                )
            assert scope.cancelled_caught
            assert anyio.current_time() - scope.deadline == pytest.approx(1, abs=0.01)
        check(wire, rows, told)
        assert rows.closed
        assert {outcome.delivery for outcome in told.outcomes} == {Delivery.ACCEPTED, Delivery.AMBIGUOUS}
        finished = [event for event in events if isinstance(event, CallFinished)]
        assert sorted(event.delivery for event in finished) == sorted(o.delivery for o in told.outcomes)

    run(backend, main)


def test_what_is_not_on_the_wire_is_let_go_at_once(backend: str, call: str, kind: str) -> None:
    async def main() -> None:
        rows, told = Rows(None), Told()
        limiter = MemoryRateLimiter(RateLimit(0.01, 1), clock=anyio.current_time)
        wire = FakeTransport(lambda n, before: Reply(429, headers={"retry-after": "50"}))
        async with client_over(wire, rate_limit=limiter, retry=RetryPolicy()) as client:
            with leaving_nothing(), anyio.move_on_after(1) as scope:
                await fire(
                    client, call, rows if kind == "sync" else rows.asynchronous(), max_concurrency=3, on_outcome=told
                )
            assert anyio.current_time() == scope.deadline
        assert told.kinds == ["RateLimitedError", "NotAttemptedError", "NotAttemptedError"]
        assert limiter.waiting == 0

    run(backend, main)


TURNS = range(60)


@pytest.mark.parametrize("key", [None, "k"], ids=["no key", "one key"])
def test_at_each_turn_of_the_loop(backend: str, call: str, kind: str, key: str | None) -> None:
    async def cancel_after(turns: int) -> None:
        rows, told = Rows(None, key=key), Told()
        wire = FakeTransport(lambda n, before: Reply(seconds=[0.0, 0.0, 5.0][n % 3]))
        source = rows if kind == "sync" else rows.asynchronous()
        async with client_over(wire) as client:
            with leaving_nothing():
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: fire(client, call, source, max_concurrency=3, on_outcome=told))
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
        check(wire, rows, told)

    async def main() -> None:
        for turns in TURNS:
            await cancel_after(turns)

    run(backend, main)


def test_by_asyncio_itself_at_each_turn_and_once_more(call: str, kind: str) -> None:
    """A second cancellation means a hurry: what is on the wire is cut off, and told of all the same."""

    async def cancel_after(turns: int, again: float | None) -> None:
        rows, told = Rows(None), Told()
        wire = FakeTransport(lambda n, before: Reply(seconds=[0.0, 0.0, 5.0][n % 3]))
        source = rows if kind == "sync" else rows.asynchronous()
        async with client_over(wire) as client:
            with leaving_nothing():
                task = asyncio.ensure_future(fire(client, call, source, max_concurrency=3, on_outcome=told))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel("mine")
                began = anyio.current_time()
                if again is not None:
                    await asyncio.sleep(again)
                    task.cancel("again")
                with pytest.raises(asyncio.CancelledError) as caught:
                    await task
                assert caught.value.args in (("mine",), ()), "as it came"
                assert task.cancelled()
                assert anyio.current_time() - began <= (1 if again is None else again) + 0.01
        check(wire, rows, told)

    async def main() -> None:
        for turns in TURNS:
            await cancel_after(turns, None)
            await cancel_after(turns, 0.0)
            await cancel_after(turns, 0.3)

    run("asyncio", main)


BY: dict[str, Callable[..., Any]] = {"timeout": asyncio.timeout, "fail_after": anyio.fail_after}


@pytest.mark.parametrize("by", BY)
def test_by_a_timeout_around_it(call: str, by: str) -> None:
    async def main() -> None:
        rows, told = Rows(None), Told()
        wire = FakeTransport(lambda n, before: Reply(seconds=10))
        async with client_over(wire) as client:
            scope: Any = BY[by](1)
            with leaving_nothing(), pytest.raises(TimeoutError):
                if by == "timeout":
                    async with scope:
                        await fire(client, call, rows, on_outcome=told)
                else:
                    with scope:
                        await fire(client, call, rows, on_outcome=told)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(fire(client, call, Rows(None), on_outcome=Told()), 1)
        check(wire, rows, told)

    run("asyncio", main)


def test_while_the_block_is_being_left(backend: str, kind: str) -> None:
    """The five seconds of an early exit become one, once the caller is cancelled."""

    async def main() -> None:
        rows, told = Rows(None), Told()
        wire = FakeTransport(lambda n, before: Reply(seconds=60))
        async with client_over(wire, deadline=None) as client:
            source = rows if kind == "sync" else rows.asynchronous()
            with leaving_nothing(), anyio.move_on_after(3) as scope:
                async with client.trigger_stream(source, max_concurrency=3, on_outcome=told):
                    await anyio.sleep(1)
            assert scope.cancelled_caught
            assert anyio.current_time() - scope.deadline == pytest.approx(1, abs=0.01)
        check(wire, rows, told)

    run(backend, main)


def test_an_error_of_the_block_gives_way_to_a_cancellation_that_comes_later(backend: str) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: Reply(seconds=60))
        async with client_over(wire, deadline=None) as client:
            with leaving_nothing(), anyio.move_on_after(3) as scope:
                async with client.trigger_stream(Rows(None)):
                    await anyio.sleep(1)
                    raise LookupError
            assert scope.cancelled_caught

    run(backend, main)


def test_cancelling_the_consumer_alone_leaves_the_batch_running(backend: str) -> None:
    async def main() -> None:
        async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
            async with client.trigger_stream(Rows(9), max_concurrency=3) as outcomes:
                seen = []
                while True:
                    with anyio.move_on_after(0.4) as scope:
                        try:
                            seen.append((await anext(outcomes)).index)
                        except StopAsyncIteration:
                            break
                    assert scope.cancelled_caught or seen
            assert sorted(seen) == list(range(9))

    run(backend, main)


def test_a_loop_that_is_torn_down_gets_the_truth_too() -> None:
    """As at the end of `asyncio.run`: every task is cancelled at once, the workers among them."""

    async def main() -> None:
        for kind in ("sync", "async"):
            for call in ("many", "stream"):
                rows, told = Rows(None, key="k"), Told()
                wire = FakeTransport(lambda n, before: Reply(seconds=5))
                client = client_over(wire)
                source = rows if kind == "sync" else rows.asynchronous()
                task = asyncio.ensure_future(
                    fire(client, call, source, max_concurrency=3, look_ahead=0, on_outcome=told)
                )
                await asyncio.sleep(0.5)
                for other in asyncio.all_tasks() - {asyncio.current_task()}:
                    other.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert len(asyncio.all_tasks()) == 1
                check(wire, rows, told)
                assert told.kinds.count("BatchStoppedError") == 1
                await client.aclose()

    run("asyncio", main)


def test_a_worker_alone_that_is_killed_ends_the_batch() -> None:
    async def main() -> None:
        rows, told = Rows(None), Told()
        wire = FakeTransport(lambda n, before: Reply(seconds=0.5 + n))
        async with client_over(wire) as client:
            before = asyncio.all_tasks()
            task = asyncio.ensure_future(client.trigger_many(rows, max_concurrency=3, on_outcome=told))
            await asyncio.sleep(0.1)
            workers = [other for other in asyncio.all_tasks() - before if other is not task]
            assert len(workers) == 3
            workers[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        check(wire, rows, told)

    run("asyncio", main)


class _Stalling(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"message":'
        await anyio.sleep_forever()


def test_a_status_that_was_seen_decides_even_then() -> None:
    class Half(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=_Stalling())

    async def main() -> None:
        told = Told()
        async with client_over(Half()) as client:
            before = asyncio.all_tasks()
            task = asyncio.ensure_future(client.trigger_many(Rows(2), max_concurrency=2, on_outcome=told))
            await asyncio.sleep(0.1)
            for other in asyncio.all_tasks() - before:
                other.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert told.kinds == ["accepted", "accepted"]
        assert [outcome.receipt and outcome.receipt.status_code for outcome in told.outcomes] == [200, 200]

    run("asyncio", main)
