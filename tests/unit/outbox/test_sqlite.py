"""`SQLiteOutbox`: what is put is there, whatever happens to the file or the process."""

# ruff: noqa: ASYNC240 - small local files
from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from refold_async import (
    BadRequestError,
    ConfigurationError,
    Delivery,
    EventStateError,
    HeldError,
    InvalidTriggerError,
    OutboxError,
    OutboxFileError,
    Receipt,
    RetryLater,
    ServerError,
    Trigger,
    UnknownKeyError,
)
from refold_async.outbox import SQLiteOutbox, State
from tests.fakes.outbox import ScriptedClient

pytestmark = pytest.mark.anyio

TRIGGER = Trigger("crm", "Placed", {"id": 7})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refold.db"


def box(path: Path, **options: Any) -> SQLiteOutbox:
    return SQLiteOutbox(path, synchronous="normal", **options)


def client(ending: Exception | None = None) -> ScriptedClient:
    async def end(call: dict[str, Any]) -> Receipt:
        if ending is not None:
            raise ending
        return Receipt(message="queued", status_code=200)

    return ScriptedClient(end)


async def test_what_was_put_is_there_in_another_process_that_opens_the_file(path: Path) -> None:
    async with box(path) as outbox:
        key = await outbox.put(TRIGGER)
        async with box(path) as other:
            status = await other.status(key)
            assert (status.state, status.slug, status.event, status.attempts) == (State.QUEUED, "crm", "Placed", 0)
            assert status.to_dict()["state"] == "queued"
            row = await other.load(key)
            assert row is not None
            assert row.load_trigger() == TRIGGER


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    async with box(path) as outbox:
        await outbox.put(TRIGGER)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_second_put_of_a_key_does_nothing_and_another_trigger_of_it_is_refused(path: Path) -> None:
    async with box(path) as outbox:
        assert await outbox.put(TRIGGER, key="order-7") == "order-7"
        assert await outbox.put(TRIGGER, key="order-7") == "order-7"
        with pytest.raises(InvalidTriggerError, match="order-7"):
            await outbox.put(Trigger("crm", "Placed", {"id": 8}), key="order-7")
        assert (await outbox.stats()).queued == 1


async def test_a_second_put_of_an_accepted_key_does_nothing(path: Path) -> None:
    async with box(path) as outbox:
        await outbox.put(TRIGGER, key="k")
        await outbox.deliver("k", client())
        assert await outbox.put(TRIGGER, key="k") == "k"
        assert (await outbox.status("k")).state is State.ACCEPTED


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", 7])
async def test_a_key_that_cannot_be_one_is_refused(path: Path, key: Any) -> None:
    async with box(path) as outbox:
        with pytest.raises(InvalidTriggerError, match="printable"):
            await outbox.put(TRIGGER, key=key)


async def test_an_accepted_event_keeps_its_receipt_and_drops_its_payload(path: Path) -> None:
    async with box(path) as outbox:
        key = await outbox.put(TRIGGER)
        receipt = await outbox.deliver(key, client())
        assert await outbox.deliver(key, client()) == receipt
        row = await outbox.load(key)
        assert row is not None
        assert row.load_trigger().payload is None


async def test_a_held_event_waits_for_somebody_who_says_what_became_of_it(path: Path) -> None:
    async with box(path) as outbox:
        for key, fired in (("yes", True), ("no", False)):
            await outbox.put(TRIGGER, key=key)
            with pytest.raises(HeldError):
                await outbox.deliver(key, client(ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)))
            assert [each.key for each in await outbox.held()] == [key]
            assert (await outbox.held())[0].status_code == 502
            status = await outbox.resolve(key, fired=fired)
            assert status.state is (State.ACCEPTED if fired else State.QUEUED)
            assert not await outbox.held()
        assert (await outbox.deliver("yes", client())).status_code == 0
        assert (await outbox.deliver("no", client())).status_code == 200
        for key in ("yes", "no"):
            with pytest.raises(EventStateError, match="accepted"):
                await outbox.resolve(key, fired=False)


async def test_resolve_and_retry_are_refused_while_an_event_is_being_sent(path: Path) -> None:
    async with box(path) as outbox:
        await outbox.put(TRIGGER, key="k")

        async def look(call: dict[str, Any]) -> Receipt:
            with pytest.raises(EventStateError, match="being sent"):
                await outbox.resolve("k", fired=False)
            with pytest.raises(EventStateError, match="being sent"):
                await outbox.retry("k", fired_again=True)
            return Receipt(message="queued", status_code=200)

        await outbox.deliver("k", ScriptedClient(look))


