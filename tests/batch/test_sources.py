"""What a source may do: hold scopes across its rows, be cancelled, raise what nobody should, or be closed."""

from __future__ import annotations

import asyncio
import contextvars
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from refold_async import BatchInterruptedError, Outcome, Trigger
from refold_async._batch.crew import GRACE, Crew
from tests.batch.support import Rows, Told, leaving_nothing, trigger
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


def slow(n: int, before: int) -> Reply:
    return Reply(seconds=1 + n % 3)


class Prefetched:
    """Rows fetched ahead by a task of the source's own, in a task group that is open across the rows."""

    def __init__(self, count: int, *, fails_at: int | None = None) -> None:
        self.count = count
        self.fails_at = fails_at
        self.left: list[str] = []

    async def __aiter__(self) -> AsyncIterator[Trigger]:
        send, receive = anyio.create_memory_object_stream[Trigger](1)
        try:
            async with anyio.create_task_group() as group, send, receive:
                group.start_soon(self._fetch, send)
                async for row in receive:
                    yield row
                group.cancel_scope.cancel()
        finally:
            self.left.append("left")

    async def _fetch(self, send: Any) -> None:
        async with send:
            for n in range(self.count):
                if n == self.fails_at:
                    raise OSError("the disk is gone")
                await anyio.sleep(0.1)
                await send.send(trigger(n))


async def test_an_async_generator_may_hold_a_task_group_across_its_rows() -> None:
    source = Prefetched(30)
    async with client_over(FakeTransport(slow)) as client:
        result = await client.trigger_many(source, max_concurrency=4)
    assert [outcome.ok for outcome in result] == [True] * 30
    assert source.left == ["left"]


async def test_an_async_generator_with_a_task_group_is_closed_when_the_stream_is_left_early() -> None:
    for seconds in (0.05, 0.5, 3.3):
        source = Prefetched(1000)
        async with client_over(FakeTransport(slow)) as client:
            with leaving_nothing():
                async with client.trigger_stream(source, max_concurrency=4):
                    await anyio.sleep(seconds)
        assert source.left == ["left"]


async def test_a_task_group_of_the_source_that_fails_harms_no_row(anyio_backend: Any) -> None:
    """Its host task is cancelled by it, which must not be a worker that is sending a row."""
    source, told = Prefetched(30, fails_at=9), Told()
    async with client_over(FakeTransport(slow)) as client:
        with leaving_nothing(), pytest.raises(BatchInterruptedError) as caught:
            await client.trigger_many(source, max_concurrency=2, on_outcome=told)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert caught.value.__cause__.subgroup(OSError)
    assert {outcome.ok for outcome in caught.value.result} == {True}
    assert sorted(told.indexes) == [outcome.index for outcome in caught.value.result]


def test_an_asyncio_task_group_of_the_source_that_fails_harms_no_row() -> None:
    async def fail() -> None:
        await asyncio.sleep(2.5)
        raise OSError("the disk is gone")

    async def rows() -> AsyncIterator[Trigger]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            for n in range(100):
                yield trigger(n)

    async def main() -> None:
        async with client_over(FakeTransport(slow)) as client:
            with leaving_nothing(), pytest.raises(BatchInterruptedError) as caught:
                await client.trigger_many(rows(), max_concurrency=3)
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert {outcome.ok for outcome in caught.value.result} == {True}
        assert 3 <= len(caught.value.result) <= 9

    run("asyncio", main)


def test_an_asyncio_timeout_of_the_source_is_its_error() -> None:
    async def rows() -> AsyncIterator[Trigger]:
        async with asyncio.timeout(2.5):
            for n in range(100):
                await asyncio.sleep(1)
                yield trigger(n)

    async def main() -> None:
        async with client_over(FakeTransport(slow)) as client:
            with leaving_nothing(), pytest.raises(BatchInterruptedError) as caught:
                await client.trigger_many(rows())
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert len(caught.value.result) == 2

    run("asyncio", main)


