"""The outbox in PostgreSQL, on a real server: what commits is sent once, and what is rolled back never."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
import pytest_asyncio

from refold_async import (
    BadRequestError,
    ConfigurationError,
    Delivery,
    EventStateError,
    HeldError,
    Idempotency,
    InvalidTriggerError,
    OutboxFileError,
    OutboxWriteError,
    Receipt,
    RetryLater,
    ServerError,
    Trigger,
    UnknownKeyError,
)
from refold_async.outbox import State
from refold_async.outbox._row import postpone
from refold_async.outbox.postgres import PostgresStore, schema_sql
from tests.fakes.outbox import ScriptedClient

from .servers import Server, free_port
from .stacks import STACKS, sqlalchemy_url

pytestmark = pytest.mark.asyncio

TRIGGER = Trigger("crm", "Placed", {"id": 7})


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest.fixture
def url(postgres: Server) -> str:
    with psycopg.connect(postgres.url, autocommit=True) as own:
        own.execute("DROP TABLE IF EXISTS refold_outbox, refold_outbox_meta, orders")
        own.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    return postgres.url


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    outbox = PostgresStore(url)
    await outbox.create_schema()
    yield outbox
    await outbox.aclose()


def client(ending: Exception | None = None, window: float | None = None) -> ScriptedClient:
    async def end(call: dict[str, Any]) -> Receipt:
        if ending is not None:
            raise ending
        return Receipt(message="queued", status_code=200, raw=b"{}")

    return ScriptedClient(end, None if window is None else Idempotency(header="X-Key", window=window))


def doubt() -> ServerError:
    return ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)


def later(url: str, seconds: float) -> None:
    """Let time pass, for the rows: all stamps move into the past."""
    names = ("due", "created", "updated", "first_sent_at", "send_until")
    moved = ", ".join(f"{name} = {name} - make_interval(secs => {seconds})" for name in names)
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(f"UPDATE refold_outbox SET {moved}".encode())


class RolledBackError(Exception):
    pass


def orders(url: str) -> int:
    with psycopg.connect(url) as own:
        found = own.execute("SELECT count(*) FROM orders").fetchone()
        assert found is not None
        count: int = found[0]
        return count


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
async def test_an_event_commits_with_the_order_and_is_rolled_back_with_it(
    url: str, store: PostgresStore, stack: Any
) -> None:
    async with stack(url) as (connection, execute):
        await execute("INSERT INTO orders VALUES (1)")
        assert await store.put(TRIGGER, connection=connection, key="kept") == "kept"
        assert await store.put(TRIGGER, connection=connection, key="kept") == "kept"
        assert await store.load("kept") is None, "it can be seen before it was committed"
    assert (await store.status("kept")).state is State.QUEUED

    async def roll_back() -> None:
        async with stack(url) as (connection, execute):
            await execute("INSERT INTO orders VALUES (2)")
            await store.put(TRIGGER, connection=connection, key="gone")
            raise RolledBackError

    with pytest.raises(RolledBackError):
        await roll_back()
    with pytest.raises(UnknownKeyError):
        await store.status("gone")
    assert orders(url) == 1
    with pytest.raises(InvalidTriggerError):
        async with stack(url) as (connection, _):
            await store.put(Trigger("crm", "Other"), connection=connection, key="kept")


async def test_a_connection_in_no_transaction_is_refused(url: str, store: PostgresStore) -> None:
    asyncpg = pytest.importorskip("asyncpg")
    pytest.importorskip("sqlalchemy")
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def refuses(connection: Any) -> None:
        with pytest.raises(ConfigurationError, match="in no transaction"):
            await store.put(TRIGGER, connection=connection, key="k")

    async with await psycopg.AsyncConnection.connect(url) as own:
        await refuses(own)
    with psycopg.connect(url, autocommit=True) as sync:
        await refuses(sync)
    other = await asyncpg.connect(url)
    await refuses(other)
    await other.close()
    for driver in ("psycopg", "asyncpg"):
        engine = create_async_engine(sqlalchemy_url(url, driver))
        async with AsyncSession(engine) as session:
            await refuses(session)
        loose = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with loose.connect() as connection, connection.begin():
            await refuses(connection)
        await engine.dispose()
    sync_engine = create_engine(sqlalchemy_url(url, "psycopg"))
    with sync_engine.connect() as plain:
        await refuses(plain)
    sync_engine.dispose()
    assert await store.load("k") is None


async def test_what_is_no_connection_to_postgresql_is_refused(store: PostgresStore) -> None:
    pytest.importorskip("sqlalchemy")
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    with engine.connect() as other, other.begin():
        with pytest.raises(ConfigurationError, match="PostgreSQL"):
            await store.put(TRIGGER, connection=other)
    engine.dispose()
    lite = sqlite3.connect(":memory:")
    for connection in (lite, object(), "postgresql://"):
        with pytest.raises(ConfigurationError):
            await store.put(TRIGGER, connection=connection)
    lite.close()


async def test_two_who_deliver_one_event_send_it_once(store: PostgresStore) -> None:
    for number in range(10):
        key = await store.put(TRIGGER, key=f"k{number}")
        both = [client(), client()]
        results = await asyncio.gather(*(store.deliver(key, each) for each in both), return_exceptions=True)
        assert any(isinstance(result, Receipt) for result in results)
        assert all(isinstance(result, Receipt | RetryLater) for result in results), results
        assert (await store.status(key)).attempts == 1


async def test_of_two_who_take_the_same_step_one_gets_it(url: str, store: PostgresStore) -> None:
    await store.put(TRIGGER, key="k")
    row = await store.load("k")
    assert row is not None
    for options in ("", "-c default_transaction_isolation=serializable"):
        strict = PostgresStore(psycopg.conninfo.make_conninfo(url, options=options))
        await store.deliver("k", client())
        assert await strict.move(row, postpone(row, 1.0)) is None
        await strict.aclose()


async def _waits_for_a_lock(url: str) -> None:
    """Return as soon as another connection's step waits for ours."""
    asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE refold_outbox%'"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as own:
        while await (await own.execute(asked)).fetchone() is None:  # each turn is a round trip
            pass


