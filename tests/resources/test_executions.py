"""`client.executions`, against the mock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import (
    AuthenticationError,
    ConfigurationError,
    Delivery,
    Execution,
    ExecutionDetail,
    NotFoundError,
    Poll,
    RefoldClient,
    RefoldError,
    WaitTimeoutError,
)
from refold_async._resources.channel import Channel
from refold_async._resources.executions import Executions
from refold_async._resources.wait import Waiting
from refold_async.testing import Dialect, Fault, MockRefold, RunPlan
from tests.resources.support import mock
from tests.wire.wire import until

START = datetime(2026, 1, 1, tzinfo=UTC)


async def fire(client: RefoldClient, count: int) -> None:
    for n in range(count):
        await client.trigger("pipedrive", "Deal Created", {"deal": n})


@pytest.mark.asyncio
async def test_what_was_fired_is_listed_newest_first_or_oldest_first() -> None:
    async with mock() as (server, client):
        await fire(client, 7)
        found = [each async for each in client.executions.list(page_size=3)]
        assert [each.id for each in found] == [run.id for run in server.runs.all()][::-1]
        assert {each.event for each in found} == {"Deal Created"}
        assert len(server.ledger.targets) == 7 + 3
        again = await client.executions.list(page_size=50, oldest_first=True).collect()
        assert [each.id for each in again] == [each.id for each in found][::-1]
        pages = [page async for page in client.executions.list(page_size=3).pages()]
        assert [(page.number, len(page.items), page.total) for page in pages] == [(1, 3, 7), (2, 3, 7), (3, 1, 7)]


@pytest.mark.asyncio
async def test_filters_go_into_the_query_and_what_was_left_out_does_not() -> None:
    async with mock() as (server, client):
        listed = client.executions.list(
            source="Event", status="ERRORED", slug=["pipedrive", "slack"], workflow_id="w", workflow_name="a&b",
            execution_id="e", since=START, until=START.astimezone(tz=None), type="ASYNC", page_size=20,
        )  # fmt: skip
        assert server.ledger.targets == []
        await listed.first()
        [entry] = server.ledger.entries
        assert entry.query == {
            "page": "1", "limit": "20", "slug": "pipedrive,slack", "status": "ERRORED", "workflow_id": "w",
            "workflow_name": "a&b", "execution_id": "e", "start_date": "2026-01-01T00:00:00.000Z",
            "end_date": "2026-01-01T00:00:00.000Z", "execution_type": "ASYNC", "execution_source": "Event",
            "sortAsc": "false",
        }  # fmt: skip
        await client.executions.list(linked_account_id="other").first()
        assert server.ledger.entries[-1].query == {"page": "1", "limit": "50", "sortAsc": "false"}
        assert server.ledger.entries[-1].linked_account_id == "other"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "filters", [{"since": datetime(2026, 1, 1)}, {"until": "2026"}, {"page_size": 0}, {"page_size": True}]
)
async def test_a_filter_that_makes_no_sense_is_refused_before_anything_is_sent(filters: Any) -> None:
    async with mock() as (server, client):
        with pytest.raises(ConfigurationError, match=next(iter(filters))):
            client.executions.list(**filters)
        assert server.ledger.targets == []


@pytest.mark.asyncio
@pytest.mark.parametrize("detail_has_id", [True, False])
async def test_one_execution_has_its_id_and_its_nodes(detail_has_id: bool) -> None:
    async with mock(dialect=Dialect(detail_has_id=detail_has_id)) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        found = await client.executions.get(run.id)
        assert isinstance(found, ExecutionDetail)
        assert (found.id, found.ok, len(found.nodes)) == (run.id, True, 2)
        assert found.nodes[0].input_data == {"event": "Deal Created", "payload": {"deal": 0}}


@pytest.mark.asyncio
async def test_an_id_that_does_not_exist_is_not_found_and_has_no_verdict() -> None:
    async with mock() as (_, client):
        with pytest.raises(NotFoundError) as caught:
            await client.executions.get("0" * 24)
        assert caught.value.delivery is None
        assert caught.value.safe_to_resend


@settings(max_examples=40)
@given(st.text())
def test_no_id_reaches_another_path(execution_id: str) -> None:
    async def main() -> None:
        with MockRefold(rate_limit=None) as server:
            async with server.client(deadline=5) as client:
                for call in (client.executions.get, client.executions.stop, client.executions.rerun):
                    try:
                        await call(execution_id)
                    except RefoldError as error:
                        assert not server.ledger.targets or isinstance(error, NotFoundError)  # noqa: PT017
            for target in server.ledger.targets:
                path = target.removeprefix("/api/v2/public/execution/")
                assert path != target
                assert path.count("/") <= 1
                assert path.partition("/")[0] not in ("", ".", "..")

    asyncio.run(main())


@pytest.mark.asyncio
async def test_reads_are_tried_again_whatever_happened_to_them() -> None:
    async with mock() as (server, client):
        await fire(client, 1)
        server.next(Fault.answer(500), Fault.close_after_firing(), kind="read")
        assert len(await client.executions.list().collect()) == 1
        server.next(*[Fault.answer(503)] * 9, kind="read")
        with pytest.raises(RefoldError) as caught:
            await client.executions.list().collect()
        assert caught.value.delivery is None


@pytest.mark.asyncio
async def test_stopping_returns_the_words_of_the_answer_and_is_tried_again() -> None:
    async with mock(runs=RunPlan(duration=1000.0, stopping=500.0)) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        server.next(Fault.close_after_firing(), kind="write")
        assert await client.executions.stop(run.id) == "Stopping instance"
        assert (await client.executions.get(run.id)).status == "STOPPING"


@pytest.mark.asyncio
@pytest.mark.parametrize("spelling", ["v1", "v3"])
async def test_a_rerun_names_the_new_execution_and_fires_once(spelling: Any) -> None:
    async with mock(dialect=Dialect(rerun=spelling)) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        again = await client.executions.rerun(run.id)
        assert again.execution_id == server.runs.all()[-1].id != run.id
        assert again.receipt.delivery is Delivery.ACCEPTED
        assert again.receipt.message
        assert len(server.runs.all()) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "delivery"),
    [
        (Fault.close_after_firing(), Delivery.AMBIGUOUS),
        (Fault.answer(500), Delivery.AMBIGUOUS),
        (Fault.answer(400), Delivery.REJECTED),
        (Fault.stall_head(), Delivery.AMBIGUOUS),
    ],
)
async def test_a_rerun_that_fails_has_the_verdict_of_a_trigger(fault: Fault, delivery: Delivery) -> None:
    async with mock() as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        server.next(fault, fault, fault)
        with pytest.raises(RefoldError) as caught:
            await client.executions.rerun(run.id, timeout=0.3)
        assert caught.value.delivery is delivery
        assert caught.value.attempts == 1


@pytest.mark.asyncio
async def test_a_rerun_takes_a_slot_of_the_triggers_and_a_read_does_not() -> None:
    async with mock(client_options={"max_connections": 1}) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        server.next(Fault.stall_head())
        stalled = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created", {"deal": 1}))
        await until(lambda: len(server.ledger.targets) == 2)
        assert len(await client.executions.list().collect()) == 2
        rerun = asyncio.ensure_future(client.executions.rerun(run.id))
        assert len(await client.executions.list().collect()) == 2
        assert not stalled.done()
        assert not rerun.done()
        stalled.cancel()
        await asyncio.wait([stalled])
        assert (await rerun).execution_id


@pytest.mark.asyncio
async def test_a_word_is_found_in_any_text_of_the_document_and_only_as_a_whole() -> None:
    async with mock(runs=RunPlan(shows_tag=True, tag_field="a_new_name")) as (server, client):
        for tag in ("order-1", "order-17", "order-1"):
            await client.trigger("pipedrive", "Deal Created", {"deal": 1}, instance_tag=tag)
        since = datetime.now(UTC) - timedelta(minutes=1)
        found = await client.executions.matching("order-1", since=since).collect()
        runs = server.runs.all()
        assert [each.id for each in found] == [runs[2].id, runs[0].id]
        assert await client.executions.matching("order", since=since).first() is not None
        assert await client.executions.matching("rder-1", since=since).first() is None


@pytest.mark.asyncio
async def test_the_nodes_are_searched_when_asked_and_never_with_more_requests_than_allowed() -> None:
    async with mock() as (server, client):
        for n in range(5):
            await client.trigger("pipedrive", "Deal Created", {"order": f"order-{n}"})
        since = datetime.now(UTC) - timedelta(minutes=1)
        executions = client.executions
        assert await executions.matching("order-1", since=since).collect() == []
        [found] = await executions.matching("order-1", since=since, details=True).collect()
        assert found.id == server.runs.all()[1].id
        server.ledger.clear()
        assert await executions.matching("order-0", since=since, details=True, max_requests=4).collect() == []
        assert len(server.ledger.targets) == 4


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "arguments",
    [{"token": " "}, {"token": None}, {"since": None}, {"since": datetime(2026, 1, 1)}, {"max_requests": 0}],
)
async def test_a_search_that_makes_no_sense_is_refused(arguments: Any) -> None:
    async with mock() as (_, client):
        with pytest.raises(ConfigurationError):
            client.executions.matching(**{"token": "t", "since": START, **arguments})


# Waiting. The time is the test's.


class Clock:
    """A wait's clock, which is the mock's as well, and moves at once when something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


