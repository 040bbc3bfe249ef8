"""The outbox's tables in PostgreSQL are brought up to date on request; tables of another version are not touched."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from refold_async import ConfigurationError, OutboxFileError, Trigger
from refold_async.cli.app import app
from refold_async.outbox import State
from refold_async.outbox import _pg_schema as sql
from refold_async.outbox.postgres import PostgresStore, schema_sql
from tests.fakes.outbox import ScriptedClient
from tests.unit.outbox.test_migrations import STEPS, accept

from .servers import Server, emptied
from .stacks import STACKS

pytestmark = pytest.mark.asyncio

TRIGGER = Trigger("crm", "Placed", {"n": 1})


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest.fixture
def url(postgres: Server) -> str:
    """Tables of the version that is published, with an event."""
    with psycopg.connect(emptied(postgres), autocommit=True) as own:
        own.execute("CREATE TABLE orders (id integer PRIMARY KEY)")

    async def put() -> None:
        store = PostgresStore(postgres.url)
        await store.create_schema()
        await store.put(TRIGGER, key="a")
        await store.aclose()

    asyncio.run(put())
    return postgres.url


@pytest.fixture
def newer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this library be one version newer than the tables."""
    monkeypatch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, STEPS))


def contents(url: str) -> tuple[Any, ...]:
    """Return the version, the columns, the indexes and the rows."""
    with psycopg.connect(url) as own:
        return tuple(
            own.execute(statement).fetchall()
            for statement in (
                "SELECT version FROM refold_outbox_meta",
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'refold_outbox' ORDER BY 1",
                "SELECT indexdef FROM pg_indexes WHERE tablename = 'refold_outbox' ORDER BY 1",
                "SELECT * FROM refold_outbox ORDER BY seq",
            )
        )


async def deliver(url: str) -> State:
    async with PostgresStore(url) as store:
        await store.deliver("a", ScriptedClient(accept))
        return (await store.status("a")).state


async def test_tables_of_an_older_version_are_named_and_not_touched(url: str, newer: None) -> None:
    before = contents(url)
    store = PostgresStore(url)
    for work in (store.put(TRIGGER), store.stats(), store.put_many([TRIGGER]), store.load("a"), store.prune(0)):
        with pytest.raises(OutboxFileError, match=r"older version.*refold-async outbox migrate"):
            await work
    for name in ("psycopg", "SQLAlchemy's session over asyncpg"):
        with pytest.raises(OutboxFileError, match="older version"):
            async with STACKS[name](url) as (connection, _):
                await store.put(TRIGGER, connection=connection)
    await store.aclose()
    assert contents(url) == before


async def test_on_request_they_are_brought_up_to_date_and_keep_their_events(url: str, newer: None) -> None:
    rows = contents(url)[-1]
    store = PostgresStore(url)
    await asyncio.gather(*(store.create_schema() for _ in range(4)))
    assert (await store.stats()).queued == 1
    await store.aclose()
    version, columns, indexes, after = contents(url)
    assert version == [(len(sql.MIGRATIONS),)]
    assert ("note",) in columns
    assert any("refold_outbox_note" in each[0] for each in indexes)
    assert after == [(*rows[0], "old")]
    assert await deliver(url) is State.ACCEPTED


async def test_the_command_and_ones_own_migrations_lead_to_the_same(url: str, newer: None) -> None:
    done = await asyncio.to_thread(lambda: CliRunner().invoke(app, ["outbox", "migrate", url]))
    assert done.exit_code == 0, done.output
    by_command = contents(url)
    with psycopg.connect(url, autocommit=True) as own:
        own.execute("DROP SCHEMA public CASCADE")
        own.execute("CREATE SCHEMA public")
        statements = schema_sql()
        own.execute(statements.encode())
    assert contents(url)[:3] == by_command[:3]
    assert schema_sql(since=len(sql.MIGRATIONS)) == ""
    for wrong in (-1, len(sql.MIGRATIONS) + 1, True, "1"):
        with pytest.raises(ConfigurationError):
            schema_sql(since=wrong)  # type: ignore[arg-type]


async def test_ones_own_migration_goes_on_from_the_version_that_is_there(url: str, newer: None) -> None:
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(schema_sql(since=1).encode())
    assert contents(url)[0] == [(2,)]
    assert await deliver(url) is State.ACCEPTED


async def test_tables_of_a_newer_version_are_refused_and_stay_as_they_are(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = PostgresStore(url)
    await running.stats()
    with monkeypatch.context() as patch:
        patch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, STEPS))
        store = PostgresStore(url)
        await store.create_schema()
        await store.aclose()
    before = contents(url)
    store = PostgresStore(url)
    for work in (store.create_schema(), store.put(TRIGGER), store.stats(), store.load("a")):
        with pytest.raises(OutboxFileError, match="newer version"):
            await work
    await store.aclose()
    assert contents(url) == before
    assert await running.put(TRIGGER, key="b") == "b", "a process that runs goes on"
    await running.aclose()


@pytest.mark.parametrize("good", range(len(STEPS) + 1))
async def test_a_migration_that_fails_leaves_the_old_version_which_goes_on(
    url: str, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(url)
    with monkeypatch.context() as patch:
        patch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, (*STEPS[:good], "nonsense")))
        store = PostgresStore(url)
        with pytest.raises(OutboxFileError, match="nonsense"):
            await store.create_schema()
        await store.aclose()
    assert contents(url) == before
    assert await deliver(url) is State.ACCEPTED


KILLED = """
import asyncio, os, signal, sys
from refold_async.outbox import _pg_schema as sql
from refold_async.outbox.postgres import PostgresStore
from tests.unit.outbox.test_migrations import STEPS

class Killing:
    def __iter__(self):
        yield from STEPS[:2]
        os.kill(os.getpid(), signal.SIGKILL)

sql.MIGRATIONS = (*sql.MIGRATIONS, Killing())
asyncio.run(PostgresStore(sys.argv[1]).create_schema())
"""


async def test_a_migration_that_is_killed_leaves_the_old_version(url: str) -> None:
    before = contents(url)
    done = await asyncio.to_thread(
        lambda: subprocess.run([sys.executable, "-c", KILLED, url], timeout=150, check=False, capture_output=True)
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents(url) == before
    assert await deliver(url) is State.ACCEPTED