async def test_a_concurrent_step_under_serializable_isolation_is_lost_and_no_error(
    url: str, store: PostgresStore
) -> None:
    await store.put(TRIGGER, key="k")
    row = await store.load("k")
    assert row is not None
    strict = PostgresStore(psycopg.conninfo.make_conninfo(url, options="-c default_transaction_isolation=serializable"))
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("UPDATE refold_outbox SET attempt = attempt + 1")
        moving = asyncio.ensure_future(strict.move(row, postpone(row, 1.0)))
        await _waits_for_a_lock(url)
        await other.commit()
    assert await moving is None
    await strict.aclose()


async def test_an_accepted_event_is_replayed_and_its_payload_dropped(store: PostgresStore) -> None:
    key = await store.put(TRIGGER)
    sender = client()
    receipt = await store.deliver(key, sender)
    assert await store.deliver(key, sender) == receipt
    assert len(sender.calls) == 1
    row = await store.load(key)
    assert row is not None
    assert row.load_trigger().payload is None
    with pytest.raises(EventStateError, match="put it once more"):
        await store.retry(key, fired_again=True)


async def test_a_sender_that_died_is_lost_and_its_event_held(url: str, store: PostgresStore) -> None:
    key = await store.put(TRIGGER)

    class DiedError(BaseException):
        pass

    async def die(call: dict[str, Any]) -> Receipt:
        row = await store.load(key)
        assert row is not None
        assert row.state is State.SENDING
        raise DiedError

    dead = ScriptedClient(die)
    with pytest.raises(DiedError):
        await store.deliver(key, dead)
    # As a process that is killed leaves it: nothing was written after the claim.
    with psycopg.connect(url, autocommit=True) as own:
        own.execute("UPDATE refold_outbox SET state = 'sending', due = now() + interval '60 s', verdict = NULL")
    with pytest.raises(RetryLater):
        await store.deliver(key, client())
    with pytest.raises(EventStateError, match="being sent"):
        await store.resolve(key, fired=True)
    later(url, 61)
    sender = client()
    with pytest.raises(HeldError):
        await store.deliver(key, sender)
    assert sender.calls == []
    assert [each.key for each in await store.held()] == [key]
    assert (await store.stats()).held == 1


async def test_with_a_declared_window_a_lost_event_is_sent_again_with_its_key(url: str, store: PostgresStore) -> None:
    key = await store.put(TRIGGER)
    first = client(doubt(), window=300)
    with pytest.raises(RetryLater):
        await store.deliver(key, first)
    later(url, 10)
    second = client(window=300)
    await store.deliver(key, second)
    assert second.calls[0]["idempotency_key"] == first.calls[0]["idempotency_key"] is not None
    assert second.calls[0]["first_sent_at"] is not None


