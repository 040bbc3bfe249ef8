"""The outbox on procrastinate, with real workers: the job goes with the row, and ends as the row does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import psycopg
import pytest
import pytest_asyncio

pytest.importorskip("procrastinate")
import procrastinate
from procrastinate.testing import InMemoryConnector

from refold_async import (
    BadRequestError,
    ConfigurationError,
    Delivery,
    Idempotency,
    RateLimitedError,
    Receipt,
    RefoldConnectionError,
    ServerError,
    Trigger,
)
from refold_async.outbox import EventHeld, RelayPaused, RelayResumed, State
from refold_async.outbox.procrastinate import Outbox
from tests.fakes.outbox import ScriptedClient

from .servers import Server
from .stacks import STACKS

pytestmark = pytest.mark.asyncio

TRIGGER = Trigger("crm", "Placed", {"id": 7})


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest_asyncio.fixture
async def bench(postgres: Server) -> AsyncIterator[Bench]:
    bench = Bench(postgres.url)
    await bench.clear()
    async with bench.app.open_async():
        await bench.app.schema_manager.apply_schema_async()
        await bench.outbox.create_schema()
        yield bench
        await bench.outbox.aclose()


class Bench:
    """A database with an outbox, and a worker that runs what is there.

    :ivar endings: how the calls end, in order; after the last they are accepted.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.endings: list[Exception] = []
        self.window: Idempotency | None = None
        self.client = ScriptedClient(self._end)
        self.heard: list[Any] = []
        self.sent: list[dict[str, Any]] = []
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=5))
        self.outbox = Outbox(self.app, client=self.client, hooks=[self.heard.append])

    async def _end(self, call: dict[str, Any]) -> Receipt:
        self.sent.append(call)  # past its fence, unlike `client.calls`
        if self.endings:
            raise self.endings.pop(0)
        return Receipt(message="queued", status_code=200)

    async def work(self) -> None:
        """Run a worker until nothing is left that is due."""
        ready = "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()"
        while await self.sql(ready):
            await self.app.run_worker_async(
                wait=False, listen_notify=False, install_signal_handlers=False, queues=["refold"], concurrency=2
            )

    async def sql(self, statement: str) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as own:
            cursor = await own.execute(statement.encode())
            return await cursor.fetchall() if cursor.description else []

    async def clear(self) -> None:
        await self.sql("DROP SCHEMA public CASCADE")
        await self.sql("CREATE SCHEMA public")
        await self.sql("CREATE TABLE orders (id integer PRIMARY KEY)")

    async def later(self, seconds: float) -> None:
        """Let time pass: all stamps move into the past."""
        names = ("due", "created", "updated", "first_sent_at", "send_until")
        moved = ", ".join(f"{name} = {name} - make_interval(secs => {seconds})" for name in names)
        await self.sql(f"UPDATE refold_outbox SET {moved}")
        await self.sql(f"UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - make_interval(secs => {seconds})")
        await self.sql(
            f"UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - make_interval(secs => {seconds})"
        )

    async def jobs(self) -> dict[str, str]:
        """Return how the last job of each event ended."""
        found = await self.sql(
            "SELECT o.key, j.status::text FROM refold_outbox o JOIN procrastinate_jobs j ON j.id = o.job ORDER BY o.seq"
        )
        return {key: status for key, status in found}  # noqa: C416 - pairs

    async def state(self, key: str) -> State:
        return (await self.outbox.status(key)).state


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
async def test_a_job_commits_with_the_event_and_is_rolled_back_with_it(bench: Bench, stack: Any) -> None:
    async with stack(bench.url) as (connection, execute):
        await execute("INSERT INTO orders VALUES (1)")
        await bench.outbox.put(TRIGGER, connection=connection, key="kept")
        await bench.outbox.put(TRIGGER, connection=connection, key="kept")
        await bench.work()
        assert bench.sent == [], "it was sent before it was committed"

    async def roll_back() -> None:
        async with stack(bench.url) as (connection, _):
            await bench.outbox.put(TRIGGER, connection=connection, key="gone")
            raise LookupError

    with pytest.raises(LookupError):
        await roll_back()
    assert await bench.sql("SELECT count(*) FROM procrastinate_jobs WHERE args ? 'key'") == [(1,)]
    await bench.work()
    assert len(bench.sent) == 1
    assert await bench.state("kept") is State.ACCEPTED
    assert await bench.jobs() == {"kept": "succeeded"}