async def test_a_rejected_event_is_sent_again_when_somebody_asks(path: Path) -> None:
    async with box(path) as outbox:
        await outbox.put(TRIGGER, key="k")
        rejection = BadRequestError("no such event", status_code=400, delivery=Delivery.REJECTED)
        with pytest.raises(BadRequestError):
            await outbox.deliver("k", client(rejection))
        assert (await outbox.status("k")).message == "no such event"
        await outbox.retry("k")
        await outbox.deliver("k", client())
        assert (await outbox.status("k")).state is State.ACCEPTED


async def test_firing_an_accepted_event_again_must_be_asked_for_twice_and_needs_its_payload(path: Path) -> None:
    async with box(path, keep_payloads=True) as outbox:
        await outbox.put(TRIGGER, key="k")
        await outbox.deliver("k", client())
        with pytest.raises(EventStateError, match="fired_again=True"):
            await outbox.retry("k")
        await outbox.retry("k", fired_again=True)
        sender = client()
        await outbox.deliver("k", sender)
        assert sender.calls[0]["payload"] == {"id": 7}
    async with box(path) as outbox:
        await outbox.put(TRIGGER, key="dropped")
        await outbox.deliver("dropped", client())
        with pytest.raises(EventStateError, match="payload"):
            await outbox.retry("dropped", fired_again=True)


async def test_prune_deletes_what_ended_a_while_ago_and_nothing_else(path: Path) -> None:
    async with box(path) as outbox:
        now = [1000.0]
        outbox._clock = lambda: now[0]
        for key in ("old", "open"):
            await outbox.put(TRIGGER, key=key)
        await outbox.deliver("old", client())
        now[0] += 100
        assert await outbox.prune(101) == 0
        assert await outbox.prune(99) == 1
        with pytest.raises(UnknownKeyError):
            await outbox.status("old")
        assert (await outbox.status("open")).state is State.QUEUED


async def test_stats_count_each_state_the_oldest_and_what_waits_behind_a_held_one(path: Path) -> None:
    async with box(path) as outbox:
        now = [1000.0]
        outbox._clock = lambda: now[0]
        assert (await outbox.stats()).oldest_age is None
        ordered = Trigger("crm", "Placed", ordering_key="a")
        for key in ("held", "blocked", "blocked too"):
            await outbox.put(ordered, key=key)
        await outbox.put(TRIGGER, key="free")
        await outbox.put(TRIGGER, key="done")
        await outbox.deliver("done", client())
        with pytest.raises(HeldError):
            await outbox.deliver("held", client(ServerError("?", delivery=Delivery.AMBIGUOUS)))
        now[0] += 50
        stats = await outbox.stats()
        assert (stats.queued, stats.held, stats.blocked, stats.accepted, stats.oldest_age) == (3, 1, 2, 1, 50.0)
        assert stats.to_dict()["held"] == 1


async def test_put_many_puts_each_event_once_however_often_it_is_repeated(path: Path) -> None:
    pairs = [(f"row-{n}", Trigger("crm", "Placed", {"n": n})) for n in range(2500)]

    async def source() -> Any:
        for pair in pairs:
            yield pair

    async with box(path) as outbox:
        assert await outbox.put_many(pairs[:1700]) == 1700
        assert await outbox.put_many(source()) == 2500
        assert (await outbox.stats()).queued == 2500
        with pytest.raises(InvalidTriggerError, match="row-3"):
            await outbox.put_many([("row-3", TRIGGER)])
        assert await outbox.put_many(trigger for _, trigger in pairs[:3]) == 3


async def test_no_statement_reads_the_whole_table(path: Path) -> None:
    traced: list[str] = []
    async with box(path) as outbox:
        await outbox.put_many([("a", Trigger("crm", "Placed", ordering_key="o")), ("b", Trigger("crm", "Placed"))])

        def trace() -> None:
            with outbox._database.use() as own:
                own.set_trace_callback(traced.append)

        await outbox._run(trace)
        with pytest.raises(HeldError):
            await outbox.deliver("a", client(ServerError("?", delivery=Delivery.AMBIGUOUS)))
        await outbox.put(Trigger("crm", "Placed", ordering_key="o"), key="blocked")
        assert (await outbox.stats()).blocked == 1
        await outbox.deliver("b", client())
        await outbox.held()
        await outbox.due_rows(10)
        await outbox.prune(0)
        await outbox.resolve("a", fired=True)
    plans = {}
    own = sqlite3.connect(path)
    for statement in traced:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            plans[statement] = [row[3] for row in own.execute(f"EXPLAIN QUERY PLAN {statement}")]
    own.close()
    assert len(plans) > 12
    whole = {each: plan for each, plan in plans.items() if any("SCAN" in step and "INDEX" not in step for step in plan)}
    assert not whole


# What can be wrong with the file.


async def test_a_file_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    outbox = box(path)
    with pytest.raises(OutboxFileError, match="another program"):
        await outbox.put(TRIGGER)
    assert path.read_bytes() == before
    async with box(path, shared=True) as ours:
        await ours.put(TRIGGER)


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"a letter to somebody\n" * 100)
    with pytest.raises(OutboxFileError, match="no SQLite database"):
        await box(path).put(TRIGGER)
    assert path.read_bytes() == b"a letter to somebody\n" * 100