async def test_after_the_window_it_is_held(url: str, store: PostgresStore) -> None:
    key = await store.put(TRIGGER)
    with pytest.raises(RetryLater):
        await store.deliver(key, client(doubt(), window=300))
    later(url, 301)
    sender = client(window=300)
    with pytest.raises(HeldError):
        await store.deliver(key, sender)
    assert sender.calls == []


async def test_a_held_event_is_resolved_either_way(store: PostgresStore) -> None:
    for fired in (True, False):
        key = await store.put(TRIGGER)
        with pytest.raises(HeldError):
            await store.deliver(key, client(doubt()))
        status = await store.resolve(key, fired=fired)
        assert status.state is (State.ACCEPTED if fired else State.QUEUED)
        sender = client()
        await store.deliver(key, sender)
        assert len(sender.calls) == (0 if fired else 1)
        with pytest.raises(EventStateError):
            await store.resolve(key, fired=True)
    with pytest.raises(UnknownKeyError):
        await store.resolve("none", fired=True)


async def test_a_rejected_event_is_queued_again_by_retry_only(store: PostgresStore) -> None:
    key = await store.put(TRIGGER)
    rejection = BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)
    for _ in range(2):
        with pytest.raises(BadRequestError):
            await store.deliver(key, client(rejection))
    await store.retry(key)
    await store.deliver(key, client())
    with pytest.raises(EventStateError, match="fired_again"):
        await store.retry(key)


async def test_a_kept_payload_can_be_fired_again(url: str, store: PostgresStore) -> None:
    keeping = PostgresStore(url, keep_payloads=True)
    key = await keeping.put(TRIGGER)
    await keeping.deliver(key, client())
    await keeping.retry(key, fired_again=True)
    sender = client()
    await keeping.deliver(key, sender)
    assert sender.calls[0]["payload"] == {"id": 7}
    await keeping.aclose()


async def test_stats_count_and_prune_deletes_what_has_ended(url: str, store: PostgresStore) -> None:
    assert (await store.stats()).oldest_age is None
    accepted, rejected, held = [await store.put(Trigger("crm", "Placed", {"n": n}, ordering_key="o")) for n in range(3)]
    await store.put(Trigger("crm", "Placed", ordering_key="o"))
    await store.put(TRIGGER, delay=60)
    await store.deliver(accepted, client())
    with pytest.raises(BadRequestError):
        await store.deliver(rejected, client(BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)))
    with pytest.raises(HeldError):
        await store.deliver(held, client(doubt()))
    later(url, 50)
    stats = await store.stats()
    assert (stats.accepted, stats.rejected, stats.held, stats.queued, stats.blocked) == (1, 1, 1, 2, 1)
    assert stats.oldest_age is not None
    assert 50 <= stats.oldest_age < 110
    assert await store.prune(51) == 0
    assert await store.prune(40) == 2
    assert (await store.stats()).queued == 2


async def test_put_many_repeated_puts_nothing_twice(store: PostgresStore) -> None:
    items = [(f"k{n}", Trigger("crm", "Placed", {"n": n, "text": 'tab\t nul\0 "quote" \\ new\n é'})) for n in range(50)]

    class KilledError(Exception):
        pass

    async def cut_off() -> AsyncIterator[tuple[str, Trigger]]:
        for item in items[:20]:
            yield item
        raise KilledError

    with pytest.raises(KilledError):
        await store.put_many(cut_off())
    await store.put_many(items[:20])
    assert await store.put_many(items) == 50
    assert await store.put_many([*items, *items]) == 100
    assert (await store.stats()).queued == 50
    rows = [await store.load(key) for key, _ in items]
    assert [row.seq for row in rows if row] == sorted(row.seq for row in rows if row)
    sender = client()
    await store.deliver("k3", sender)
    assert sender.calls[0]["payload"] == items[3][1].payload


async def test_put_many_refuses_a_key_of_another_trigger_and_keeps_nothing_of_its_chunk(store: PostgresStore) -> None:
    with pytest.raises(InvalidTriggerError, match="'a'"):
        await store.put_many([("b", TRIGGER), ("a", TRIGGER), ("a", Trigger("crm", "Other"))])
    assert (await store.stats()).queued == 0
    assert await store.put_many([]) == 0
    assert await store.put_many([TRIGGER, TRIGGER]) == 2


