"""`trigger_many`: every row has one outcome, in input order, whatever becomes of the others."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

from refold_async import (
    AuthenticationError,
    BatchInterruptedError,
    BatchResult,
    ClientClosedError,
    ConfigurationError,
    Delivery,
    InvalidTriggerError,
    NotAttemptedError,
    NotFoundError,
    Outcome,
    RateLimit,
    RefoldConnectionError,
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


def failing(*numbers: int, status: int = 404, seconds: float = 0.0) -> Callable[[int, int], Reply]:
    return lambda n, before: Reply(status if n in numbers else 200, seconds)


async def test_outcomes_come_in_input_order_whatever_the_order_of_the_answers() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=(100 - n) % 7))
    told = Told()
    async with client_over(wire) as client:
        result = await client.trigger_many(map(trigger, range(100)), on_outcome=told)
    assert [outcome.index for outcome in result] == list(range(100))
    assert [outcome.trigger.payload for outcome in result] == [{"n": n} for n in range(100)]
    assert len(result.accepted) == 100
    assert sorted(told.indexes) == list(range(100))
    assert told.indexes != sorted(told.indexes), "they are told as they complete"
    assert wire.most_in_flight == 20


async def test_a_failing_row_raises_nothing_and_harms_no_other() -> None:
    def plan(n: int, before: int) -> Reply:
        endings: dict[int, int | Exception] = {
            1: 404,
            2: 500,
            3: httpx.ConnectError("refused"),
            4: httpx.ReadError("reset"),
            5: ValueError("not httpx's"),
        }
        return Reply(endings.get(n, 200), seconds=n % 3)

    async with client_over(FakeTransport(plan)) as client:
        result = await client.trigger_many([*map(trigger, range(8)), Trigger("", "no slug")])
    assert [outcome.delivery.value for outcome in result] == [
        "accepted", "rejected", "ambiguous", "not_sent", "ambiguous", "ambiguous", "accepted", "accepted", "not_sent",
    ]  # fmt: skip
    assert [outcome.index for outcome in result.failed] == [1, 2, 3, 4, 5, 8]
    assert [outcome.index for outcome in result.ambiguous] == [2, 4, 5]
    with pytest.raises(ExceptionGroup) as caught:
        result.raise_for_failures()
    assert [type(error) for error in caught.value.exceptions[:3:2]] == [NotFoundError, RefoldConnectionError]
    assert len(caught.value.exceptions) == 6


async def test_what_is_no_trigger_or_cannot_be_sent_is_an_outcome() -> None:
    rows: list[Any] = [trigger(0), None, {"slug": "x"}, Trigger("a", "b", {"x": object()}), "text", trigger(1, [])]  # type: ignore[arg-type]
    wire = FakeTransport()
    async with client_over(wire) as client:
        result = await client.trigger_many(rows)
    assert [type(outcome.error).__name__ for outcome in result] == ["NoneType", *["InvalidTriggerError"] * 5]
    assert [outcome.attempts for outcome in result] == [1, 0, 0, 0, 0, 0]
    assert [str(outcome.error) for outcome in result][1] == "item 1 of the batch is a NoneType, not a Trigger"
    assert result[2].trigger.context == {"slug": "x"}, "what it was is handed back"
    assert result[5].trigger is rows[5]
    assert "ordering_key that is a list" in str(result[5].error)
    for outcome in result.failed:
        assert outcome.error is not None
        assert outcome.error.trigger is outcome.trigger
    assert wire.started == [0]


async def test_the_context_comes_back() -> None:
    row = Trigger("pipedrive", "Deal Created", {"n": 1}, context="message 7")
    async with client_over(FakeTransport()) as client:
        result = await client.trigger_many([row])
    assert result[0].trigger is row


@pytest.mark.parametrize("rows", [[], (), iter(()), {}, ""])
async def test_nothing_gives_nothing(rows: Any) -> None:
    async with client_over(FakeTransport()) as client:
        with leaving_nothing():
            assert await client.trigger_many(rows) == BatchResult()
            assert await client.trigger_many(Rows(0).asynchronous()) == BatchResult()


@pytest.mark.parametrize("concurrency", [1, 2, 7, 1000])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_no_more_are_in_flight_or_pulled_than_allowed(concurrency: int, kind: str) -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=1 + n % 3))
    rows = Rows(50)
    ahead = 0

    def watch(outcome: Outcome) -> None:
        nonlocal ahead
        ahead = max(ahead, rows.pulled - len(wire.answered) + 1)

    async with client_over(wire, max_connections=None) as client:
        source: Any = rows if kind == "sync" else rows.asynchronous()
        result = await client.trigger_many(source, max_concurrency=concurrency, on_outcome=watch)
    assert len(result.accepted) == 50
    assert wire.most_in_flight == min(concurrency, 50)
    assert ahead <= concurrency


async def test_a_view_sends_for_its_own_account() -> None:
    accounts = []

    def answer(request: httpx.Request) -> httpx.Response:
        accounts.append(request.headers["linked_account_id"])
        return httpx.Response(200, json={"message": "Webhook Fired Success"})

    own = Trigger("slack", "Deal Won", linked_account_id="acct_3")
    async with client_over(httpx.MockTransport(answer)) as client:
        await client.for_account("acct_2").trigger_many([Trigger("slack", "Deal Won"), own])
        await client.trigger_many([Trigger("slack", "Deal Won")])
    assert accounts == ["acct_2", "acct_3", "acct_1"]


# Stopping


async def test_after_an_error_in_stop_on_nothing_more_is_sent_and_the_rest_is_drained() -> None:
    wire = FakeTransport(lambda n, before: Reply(401 if n == 5 else 200, seconds=2 if n == 5 else 1 + n))
    rows = Rows(1000)
    async with client_over(wire) as client:
        result = await client.trigger_many(rows, max_concurrency=4)
    sent = wire.started
    assert len(result) == 1000
    assert rows.pulled == 1000
    assert isinstance(result[5].error, AuthenticationError)
    assert result[5].delivery is Delivery.REJECTED
    for outcome in result:
        if outcome.index in sent:
            assert outcome.ok or outcome.index == 5, "what was in flight has finished"
        else:
            assert isinstance(outcome.error, NotAttemptedError)
            assert (outcome.delivery, outcome.attempts) == (Delivery.NOT_SENT, 0)
    assert len(sent) <= 5 + 4


async def test_every_row_in_flight_may_meet_the_same_error() -> None:
    wire = FakeTransport(lambda n, before: Reply(401, seconds=1))
    async with client_over(wire) as client:
        result = await client.trigger_many(Rows(50).asynchronous(), max_concurrency=8)
    assert [type(outcome.error) for outcome in result[:8]] == [AuthenticationError] * 8
    assert [type(outcome.error) for outcome in result[8:]] == [NotAttemptedError] * 42
    assert len(wire.started) == 8


async def test_what_waits_for_the_limiter_or_to_try_again_is_not_sent_after_a_stop() -> None:
    wire = FakeTransport(
        lambda n, before: Reply({0: 503, 1: 401}.get(n, 200), seconds=0.1, headers={"retry-after": "30"})
    )
    limiter = MemoryRateLimiter(RateLimit(1, 2), clock=anyio.current_time)
    async with client_over(wire, retry=RetryPolicy(), rate_limit=limiter) as client:
        began = anyio.current_time()
        result = await client.trigger_many(Rows(10), max_concurrency=4)
        assert anyio.current_time() - began < 1.2, "the 401 came at 1.12; nobody waits any longer"
    assert [type(outcome.error).__name__ for outcome in result[:3]] == [
        "ServerError", "AuthenticationError", "NotAttemptedError",
    ]  # fmt: skip
    assert [outcome.delivery for outcome in result[:3]] == [Delivery.REJECTED, Delivery.REJECTED, Delivery.NOT_SENT]
    assert wire.started == [0, 1]


@pytest.mark.parametrize("stop_on", [(), None])
async def test_nothing_stops_it_if_so_told(stop_on: Any) -> None:
    async with client_over(FakeTransport(failing(*range(30), status=401))) as client:
        result = await client.trigger_many(Rows(30), stop_on=stop_on)
    assert {type(outcome.error) for outcome in result} == {AuthenticationError}


async def test_any_error_can_stop_it() -> None:
    async with client_over(FakeTransport()) as client:
        rows = [trigger(0), Trigger("", "x"), *map(trigger, range(1, 30))]
        result = await client.trigger_many(rows, stop_on=(InvalidTriggerError,), max_concurrency=1)
    assert [type(outcome.error).__name__ for outcome in result[:3]] == [
        "NoneType", "InvalidTriggerError", "NotAttemptedError",
    ]  # fmt: skip


async def test_a_client_that_closes_stops_it() -> None:
    wire = FakeTransport(lambda n, before: Reply(seconds=1 if n else 3))
    rows = Rows(100)

    async def close() -> None:
        await anyio.sleep(1.5)
        await client.aclose()

    client = client_over(wire)
    async with anyio.create_task_group() as group:
        group.start_soon(close)
        result = await client.trigger_many(rows, max_concurrency=2)
    assert len(result) == 100
    assert [outcome.index for outcome in result.accepted] == [0, 1, 2], "those on the wire have finished"
    assert {type(outcome.error) for outcome in result.failed} <= {ClientClosedError, NotAttemptedError}
    assert {outcome.delivery for outcome in result.failed} == {Delivery.NOT_SENT}
    with pytest.raises(ClientClosedError):
        await client.trigger_many([])


# A source that raises


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_source_that_raises_ends_the_pull_and_the_rest_finishes(kind: str) -> None:
    wire = FakeTransport(lambda n, before: Reply(404 if n == 3 else 200, seconds=1 + n % 2))
    rows = Rows(None, fails_at=7)
    told = Told()
    async with client_over(wire) as client:
        with leaving_nothing(), pytest.raises(BatchInterruptedError, match="raised OSError after 7 trigger") as caught:
            await client.trigger_many(rows if kind == "sync" else rows.asynchronous(), on_outcome=told)
    assert isinstance(caught.value.__cause__, OSError)
    assert [outcome.index for outcome in caught.value.result] == list(range(7))
    assert [outcome.ok for outcome in caught.value.result] == [n != 3 for n in range(7)]
    assert sorted(told.indexes) == list(range(7))
    assert not caught.value.safe_to_resend, "some have fired"
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.AMBIGUOUS, 7)


async def test_the_error_of_a_batch_pickles_whatever_the_rows_carry() -> None:
    def rows() -> Iterator[Trigger]:
        yield Trigger("pipedrive", "Deal Created", {"n": 0}, context=lambda: "a queue's message")
        yield Trigger("pipedrive", "Deal Created", {"n": 1}, context="m-1")
        raise OSError("the disk is gone")

    async with client_over(FakeTransport(failing(1))) as client:
        with pytest.raises(BatchInterruptedError) as caught:
            await client.trigger_many(rows())
    copy = pickle.loads(pickle.dumps(caught.value))
    assert [outcome.delivery for outcome in copy.result] == [Delivery.ACCEPTED, Delivery.REJECTED]
    assert [outcome.trigger.context for outcome in copy.result] == [None, "m-1"]
    assert copy.delivery is Delivery.AMBIGUOUS
    assert str(copy) == str(caught.value)


async def test_a_source_that_raises_at_once() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Trigger]:
            raise OSError("no such table")

    class AlsoBroken:
        def __aiter__(self) -> AsyncIterator[Trigger]:
            raise OSError("no such table")

    async with client_over(FakeTransport()) as client:
        for source in (Broken(), AlsoBroken()):
            with pytest.raises(BatchInterruptedError) as caught:
                await client.trigger_many(source)
            assert isinstance(caught.value.__cause__, OSError)
            assert len(caught.value.result) == 0
            assert caught.value.safe_to_resend


async def test_a_source_that_raises_after_a_stop() -> None:
    async with client_over(FakeTransport(failing(0, status=401))) as client:
        with pytest.raises(BatchInterruptedError) as caught:
            await client.trigger_many(Rows(None, fails_at=40))
    assert len(caught.value.result) == 40


# What else is the caller's own


async def test_an_on_outcome_that_raises_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(outcome: Outcome) -> None:
        raise LookupError("mine")

    async with client_over(FakeTransport()) as client:
        result = await client.trigger_many(Rows(3), on_outcome=broken)
    assert len(result.accepted) == 3
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        f"on_outcome for item {n}" for n in range(3)
    ]


async def test_a_classify_that_raises_harms_no_other_row() -> None:
    def classify(status: int, headers: object) -> None:
        if status == 404:
            raise LookupError("mine")

    async with client_over(FakeTransport(failing(3)), retry=RetryPolicy(classify=classify)) as client:
        result = await client.trigger_many(Rows(30))
    assert [outcome.index for outcome in result.failed] == [3]
    error = result[3].error
    assert error is not None
    assert error.delivery is Delivery.REJECTED, "the default verdict holds"
    assert (error.attempts, error.trigger) == (1, result[3].trigger)


async def test_a_rate_limiter_or_credential_that_raises_is_an_outcome() -> None:
    class Broken:
        async def acquire(self, *, deadline: float | None = None) -> float:
            raise LookupError("the database is gone")

        def throttled(self, retry_after: float | None) -> None: ...

    wire = FakeTransport()
    async with client_over(wire, rate_limit=Broken()) as client:
        result = await client.trigger_many(Rows(3))
    assert {outcome.delivery for outcome in result} == {Delivery.NOT_SENT}
    assert not wire.started


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_concurrency": 0}, "max_concurrency must be 1 or more"),
        ({"max_concurrency": True}, "max_concurrency must be 1 or more"),
        ({"max_concurrency": 2.5}, "max_concurrency must be 1 or more"),
        ({"look_ahead": -1}, "look_ahead must be 0 or more"),
        ({"on_key_failure": "raise"}, "on_key_failure must be 'continue' or 'stop'"),
        ({"stop_on": AuthenticationError}, "stop_on must be a tuple of classes"),
        ({"stop_on": (KeyboardInterrupt,)}, "stop_on must be a tuple of classes"),
        ({"on_outcome": "print"}, "on_outcome= takes plain callables"),
    ],
)
async def test_an_option_that_makes_no_sense(options: dict[str, Any], message: str) -> None:
    async with client_over(FakeTransport()) as client:
        with pytest.raises(ConfigurationError, match=message):
            await client.trigger_many([], **options)
        with pytest.raises(ConfigurationError, match=message):
            client.trigger_stream([], **options)


@pytest.mark.parametrize("source", [None, 7, Trigger("a", "b")])
async def test_what_is_no_source_at_all(source: Any) -> None:
    async with client_over(FakeTransport()) as client:
        with pytest.raises(ConfigurationError, match="needs an iterable or async iterable of Trigger, not "):
            await client.trigger_many(source)


async def test_rows_that_never_wait_leave_the_loop_its_turns() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with client_over(FakeTransport()) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            await client.trigger_many([None] * 1000)  # type: ignore[list-item]
            refused = turns
            await client.trigger_many(trigger(n, "one key") for n in range(1000))
            answered = turns - refused
            await client.trigger_many(
                [trigger(0), Trigger("", ""), *[trigger(1)] * 1000], stop_on=(InvalidTriggerError,)
            )
            group.cancel_scope.cancel()
    assert refused >= 1000 / 20
    assert answered >= 1000 / 20
    assert turns - refused - answered >= 1000 / 50, "several workers drain it"