async def test_a_newer_schema_is_refused_and_left_as_it_is(path: Path) -> None:
    async with box(path) as outbox:
        await outbox.put(TRIGGER, key="k")
    with sqlite3.connect(path) as other:
        other.execute("UPDATE refold_outbox_meta SET version = 99")
    other.close()
    with pytest.raises(OutboxFileError, match="newer version"):
        await box(path).put(TRIGGER)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM refold_outbox").fetchone() == (1,)
    other.close()


async def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutboxFileError, match="cannot be opened"):
        await box(tmp_path / "nowhere" / "refold.db").put(TRIGGER)


async def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = box(path)
    async with outbox:
        pass
    await outbox.aclose()
    with pytest.raises(OutboxError, match="was closed"):
        await outbox.put(TRIGGER)


@pytest.mark.parametrize("name", ["", ":memory:", "file:x?mode=memory"])
async def test_an_outbox_that_would_not_be_durable_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="file on a disk"):
        SQLiteOutbox(name)


# In a transaction of the caller's own.


async def test_put_joins_the_transaction_of_a_sqlite3_connection(path: Path) -> None:
    app = sqlite3.connect(path)
    app.execute("CREATE TABLE orders (id)")
    app.commit()
    async with box(path, shared=True) as outbox:
        with pytest.raises(ConfigurationError, match="in no transaction"):
            await outbox.put(TRIGGER, connection=app)
        app.execute("INSERT INTO orders VALUES (1)")
        await outbox.put(TRIGGER, connection=app, key="rolled back")
        app.rollback()
        app.execute("INSERT INTO orders VALUES (2)")
        await outbox.put(TRIGGER, connection=app, key="committed")
        assert await outbox.load("committed") is None, "it is there before the transaction has ended"
        app.commit()
        assert await outbox.load("rolled back") is None
        assert (await outbox.status("committed")).state is State.QUEUED
    app.close()


async def test_a_transaction_makes_the_table_in_the_apps_own_file(path: Path) -> None:
    app = sqlite3.connect(path)
    app.execute("CREATE TABLE orders (id)")
    app.execute("BEGIN")
    outbox = box(path, shared=True)
    await outbox.put(TRIGGER, connection=app, key="k")
    app.commit()
    app.close()
    async with outbox:
        assert (await outbox.status("k")).state is State.QUEUED


async def test_a_file_that_is_shared_with_an_app_keeps_its_own_settings(path: Path) -> None:
    async with box(path, shared=True) as outbox:
        await outbox.put(TRIGGER)
    async with box(path) as outbox:  # such as by the command line, which does not know that it is shared
        assert (await outbox.stats()).queued == 1
    app = sqlite3.connect(path)
    assert app.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert app.execute("PRAGMA application_id").fetchone() == (0,)
    assert app.execute("PRAGMA user_version").fetchone() == (0,)
    app.close()


async def test_a_connection_to_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    app = sqlite3.connect(tmp_path / "other.db")
    app.execute("BEGIN")
    async with box(path) as outbox:
        with pytest.raises(ConfigurationError, match="its own file only"):
            await outbox.put(TRIGGER, connection=app)
        with pytest.raises(ConfigurationError, match="takes a connection"):
            await outbox.put(TRIGGER, connection=object())
    app.close()


@pytest.mark.parametrize("ending", [None, "rejected", "held", "resolved", "not yet"])
async def test_an_engine_of_its_own_cannot_send_an_event_before_the_earlier_ones_of_its_ordering_key(
    path: Path, ending: str | None
) -> None:
    refused = BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)
    doubt = ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)
    async with box(path) as outbox:
        first = await outbox.put(Trigger("crm", "Placed", {"id": 1}, ordering_key="7"))
        later = await outbox.put(Trigger("crm", "Paid", {"id": 1}, ordering_key="7"))
        other = await outbox.put(Trigger("crm", "Placed", {"id": 2}, ordering_key="8"))
        if ending is None:
            await outbox.deliver(first, client())
        elif ending == "rejected":
            with pytest.raises(BadRequestError):
                await outbox.deliver(first, client(refused))
        elif ending in ("held", "resolved"):
            with pytest.raises(HeldError):
                await outbox.deliver(first, client(doubt))
        if ending == "resolved":
            await outbox.resolve(first, fired=True)
        sender = client()
        if ending in ("held", "not yet"):
            with pytest.raises(RetryLater):
                await outbox.deliver(later, sender)
            assert sender.calls == []
        else:
            await outbox.deliver(later, sender)
            assert [call["event"] for call in sender.calls] == ["Paid"]
        await outbox.deliver(other, client())
