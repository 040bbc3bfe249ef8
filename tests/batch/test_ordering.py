"""Ordering keys: one at a time and in input order, while other keys proceed."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from refold_async import BatchResult, Delivery, NotAttemptedError, NotFoundError, RetryPolicy, Trigger
from tests.batch.support import Rows, Told, trigger
from tests.fakes.clock import BACKENDS
from tests.fakes.transport import FakeTransport, Reply, client_over

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


def rows(keys: str) -> list[Trigger]:
    """Give a trigger for each letter, which is its key; a space has none."""
    return [trigger(n, None if key == " " else key) for n, key in enumerate(keys)]


def kinds(result: BatchResult) -> list[str]:
    return ["" if outcome.error is None else type(outcome.error).__name__ for outcome in result]


async def test_one_key_is_sent_one_at_a_time_and_in_order() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=(7 * n) % 5))
    async with client_over(wire) as client:
        result = await client.trigger_many(rows("a" * 30))
    assert wire.started == list(range(30))
    assert wire.most_in_flight == 1
    assert len(result.accepted) == 30


async def test_the_next_of_a_key_waits_for_the_retries_of_the_one_before() -> None:
    wire = FakeTransport(
        lambda n, before: Reply(httpx.ConnectError("refused") if n == 0 and before < 2 else 200, seconds=1)
    )
    async with client_over(wire, retry=RetryPolicy()) as client:
        await client.trigger_many(rows("aa"))
    assert wire.started == [0, 0, 0, 1]


async def test_other_keys_and_rows_without_one_proceed() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=20 if n == 0 else 1))
    async with client_over(wire) as client:
        began = anyio.current_time()
        await client.trigger_many(rows("aabb  cc"), max_concurrency=4)
    begins = {n: spans[0][0] - began for n, spans in wire.spans.items()}
    assert begins[1] == pytest.approx(20)
    assert max(begin for n, begin in begins.items() if n != 1) <= 3
    assert wire.started.index(2) < wire.started.index(3)
    assert wire.started.index(6) < wire.started.index(7)


async def test_a_backlog_holds_up_the_others_only_when_it_fills_the_look_ahead() -> None:
    slow = FakeTransport(lambda n, before: Reply(seconds=10 if n == 0 else 1))
    async with client_over(slow) as client:
        began = anyio.current_time()
        # One in flight, one worker free: it may pull 2 + 3 in all, so 3 of the key wait, and b goes.
        await client.trigger_many(rows("aaaab"), max_concurrency=2, look_ahead=3)
        assert slow.spans[4][0][0] - began == pytest.approx(0)
        slow.spans.clear()
        began = anyio.current_time()
        await client.trigger_many(rows("aaaaab"), max_concurrency=2, look_ahead=3)
        assert slow.spans[5][0][0] - began == pytest.approx(10)


async def test_without_look_ahead_a_key_holds_up_what_is_behind_it() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=10 if n == 0 else 1))
    async with client_over(wire) as client:
        began = anyio.current_time()
        await client.trigger_many(rows("aab"), max_concurrency=2, look_ahead=0)
        assert wire.spans[2][0][0] - began == pytest.approx(10)


@pytest.mark.parametrize(("look_ahead", "most"), [(None, 4 + 16), (0, 4), (7, 4 + 7)])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_memory_stays_within_the_look_ahead(look_ahead: int | None, most: int, kind: str) -> None:
    source, told = Rows(200, key="k"), Told()
    wire = FakeTransport(lambda n, before: Reply(seconds=1))
    async with client_over(wire) as client:
        async with client.trigger_stream(
            source if kind == "sync" else source.asynchronous(),
            max_concurrency=4,
            look_ahead=look_ahead,
            on_outcome=told,
        ) as outcomes:
            taken = 0
            async for outcome in outcomes:
                assert outcome.index == taken
                taken += 1
                assert source.pulled - taken <= most
                if taken in (1, 50):
                    await anyio.sleep(100)
                    assert source.pulled - taken == most, "a slow consumer holds it all up"
    assert taken == 200
    assert wire.most_in_flight == 1


async def test_look_ahead_counts_only_once_there_are_keys() -> None:
    source = Rows(None)
    async with client_over(FakeTransport()) as client:
        async with client.trigger_stream(source, max_concurrency=2, look_ahead=50):
            await anyio.sleep(1)
            assert source.pulled == 2


async def test_after_a_failure_a_key_goes_on_by_default() -> None:
    wire = FakeTransport(lambda n, before: Reply(404 if n == 0 else 200))
    async with client_over(wire) as client:
        result = await client.trigger_many(rows("aab"))
    assert kinds(result) == ["NotFoundError", "", ""]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_later_rows_of_a_key_are_given_up_after_a_failure_with_on_key_failure_stop(kind: str) -> None:
    """Those that wait already, and those that come much later; not those of other keys."""
    wire = FakeTransport(lambda n, before: Reply(404 if n == 1 else 200, seconds=1))

    async def slowly() -> Any:
        for n, row in enumerate(rows("aabaa  a")):
            await anyio.sleep(30 if n == 7 else 0)
            yield row

    told = Told()
    async with client_over(wire) as client:
        result = await client.trigger_many(
            rows("aabaa  a") if kind == "sync" else slowly(), on_key_failure="stop", on_outcome=told
        )
    assert kinds(result) == [
        "",
        "NotFoundError",
        "",
        "NotAttemptedError",
        "NotAttemptedError",
        "",
        "",
        "NotAttemptedError",
    ]
    for index in (3, 4, 7):
        error = result[index].error
        assert isinstance(error, NotAttemptedError)
        assert error.delivery is result[index].delivery is Delivery.NOT_SENT
        assert "an earlier trigger with the same ordering_key was not accepted" in str(error)
    assert sorted(wire.started) == [0, 1, 2, 5, 6]
    assert sorted(told.indexes) == list(range(8))


async def test_what_cannot_be_sent_is_a_failure_of_its_key_too() -> None:
    async with client_over(FakeTransport()) as client:
        bad = Trigger("", "no slug", ordering_key="a")
        result = await client.trigger_many([bad, *rows("ab")], on_key_failure="stop")
    assert kinds(result) == ["InvalidTriggerError", "NotAttemptedError", ""]


async def test_an_ambiguous_one_is_a_failure_of_its_key_too() -> None:
    wire = FakeTransport(lambda n, before: Reply(httpx.ReadError("reset") if n == 0 else 200))
    async with client_over(wire) as client:
        result = await client.trigger_many(rows("aab"), on_key_failure="stop")
    assert kinds(result) == ["RefoldConnectionError", "NotAttemptedError", ""]
    assert result[0].delivery is Delivery.AMBIGUOUS


async def test_an_empty_key_is_a_key() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=1))
    async with client_over(wire) as client:
        await client.trigger_many([trigger(0, ""), trigger(1, "")])
    assert wire.most_in_flight == 1


async def test_a_batch_of_many_keys_forgets_those_that_are_done() -> None:
    from refold_async._batch.ordering import Lanes

    lanes = Lanes(stop_on_failure=False)
    for n in range(100):
        assert lanes.enter(str(n), (n, trigger(n))) == "go"
        lanes.failed(str(n))
        assert lanes.next(str(n)) is None
    assert not lanes._waiting
    assert not lanes._given_up


async def test_stop_on_counts_within_a_key() -> None:
    wire = FakeTransport(lambda n, before: Reply(404 if n == 0 else 200, seconds=1))
    async with client_over(wire) as client:
        result = await client.trigger_many(rows("aab"), stop_on=(NotFoundError,), max_concurrency=1)
    assert kinds(result) == ["NotFoundError", "NotAttemptedError", "NotAttemptedError"]