async def wait_for(client: RefoldClient, execution_id: str, time: Clock, **options: Any) -> ExecutionDetail:
    """Wait as `executions.wait` does, on a clock that moves only when everything waits."""
    channel = Channel(client._sender)
    poll = options.pop("poll", Poll())
    timeout = options.pop("timeout", 300.0)
    waiting = Waiting(Executions(channel), channel, execution_id, timeout, poll, options, clock=time, sleep=time.sleep)
    return await waiting.run()


@pytest.mark.asyncio
async def test_a_wait_looks_more_and_more_seldom_and_asks_for_the_nodes_once_at_the_end() -> None:
    clock: Any = Clock()
    async with mock(runs=RunPlan(duration=30.0, ends="ERRORED"), clock=clock) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        found = await wait_for(client, run.id, clock)
        assert (found.id, found.status, len(found.nodes)) == (run.id, "ERRORED", 2)
        assert clock.sleeps[:4] == [1.0, 1.5, 2.25, 3.375]
        assert max(clock.sleeps) <= 10
        paths = [target.partition("?")[0].rpartition("/")[2] for target in server.ledger.targets[1:]]
        assert paths == ["execution"] * (len(clock.sleeps) + 1) + [run.id]


@pytest.mark.asyncio
async def test_a_wait_that_takes_too_long_tells_what_was_seen_last() -> None:
    clock: Any = Clock()
    async with mock(runs=RunPlan(duration=1000.0), clock=clock) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        with pytest.raises(WaitTimeoutError, match="RUNNING") as caught:
            await wait_for(client, run.id, clock, timeout=60.0)
        assert isinstance(caught.value.last, Execution)
        assert caught.value.last.id == run.id
        assert caught.value.delivery is None
        assert clock.now <= 1060.0


