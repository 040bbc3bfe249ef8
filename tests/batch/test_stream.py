"""`trigger_stream`: outcomes as they complete, no more items held than allowed, and an orderly end."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from refold_async import (
    AuthenticationError,
    BatchInterruptedError,
    BatchStoppedError,
    ClientClosedError,
    ConfigurationError,
    Delivery,
    NotAttemptedError,
    Outcome,
    RateLimit,
    RetryPolicy,
    Trigger,
)
from refold_async.limiters import MemoryRateLimiter
from tests.batch.support import Rows, Told, leaving_nothing, trigger
from tests.fakes.clock import BACKENDS
from tests.fakes.transport import FakeTransport, Reply, client_over

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def source_of(rows: Rows, kind: str) -> Any:
    return rows if kind == "sync" else rows.asynchronous()


async def test_outcomes_come_as_they_complete() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=5 - n))
    async with client_over(wire) as client:
        async with client.trigger_stream(Rows(5)) as outcomes:
            assert [outcome.index async for outcome in outcomes] == [4, 3, 2, 1, 0]


async def test_outcomes_of_an_ordered_stream_come_in_input_order() -> None:
    wire = FakeTransport(lambda n, before: Reply(404 if n % 3 else 200, seconds=(7 * n) % 5))
    told = Told()
    async with client_over(wire) as client:
        async with client.trigger_stream(Rows(50), ordered=True, max_concurrency=4, on_outcome=told) as outcomes:
            assert [outcome.index async for outcome in outcomes] == list(range(50))
    assert told.indexes != list(range(50))
    assert wire.most_in_flight == 4


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_endless_source_and_a_slow_consumer_hold_no_more_than_allowed(kind: str, ordered: bool) -> None:
    rows = Rows(None)
    taken = most = 0
    wire = FakeTransport(lambda n, before: Reply(seconds=n % 3))

    def watch(outcome: Outcome) -> None:
        nonlocal most
        most = max(most, rows.pulled - taken)

    async with client_over(wire) as client:
        async with client.trigger_stream(
            source_of(rows, kind), max_concurrency=5, on_outcome=watch, ordered=ordered
        ) as outcomes:
            async for _ in outcomes:
                taken += 1
                if taken % 20 == 0:
                    await anyio.sleep(60)
                    assert rows.pulled - taken == 5, "and there is always something to do"
                    assert wire.in_flight == 0
                if taken == 300:
                    break
    assert most == 5
    assert wire.most_in_flight == 5 or (ordered and wire.most_in_flight == 4)
    assert rows.closed


async def test_what_was_taken_is_let_go() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Trigger) for thing in gc.get_objects())

    before = alive()
    async with client_over(FakeTransport()) as client:
        async with client.trigger_stream(Rows(2000), max_concurrency=4) as outcomes:
            async for outcome in outcomes:
                if outcome.index % 500 == 499:
                    assert alive() - before <= 4 + 3, "and the consumer's own, and the generator's"
            del outcome
            assert alive() - before <= 1


async def test_the_source_is_not_touched_before_the_block_or_before_there_is_room(kind: str) -> None:
    rows = Rows(None)
    async with client_over(FakeTransport()) as client:
        stream = client.trigger_stream(source_of(rows, kind), max_concurrency=3)
        assert rows.pulled == 0
        async with stream:
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            assert rows.pulled == 3


async def test_a_source_that_gives_its_rows_slowly() -> None:
    async def rows() -> AsyncIterator[Trigger]:
        for n in range(4):
            await anyio.sleep(60)
            yield trigger(n)

    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        began = anyio.current_time()
        async with client.trigger_stream(rows()) as outcomes:
            times = [anyio.current_time() - began async for _ in outcomes]
    assert times == pytest.approx([61, 121, 181, 241])


async def test_several_consumers_share_the_outcomes() -> None:
    taken: list[tuple[str, int]] = []

    async def consume(name: str, outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            taken.append((name, outcome.index))
            await anyio.sleep(1)

    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        async with client.trigger_stream(Rows(30), max_concurrency=3) as outcomes:
            async with anyio.create_task_group() as group:
                group.start_soon(consume, "a", outcomes)
                group.start_soon(consume, "b", outcomes)
    assert sorted(index for _, index in taken) == list(range(30))
    assert {name for name, _ in taken} == {"a", "b"}


async def test_a_consumer_that_gives_up_waiting_loses_nothing() -> None:
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        async with client.trigger_stream(Rows(5), max_concurrency=1) as outcomes:
            seen: list[int] = []
            while len(seen) < 5:
                with anyio.move_on_after(0.3):
                    seen.append((await anext(outcomes)).index)
            assert seen == [0, 1, 2, 3, 4]
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)


# Leaving early


async def test_leaving_early_lets_what_is_on_the_wire_finish_and_tells_of_each(kind: str) -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=1 if n < 4 else 3))
    rows, told = Rows(None), Told()
    async with client_over(wire) as client:
        with leaving_nothing():
            async with client.trigger_stream(source_of(rows, kind), max_concurrency=4, on_outcome=told) as outcomes:
                async for outcome in outcomes:
                    if outcome.index == 3:
                        await anyio.sleep(1)
                        break
                left = anyio.current_time()
            assert anyio.current_time() - left == pytest.approx(2, abs=0.01)
        assert wire.in_flight == 0
    assert sorted(told.indexes) == list(range(rows.pulled))
    assert set(told.kinds) == {"accepted"}
    assert len(wire.started) == rows.pulled
    assert rows.closed


async def test_a_stalled_server_gets_five_seconds(kind: str) -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=0 if n == 0 else 1e6))
    rows, told = Rows(None), Told()
    async with client_over(wire, deadline=None, timeout=None) as client:
        async with client.trigger_stream(source_of(rows, kind), max_concurrency=3, on_outcome=told) as outcomes:
            await anext(outcomes)
            await anyio.sleep(1)
            left = anyio.current_time()
        assert anyio.current_time() - left == pytest.approx(5, abs=0.01)
    assert told.kinds == ["accepted", *["BatchStoppedError"] * 3]
    assert {outcome.delivery for outcome in told.outcomes[1:]} == {Delivery.AMBIGUOUS}
    assert {outcome.attempts for outcome in told.outcomes} == {1}
    assert wire.in_flight == 0


async def test_what_waits_for_the_limiter_or_to_try_again_is_not_waited_for(kind: str) -> None:
    limiter = MemoryRateLimiter(RateLimit(0.01, 2), clock=anyio.current_time)
    wire = FakeTransport(lambda n, before: Reply(503 if n == 0 else 200, headers={"retry-after": "50"}))
    rows, told = Rows(None), Told()
    async with client_over(wire, retry=RetryPolicy(), rate_limit=limiter) as client:
        async with client.trigger_stream(source_of(rows, kind), max_concurrency=4, on_outcome=told):
            await anyio.sleep(1)
            assert rows.pulled == 4
            left = anyio.current_time()
        assert anyio.current_time() == left
    assert told.kinds == ["ServerError", *["NotAttemptedError"] * 3]
    assert [outcome.delivery for outcome in told.outcomes if outcome.index == 0] == [Delivery.REJECTED]
    assert wire.started == [0]
    assert limiter.waiting == 0


async def test_a_source_that_never_gives_another_row_is_cancelled_once_and_cleans_up() -> None:
    steps = []

    async def rows() -> AsyncIterator[Trigger]:
        try:
            yield trigger(0)
            await anyio.sleep_forever()
        finally:
            steps.append("cleaning up")
            with anyio.CancelScope(shield=anyio.get_cancelled_exc_class().__module__.startswith("trio")):
                await anyio.sleep(0.5)
            steps.append("done")

    async with client_over(FakeTransport()) as client:
        with leaving_nothing():
            async with client.trigger_stream(rows()) as outcomes:
                await anext(outcomes)
                left = anyio.current_time()
            assert anyio.current_time() - left == pytest.approx(0.5)
    assert steps == ["cleaning up", "done"]


async def test_a_source_that_will_not_end_is_cut_off_after_a_second() -> None:
    async def parked() -> AsyncIterator[Trigger]:
        try:
            yield trigger(0)
        finally:
            await anyio.sleep_forever()

    async def stubborn() -> AsyncIterator[Trigger]:
        yield trigger(0)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope():
                await anyio.sleep_forever()

    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        async with client.trigger_stream(parked(), max_concurrency=1):
            await anyio.sleep(0.5)
            left = anyio.current_time()
        assert anyio.current_time() - left == pytest.approx(1)
        async with client.trigger_stream(stubborn()) as outcomes:
            await anext(outcomes)
            left = anyio.current_time()
        assert anyio.current_time() - left <= 1.001, "on trio at once: there a cancelled scope stays cancelled"


class MineError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        MineError("x"),
        ExceptionGroup("mine", [MineError("x"), ValueError("y")]),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_raised_in_the_block_comes_out_as_it_was(error: BaseException, kind: str) -> None:
    rows, told = Rows(None), Told()
    cause = LookupError("the cause")
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=0.7))) as client:
        with leaving_nothing():
            with pytest.raises(type(error)) as caught:
                async with client.trigger_stream(source_of(rows, kind), max_concurrency=4, on_outcome=told) as outcomes:
                    await anext(outcomes)
                    raise error from cause
    assert caught.value is error
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None
    assert sorted(told.indexes) == list(range(rows.pulled))
    assert set(told.kinds) == {"accepted"}
    assert rows.closed


async def test_a_stop_iteration_raised_in_the_block_comes_out_as_it_was() -> None:
    async with client_over(FakeTransport()) as client:
        with pytest.raises(StopAsyncIteration):
            async with client.trigger_stream(Rows(0)) as outcomes:
                await anext(outcomes)


async def test_an_interrupted_block_waits_for_a_second_only() -> None:
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1e6)), deadline=None, timeout=None) as client:
        with pytest.raises(KeyboardInterrupt):
            async with client.trigger_stream(Rows(None)):
                await anyio.sleep(1)
                left = anyio.current_time()
                raise KeyboardInterrupt
        assert anyio.current_time() - left == pytest.approx(1, abs=0.01)


async def test_closing_the_client_in_the_block_ends_the_stream() -> None:
    rows, told = Rows(None), Told()
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        async with client.trigger_stream(rows, max_concurrency=2, on_outcome=told) as outcomes:
            await anext(outcomes)
            await client.aclose()
            left = [outcome async for outcome in outcomes]
    assert {type(outcome.error) for outcome in left if not outcome.ok} == {ClientClosedError}
    assert sorted(told.indexes) == list(range(rows.pulled))
    with pytest.raises(ClientClosedError):
        async with client.trigger_stream(rows):
            raise AssertionError


# Stopping


async def test_an_error_in_stop_on_stops_the_pulling_and_ends_the_stream(kind: str) -> None:
    wire = FakeTransport(lambda n, before: Reply(401 if n == 7 else 200, seconds=1 if n == 7 else 2))
    rows, told = Rows(None), Told()
    async with client_over(wire) as client:
        async with client.trigger_stream(source_of(rows, kind), max_concurrency=4, on_outcome=told) as outcomes:
            seen = [outcome async for outcome in outcomes]
    assert {outcome.index for outcome in seen} == set(range(rows.pulled)) == set(told.indexes)
    assert [outcome.index for outcome in seen if not outcome.ok] == [7]
    assert isinstance(next(outcome.error for outcome in seen if outcome.index == 7), AuthenticationError)
    assert rows.pulled == 8
    assert rows.closed


async def test_after_a_stop_too_a_stalled_server_gets_five_seconds() -> None:
    wire = FakeTransport(lambda n, before: Reply(401, seconds=1) if n == 0 else Reply(seconds=1e6))
    async with client_over(wire, deadline=None, timeout=None) as client:
        async with client.trigger_stream(Rows(None), max_concurrency=3) as outcomes:
            began = anyio.current_time()
            seen = [outcome async for outcome in outcomes]
            assert anyio.current_time() - began == pytest.approx(1 + 5, abs=0.01)
    assert [type(outcome.error) for outcome in seen] == [AuthenticationError, *[BatchStoppedError] * 2]
    assert {outcome.delivery for outcome in seen[1:]} == {Delivery.AMBIGUOUS}


async def test_rows_behind_a_key_are_told_of_after_a_stop() -> None:
    wire = FakeTransport(lambda n, before: Reply(401, seconds=1))
    rows, told = Rows(50, key="k"), Told()
    async with client_over(wire) as client:
        async with client.trigger_stream(rows, max_concurrency=2, look_ahead=4, on_outcome=told) as outcomes:
            kinds = [type(outcome.error) async for outcome in outcomes]
    assert kinds == [AuthenticationError, *[NotAttemptedError] * 5]
    assert told.indexes == list(range(6))


# A source that raises


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_source_that_raises_is_told_of_after_the_last_outcome(kind: str, ordered: bool) -> None:
    rows = Rows(None, fails_at=10)
    seen = set()
    wire = FakeTransport(lambda n, before: Reply(seconds=1 + n % 3))
    async with client_over(wire) as client:
        with leaving_nothing(), pytest.raises(BatchInterruptedError, match="OSError after 10 triggers") as caught:
            async with client.trigger_stream(source_of(rows, kind), max_concurrency=3, ordered=ordered) as outcomes:
                async for outcome in outcomes:
                    seen.add(outcome.index)
    assert isinstance(caught.value.__cause__, OSError)
    assert seen == set(range(10))
    result = caught.value.result
    assert [outcome.index for outcome in result] == sorted(outcome.index for outcome in result)
    assert 1 <= len(result) <= 3, "those that nobody had taken when it happened"
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.AMBIGUOUS, 10)


async def test_a_source_that_raises_while_nobody_looks(kind: str) -> None:
    rows = Rows(None, fails_at=2)
    async with client_over(FakeTransport()) as client:
        async with client.trigger_stream(source_of(rows, kind), max_concurrency=5) as outcomes:
            await anyio.sleep(10)
            with pytest.raises(BatchInterruptedError) as caught:
                async for _ in outcomes:
                    pass
            assert [outcome.index for outcome in caught.value.result] == [0, 1]
            assert [outcome async for outcome in outcomes] == [], "it is told of once"


async def test_a_source_that_raised_unnoticed_is_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows(None, fails_at=2)
    async with client_over(FakeTransport()) as client:
        async with client.trigger_stream(source_of(rows, kind)) as outcomes:
            await anyio.sleep(1)
            await anext(outcomes)
    assert "the source of the batch raised OSError" in caplog.text


async def test_a_source_that_raises_while_it_is_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def rows() -> Any:
        try:
            while True:
                yield trigger(0)
        finally:
            raise OSError("too late")

    async def async_rows() -> AsyncIterator[Trigger]:
        try:
            while True:
                yield trigger(0)
        finally:
            raise OSError("too late")

    async with client_over(FakeTransport()) as client:
        for source in (rows(), async_rows()):
            async with client.trigger_stream(source) as outcomes:
                await anext(outcomes)
    assert caplog.text.count("the source of the batch raised while it was closed") == 2


# Misuse


async def test_outcomes_are_there_only_inside_the_block() -> None:
    async with client_over(FakeTransport()) as client:
        stream: Any = client.trigger_stream(Rows(3))
        with pytest.raises(ConfigurationError, match="only inside its block"):
            await anext(stream)
        async with stream as outcomes:
            await anext(outcomes)
        with pytest.raises(ConfigurationError, match="only inside its block"):
            async for _ in outcomes:
                raise AssertionError
        with pytest.raises(ConfigurationError, match="a stream runs once"):
            async with stream:
                raise AssertionError


async def test_a_stream_that_came_to_its_end_stays_there() -> None:
    async with client_over(FakeTransport()) as client:
        async with client.trigger_stream(Rows(3)) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 3
            assert [outcome async for outcome in outcomes] == []
        assert [outcome async for outcome in outcomes] == []


async def test_a_stream_that_is_never_entered_touches_nothing() -> None:
    rows = Rows(3)
    async with client_over(FakeTransport()) as client:
        client.trigger_stream(rows)
    assert rows.pulled == 0


async def test_streams_in_streams() -> None:
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        async with client.trigger_stream(Rows(3)) as outer, client.trigger_stream(Rows(4)) as inner:
            assert len([outcome async for outcome in inner]) == 4
            assert len([outcome async for outcome in outer]) == 3


async def test_a_view_streams_for_its_own_account() -> None:
    accounts = set()

    def answer(request: httpx.Request) -> httpx.Response:
        accounts.add(request.headers["linked_account_id"])
        return httpx.Response(200, json={"message": "Webhook Fired Success"})

    async with client_over(httpx.MockTransport(answer)) as client:
        async with client.for_account("acct_2").trigger_stream(Rows(3)) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 3
    assert accounts == {"acct_2"}