@pytest.mark.parametrize("parked", [False, True])
def test_a_source_that_lets_a_cancellation_of_its_own_out_has_raised(parked: bool) -> None:
    async def rows() -> AsyncIterator[Trigger]:
        task = asyncio.current_task()
        assert task is not None
        yield trigger(0)
        if parked:
            asyncio.get_running_loop().call_later(0.5, task.cancel)
            yield trigger(1)
        raise asyncio.CancelledError

    async def main() -> None:
        async with client_over(FakeTransport(lambda n, before: Reply(seconds=2))) as client:
            with leaving_nothing(), pytest.raises(BatchInterruptedError) as caught:
                await client.trigger_many(rows(), max_concurrency=1 + parked)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert [outcome.ok for outcome in caught.value.result] == [True] * (1 + parked)

    run("asyncio", main)


def test_a_source_that_is_cancelled_by_its_own_and_then_will_not_end_is_cut_off() -> None:
    async def rows() -> AsyncIterator[Trigger]:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.5, task.cancel)
        try:
            while True:
                yield trigger(0)
        finally:
            await anyio.sleep_forever()

    async def main() -> None:
        async with client_over(FakeTransport()) as client:
            with leaving_nothing():
                async with client.trigger_stream(rows(), max_concurrency=1):
                    await anyio.sleep(2)
                    left = anyio.current_time()
                assert anyio.current_time() - left == pytest.approx(1, abs=0.01)

    run("asyncio", main)


KIND = contextvars.ContextVar("KIND", default="none")


async def test_rows_are_pulled_and_told_in_the_callers_context() -> None:
    seen = set()

    def rows() -> Iterator[Trigger]:
        for n in range(30):
            seen.add(KIND.get())
            yield trigger(n)

    async def async_rows() -> AsyncIterator[Trigger]:
        for row in rows():
            yield row

    def watch(outcome: Outcome) -> None:
        seen.add(KIND.get())

    KIND.set("the caller's")
    async with client_over(FakeTransport(slow)) as client:
        await client.trigger_many(rows(), on_outcome=watch)
        await client.trigger_many(async_rows(), on_outcome=watch)
    assert seen == {"the caller's"}


class Cursor:
    """An async iterator that is no generator, such as a database's cursor or a queue: it is the caller's to close."""

    def __init__(self) -> None:
        self.closed = False
        self.at = -1

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> Trigger:
        await anyio.sleep(0.1)
        self.at += 1
        return trigger(self.at)

    async def aclose(self) -> None:
        self.closed = True


async def test_an_iterator_that_is_no_generator_can_be_used_further() -> None:
    cursor, plain, told = Cursor(), map(trigger, range(1000)), Told()
    async with client_over(FakeTransport()) as client:
        for source in (cursor, plain):
            async with client.trigger_stream(source, max_concurrency=1, on_outcome=told) as outcomes:
                await anext(outcomes)
    assert not cursor.closed
    assert cursor.at == 0
    assert next(plain).payload == {"n": 1}


async def test_a_source_without_a_single_wait_shares_the_loop() -> None:
    async def rows() -> AsyncIterator[Any]:
        for _ in range(1000):
            yield None

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with client_over(FakeTransport()) as client, anyio.create_task_group() as group:
        group.start_soon(count)
        await client.trigger_many(rows())
        group.cancel_scope.cancel()
    assert turns >= 1000 / 20


async def test_a_million_rows_are_not_read_before_the_first_is_sent() -> None:
    source = Rows(1_000_000)
    async with client_over(FakeTransport(slow)) as client:
        async with client.trigger_stream(source) as outcomes:
            await anext(outcomes)
            assert source.pulled == 20


# What ends a program


def raising_source(error: BaseException, kind: str) -> Any:
    def rows() -> Iterator[Trigger]:
        for n in range(3):
            yield trigger(n)
        raise error

    async def async_rows() -> AsyncIterator[Trigger]:
        for row in rows():
            await anyio.lowlevel.checkpoint()
            yield row

    return rows() if kind == "sync" else async_rows()