@pytest.mark.asyncio
async def test_an_execution_that_is_listed_late_is_waited_for() -> None:
    clock: Any = Clock()
    async with mock(runs=RunPlan(lag=40.0), clock=clock) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        assert (await wait_for(client, run.id, clock)).ok


@pytest.mark.asyncio
async def test_an_id_that_is_never_listed_ends_the_wait_after_a_minute_without_a_hang() -> None:
    clock: Any = Clock()
    async with mock(dialect=Dialect(unknown_execution="hang"), clock=clock) as (_, client):
        with pytest.raises(WaitTimeoutError, match="not listed") as caught:
            await wait_for(client, "0" * 24, clock)
        assert caught.value.last is None
        assert 1060.0 <= clock.now < 1080.0


@pytest.mark.asyncio
async def test_a_wait_outlasts_failures_that_may_pass_and_tells_of_those_that_do_not() -> None:
    clock: Any = Clock()
    async with mock(runs=RunPlan(duration=20.0), clock=clock) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        server.next(*[Fault.answer(500)] * 7, *[Fault.close_after_firing()] * 7, kind="read")
        assert (await wait_for(client, run.id, clock)).ok
        server.next(Fault.answer(401), kind="read")
        with pytest.raises(AuthenticationError):
            await wait_for(client, run.id, clock)


@pytest.mark.asyncio
@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "x"}, {"poll": 3}, {"timeout": True}])
async def test_a_wait_that_makes_no_sense_is_refused(options: Any) -> None:
    async with mock() as (_, client):
        with pytest.raises(ConfigurationError):
            await client.executions.wait("e1", **options)
    for name in ("first", "factor", "cap"):
        with pytest.raises(ValueError, match=name):
            Poll(**{name: 0})


@pytest.mark.asyncio
async def test_a_wait_that_is_cancelled_leaves_no_task_and_no_call() -> None:
    async with mock(runs=RunPlan(duration=1000.0)) as (server, client):
        await fire(client, 1)
        [run] = server.runs.all()
        before = asyncio.all_tasks()
        waits = [asyncio.ensure_future(client.executions.wait(run.id)) for _ in range(5)]
        await until(lambda: len(server.ledger.targets) > 3)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert all(wait.cancelled() for wait in waits)
        assert asyncio.all_tasks() == before
        assert not client._sender.life.calls


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault", [Fault.throttle("0"), Fault.html_502(), Fault.close_after_firing()], ids=lambda fault: fault.name
)
async def test_a_list_that_is_throttled_or_broken_in_between_misses_nothing_while_it_grows(fault: Fault) -> None:
    async with mock(runs=RunPlan(grows=2), dialect=Dialect(max_page_size=7)) as (server, client):
        for _ in range(40):
            server.runs.add(account=server.linked_account_id)
        at_first = {each.id for each in server.runs.all()}
        server.plan(lambda entry: fault if len(server.ledger.entries) % 2 else None, kind="read")
        found = [execution.id async for execution in client.executions.list()]
        assert len(found) == len(set(found))
        assert at_first <= set(found)
        assert server.ledger.requests > 10


@pytest.mark.asyncio
async def test_a_reading_that_is_cancelled_or_left_early_leaves_nothing() -> None:
    async with mock() as (server, client):
        for _ in range(100):
            server.runs.add(account=server.linked_account_id)
        before = asyncio.all_tasks()
        async for _ in client.executions.list(page_size=10):
            break
        assert server.ledger.requests == 1
        server.plan(
            lambda entry: Fault.stall_head(fires=False) if len(server.ledger.entries) > 2 else None, kind="read"
        )

        async def read() -> None:
            async for _ in client.executions.list(page_size=10):
                pass

        task = asyncio.ensure_future(read())
        await until(lambda: server.ledger.requests >= 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before
        assert not client._sender.life.calls
        server.plan(lambda entry: None, kind="read")
        assert len(await client.executions.list().collect()) == 100