async def test_a_job_ends_as_its_event_does(bench: Bench) -> None:
    key = await bench.outbox.put(TRIGGER)
    bench.endings = [BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)]
    await bench.work()
    assert await bench.jobs() == {key: "failed"}
    assert await bench.state(key) is State.REJECTED
    await bench.outbox.retry(key)
    bench.endings = [
        RateLimitedError("slow", status_code=429, delivery=Delivery.REJECTED, retry_after=100.0),
        ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS),
    ]
    await bench.work()
    assert await bench.jobs() == {key: "todo"}
    assert await bench.state(key) is State.QUEUED
    await bench.later(99)
    await bench.work()
    assert len(bench.sent) == 2, "it was sent before retry_after"
    await bench.later(10)
    await bench.work()
    assert await bench.jobs() == {key: "failed"}
    assert [(each.status.key, each.status.held) for each in bench.heard if isinstance(each, EventHeld)] == [(key, True)]


@pytest.mark.parametrize("fired", [True, False])
async def test_resolve_makes_the_job_agree(bench: Bench, fired: bool) -> None:
    key = await bench.outbox.put(TRIGGER)
    bench.endings = [ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)]
    await bench.work()
    await bench.outbox.resolve(key, fired=fired)
    await bench.work()
    assert await bench.jobs() == {key: "succeeded"}
    assert await bench.state(key) is State.ACCEPTED
    assert len(bench.sent) == (1 if fired else 2)


async def test_a_delay_is_kept(bench: Bench) -> None:
    key = await bench.outbox.put(TRIGGER, delay=100)
    await bench.work()
    assert bench.sent == []
    await bench.later(101)
    await bench.work()
    assert await bench.jobs() == {key: "succeeded"}


async def test_put_many_makes_each_event_one_job_however_often_it_is_called(bench: Bench) -> None:
    items = [(f"k{n}", Trigger("crm", "Placed", {"n": n})) for n in range(30)]
    await bench.outbox.put_many(items[:10])
    await bench.outbox.put_many(items)
    assert await bench.sql("SELECT count(*) FROM procrastinate_jobs WHERE args ? 'key'") == [(30,)]
    await bench.work()
    assert sorted(call["payload"]["n"] for call in bench.sent) == list(range(30))
    assert set((await bench.jobs()).values()) == {"succeeded"}


async def test_events_of_one_ordering_key_are_sent_in_order_and_wait_for_a_held_one(bench: Bench) -> None:
    keys = [await bench.outbox.put(Trigger("crm", "Placed", {"n": n}, ordering_key="o")) for n in range(4)]
    bench.endings = [ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)]
    await bench.work()
    await bench.later(60)
    assert await bench.outbox.reap() == 0, "a job was made for an event that has to wait"
    await bench.work()
    assert [call["payload"]["n"] for call in bench.sent] == [0]
    assert (await bench.outbox.stats()).blocked == 3
    await bench.outbox.resolve(keys[0], fired=False)
    await bench.work()
    assert [call["payload"]["n"] for call in bench.sent] == [0, 0, 1, 2, 3]
    await bench.later(100)  # where two jobs met at one event, the second looks at it again later
    await bench.work()
    assert await bench.jobs() == dict.fromkeys(keys, "succeeded")


async def test_a_rejected_event_lets_the_next_of_its_ordering_key_go(bench: Bench) -> None:
    keys = [await bench.outbox.put(Trigger("crm", "Placed", {"n": n}, ordering_key="o")) for n in range(2)]
    bench.endings = [BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)]
    await bench.work()
    assert await bench.state(keys[1]) is State.ACCEPTED
    await bench.later(100)  # where two jobs met at one event, the second looks at it again later
    await bench.work()
    assert await bench.jobs() == {keys[0]: "failed", keys[1]: "succeeded"}
    assert len(bench.sent) == 2


async def test_the_reaper_makes_a_job_for_an_event_whose_job_is_gone(bench: Bench) -> None:
    key = await bench.outbox.put(TRIGGER)
    await bench.sql("DELETE FROM procrastinate_jobs")
    assert await bench.outbox.reap() == 0, "it is due just now, and its worker may be about to"
    await bench.later(6)
    assert sorted(await asyncio.gather(bench.outbox.reap(), bench.outbox.reap())) == [0, 1]
    await bench.work()
    assert await bench.jobs() == {key: "succeeded"}