FATAL: list[Callable[[], BaseException]] = [KeyboardInterrupt, lambda: SystemExit(3)]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("make", FATAL, ids=["KeyboardInterrupt", "SystemExit"])
async def test_a_source_that_raises_what_ends_a_program_ends_the_batch(kind: str, make: Any) -> None:
    error, told = make(), Told()
    async with client_over(FakeTransport(lambda n, before: Reply(seconds=0.5))) as client:
        with leaving_nothing(), pytest.raises(type(error)) as caught:
            await client.trigger_many(raising_source(error, kind), on_outcome=told)
        assert caught.value is error
        with leaving_nothing(), pytest.raises(type(error)) as caught:
            async with client.trigger_stream(raising_source(error, kind), on_outcome=told) as outcomes:
                async for _ in outcomes:
                    pass
        assert caught.value is error
    assert sorted(told.indexes) == [0, 0, 1, 1, 2, 2]
    assert len(told.outcomes) == 6
    assert set(told.kinds) <= {"accepted", "NotAttemptedError"}, "what was in flight has finished"
    assert told.kinds.count("NotAttemptedError") <= (0 if kind == "sync" else 4), "a task turn late"


async def test_a_source_that_raises_while_it_is_closed_raises_its_own_error() -> None:
    async def rows() -> AsyncIterator[Trigger]:
        try:
            while True:
                yield trigger(0)
        finally:
            raise BaseExceptionGroup("of a task group", [KeyboardInterrupt()])

    async with client_over(FakeTransport()) as client:
        with leaving_nothing(), pytest.raises(BaseExceptionGroup) as caught:
            async with client.trigger_stream(rows()) as outcomes:
                await anext(outcomes)
    assert caught.value.subgroup(KeyboardInterrupt)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_on_outcome_that_raises_what_ends_a_program_ends_the_batch(kind: str) -> None:
    told = Told()

    def watch(outcome: Outcome) -> None:
        told(outcome)
        if len(told.outcomes) == 2:
            raise KeyboardInterrupt

    source = Rows(None, key="k")
    wire = FakeTransport(lambda n, before: Reply(seconds=1))
    async with client_over(wire) as client:
        with leaving_nothing(), pytest.raises(KeyboardInterrupt):
            await client.trigger_many(
                source if kind == "sync" else source.asynchronous(), max_concurrency=2, look_ahead=5, on_outcome=watch
            )
    assert sorted(told.indexes) == list(range(source.pulled)), "those that waited are told of too"
    assert wire.in_flight == 0


async def test_a_stalled_server_does_not_hold_up_what_ends_a_program() -> None:
    def rows() -> Iterator[Trigger]:
        yield trigger(0)
        raise KeyboardInterrupt

    told = Told()
    wire = FakeTransport(lambda n, before: Reply(seconds=1e6))
    async with client_over(wire, deadline=None, timeout=None) as client:
        began = anyio.current_time()
        with pytest.raises(KeyboardInterrupt):
            await client.trigger_many(rows(), on_outcome=told)
        assert anyio.current_time() - began == pytest.approx(1, abs=0.01)
    assert told.kinds == ["BatchStoppedError"]


@pytest.mark.parametrize("error", [None, LookupError("the block's")], ids=["left", "raised"])
async def test_what_ends_a_program_comes_before_what_the_block_raised(error: Exception | None) -> None:
    def watch(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    async with client_over(FakeTransport(lambda n, before: Reply(seconds=1))) as client:
        with leaving_nothing(), pytest.raises(KeyboardInterrupt):
            async with client.trigger_stream(Rows(None), on_outcome=watch):
                await anyio.sleep(0.5)
                if error is not None:
                    raise error


def test_an_interrupt_at_the_very_end_comes_out_bare() -> None:
    """While what was cut off still cleans up; trio wraps it in a group."""

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(GRACE + 1)
            interrupt()
            await anyio.sleep(1)

    async def main() -> None:
        crew = Crew(1, stubborn, fatal=lambda error: None, last=lambda: None)
        await crew.enter()
        crew.start(stubborn)
        worse = await crew.leave(None, lambda: None)
        assert type(worse) is KeyboardInterrupt

    run("trio", main)