async def test_put_many_takes_what_a_payload_and_a_key_may_hold_on_both_ways_into_the_table(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refold_async.outbox.postgres._CHUNK", 7)
    texts = ["\\.", "\\N", "\\", "é\u2028", "tab\tnew\nreturn\r", "NULL", '"', "'", ",", "\x7f", "\U0001f600"]
    items = [(f"key {n} \\N {text.strip()}", Trigger("crm", text, {text: text}, ordering_key=text or None))
             for n, text in enumerate(texts) if text.isprintable()]  # fmt: skip
    items += [
        (f"plain {n}", Trigger("crm", "Placed", {text: [text, n]}, ordering_key=text)) for n, text in enumerate(texts)
    ]
    assert await store.put_many(items[3:5]) == 2
    assert await store.put_many(items) == len(items), "the first chunk meets keys that are there, the next ones do not"
    assert await store.put_many(items) == len(items)
    rows = [row for key, _ in items if (row := await store.load(key)) is not None]
    for (_, trigger), row in zip(items, rows, strict=True):
        assert row.ordering_key == trigger.ordering_key
        kept = json.loads(row.trigger)
        assert (kept["event"], kept["payload"]) == (trigger.event, trigger.payload)
        assert (row.state, row.attempt) == (State.QUEUED, 0)
        assert row.due is not None
        assert abs(row.due - row.now) < 60
    after = [row.seq for row in rows[5:]]
    assert after == sorted(after)


@pytest.mark.parametrize("order", ["x" * 501, "nul\0", "half \ud800"])
async def test_an_ordering_key_that_the_database_cannot_keep_is_refused(store: PostgresStore, order: str) -> None:
    with pytest.raises(InvalidTriggerError):
        await store.put(Trigger("crm", "Placed", ordering_key=order))


async def test_the_schema_is_made_once_however_many_ask(url: str) -> None:
    async with psycopg_pool.AsyncConnectionPool(url) as pool:
        outbox = PostgresStore(pool)
        with pytest.raises(OutboxFileError, match="create_schema"):
            await outbox.put(TRIGGER)
        await asyncio.gather(*(outbox.create_schema() for _ in range(4)))
        await outbox.put(TRIGGER)
        await outbox.create_schema()
        assert (await outbox.stats()).queued == 1
        async with pool.connection() as connection:
            await connection.execute("UPDATE refold_outbox_meta SET version = 99")
        with pytest.raises(OutboxFileError, match="newer version"):
            await outbox.create_schema()


async def test_a_missing_table_is_told_of_on_the_callers_own_connection_too(url: str) -> None:
    outbox = PostgresStore(url)
    for stack in (
        STACKS["psycopg"],
        STACKS["asyncpg"],
        STACKS["SQLAlchemy's session over psycopg"],
        STACKS["SQLAlchemy's session over asyncpg"],
    ):
        with pytest.raises(OutboxFileError, match="create_schema"):
            async with stack(url) as (connection, _):
                await outbox.put(TRIGGER, connection=connection)


async def test_the_schema_can_be_made_by_migrations_of_ones_own(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(schema_sql().encode())
    outbox = PostgresStore(url)
    await outbox.create_schema()
    await outbox.put(TRIGGER)
    assert (await outbox.stats()).queued == 1
    await outbox.aclose()


async def test_a_connection_that_was_closed_while_idle_is_opened_again(url: str, store: PostgresStore) -> None:
    await store.put(TRIGGER)
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    await store.put(TRIGGER)
    assert (await store.stats()).queued == 2


async def test_a_server_that_is_not_there_is_told_of_without_the_password() -> None:
    outbox = PostgresStore(f"postgresql+psycopg://me:hunter2@127.0.0.1:{free_port()}/db")
    with pytest.raises(OutboxWriteError) as caught:
        await outbox.put(TRIGGER)
    error: BaseException | None = caught.value
    assert error is not None
    assert error.__context__ is None
    frames = caught.traceback
    assert not any("hunter2" in str(frame.frame.f_locals) for frame in frames if "refold_async" in str(frame.path))
    assert "hunter2" not in str(error) + repr(outbox)


@pytest.mark.parametrize("place", ["postgresql://[", 5, None])
async def test_a_place_that_is_none_is_refused_without_being_repeated(place: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresStore(place)
    assert "postgresql://[" not in str(caught.value)