async def test_the_reaper_settles_a_job_that_says_something_else_than_its_row(bench: Bench) -> None:
    keys = [await bench.outbox.put(TRIGGER) for _ in range(2)]
    bench.endings = [BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)]
    await bench.work()
    before = await bench.jobs()
    await bench.sql("UPDATE procrastinate_jobs SET status = 'aborted'")
    await bench.later(6)
    assert await bench.outbox.reap() == 2
    await bench.work()
    assert await bench.jobs() == before
    assert set(before) == set(keys)
    assert len(bench.sent) == 2
    assert await bench.outbox.reap() == 0


async def test_a_worker_runs_the_reaper_by_itself_and_its_jobs_do_not_pile_up(bench: Bench) -> None:
    for stamp in range(3):
        await bench.app.tasks["refold.refold.reap"].configure(queueing_lock=f"l{stamp}").defer_async(timestamp=stamp)
    await bench.work()
    assert (await bench.sql("SELECT count(*) FROM procrastinate_jobs"))[0][0] <= 2
    assert [each.cron for each in bench.app.periodic_registry.periodic_tasks.values()] == ["* * * * * */15"]


async def test_a_client_is_made_once_for_a_worker_and_closed_with_its_loop(bench: Bench) -> None:
    heard: list[str] = []

    class Client(ScriptedClient):
        async def __aenter__(self) -> Self:
            heard.append("opened")
            return self

        async def __aexit__(self, *_: object) -> None:
            heard.append("closed")

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=bench.url, min_size=1, max_size=5))
    outbox = Outbox(app, client=lambda: Client(bench.client.ending), queue="other")
    async with app.open_async():
        keys = [await outbox.put(TRIGGER) for _ in range(3)]
        await app.run_worker_async(wait=False, listen_notify=False, install_signal_handlers=False, concurrency=3)
        assert {(await outbox.status(key)).state for key in keys} == {State.ACCEPTED}
        assert heard == ["opened"]
        await outbox.aclose()
    assert heard == ["opened", "closed"]


async def test_a_client_that_cannot_be_made_costs_no_event(bench: Bench) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=bench.url, min_size=1, max_size=5))
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        raise OSError("no key file")

    outbox = Outbox(app, client=make, queue="other")
    async with app.open_async():
        key = await outbox.put(TRIGGER)
        await app.run_worker_async(wait=False, listen_notify=False, install_signal_handlers=False)
        assert (await outbox.status(key)).state is State.QUEUED
        assert await bench.jobs() == {key: "todo"}
    assert made == [1]


async def test_an_app_without_a_pool_is_refused(postgres: Server) -> None:
    app = procrastinate.App(connector=InMemoryConnector())
    outbox = Outbox(app, client=ScriptedClient(lambda _: None))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="PsycopgConnector"):
        await outbox.stats()


async def test_while_refold_cannot_be_reached_jobs_wait_and_as_the_pause_ends_all_go_on(bench: Bench) -> None:
    reads: list[bool] = []
    is_away = True

    async def read(*_: Any, **__: Any) -> None:
        reads.append(is_away)
        if is_away:
            raise RefoldConnectionError("refused")

    bench.client.request = read
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=bench.url, min_size=1, max_size=5))
    bench.outbox = Outbox(app, client=bench.client, hooks=[bench.heard.append], probe_every=0.0, patience=0.0)
    bench.app = app
    async with app.open_async():
        keys = [await bench.outbox.put(Trigger("crm", "Placed", {"n": n})) for n in range(30)]
        bench.endings = [RefoldConnectionError("refused", delivery=Delivery.NOT_SENT) for _ in range(30)]
        await bench.work()
        assert 5 <= len(bench.sent) <= 6, "events were sent into an outage"
        assert set((await bench.jobs()).values()) == {"todo"}
        assert [type(each) for each in bench.heard] == [RelayPaused]
        for _ in range(3):
            await bench.later(60)
            await bench.work()
        assert len(bench.sent) <= 6
        assert (await bench.outbox.stats()).queued == 30
        is_away, bench.endings = False, []
        await bench.sql(
            "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE id = (SELECT max(job) FROM refold_outbox)"
        )
        await bench.work()
        assert [type(each) for each in bench.heard] == [RelayPaused, RelayResumed]
        assert set((await bench.jobs()).values()) == {"succeeded"}
        assert await bench.jobs() == dict.fromkeys(keys, "succeeded")
        assert reads.count(False) == 1
        await bench.outbox.aclose()
