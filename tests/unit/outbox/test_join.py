"""`put(connection=…)` on each kind of connection an app may have: there once committed, gone once rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from refold_async import ConfigurationError, InvalidTriggerError, Trigger
from refold_async.outbox import SQLiteOutbox, State

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

TRIGGER = Trigger("crm", "Placed", {"id": 7})
INSERT = "INSERT INTO orders VALUES (7)"


class App:
    """An app's connection of some kind, in a transaction: it saves an order, and the event with it."""

    def __init__(self, connection: Any, execute: Any, commit: Any, rollback: Any) -> None:
        self.connection, self.execute, self.commit, self.rollback = connection, execute, commit, rollback


def as_async(function: Any) -> Any:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


@asynccontextmanager
async def sqlite3_connection(path: Path) -> AsyncIterator[App]:
    app = sqlite3.connect(path)
    yield App(app, as_async(lambda: app.execute(INSERT)), as_async(app.commit), as_async(app.rollback))
    app.close()


@asynccontextmanager
async def aiosqlite_connection(path: Path) -> AsyncIterator[App]:
    async with aiosqlite.connect(path) as app:
        yield App(app, lambda: app.execute(INSERT), app.commit, app.rollback)


@asynccontextmanager
async def sqlalchemy_connection(path: Path) -> AsyncIterator[App]:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as app:
        yield App(app, as_async(lambda: app.execute(sa.text(INSERT))), as_async(app.commit), as_async(app.rollback))
    engine.dispose()


@asynccontextmanager
async def sqlalchemy_session(path: Path) -> AsyncIterator[App]:
    engine = sa.create_engine(f"sqlite:///{path}")
    with Session(engine) as app:
        yield App(app, as_async(lambda: app.execute(sa.text(INSERT))), as_async(app.commit), as_async(app.rollback))
    engine.dispose()


@asynccontextmanager
async def sqlalchemy_async_connection(path: Path) -> AsyncIterator[App]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.connect() as app:
        yield App(app, lambda: app.execute(sa.text(INSERT)), app.commit, app.rollback)
    await engine.dispose()


@asynccontextmanager
async def sqlalchemy_async_session(path: Path) -> AsyncIterator[App]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with AsyncSession(engine) as app:
        yield App(app, lambda: app.execute(sa.text(INSERT)), app.commit, app.rollback)
    await engine.dispose()


KINDS = [
    sqlite3_connection,
    aiosqlite_connection,
    sqlalchemy_connection,
    sqlalchemy_session,
    sqlalchemy_async_connection,
    sqlalchemy_async_session,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as app:
        app.execute("CREATE TABLE orders (id)")
    app.close()
    return path


async def keys(outbox: SQLiteOutbox) -> set[str]:
    rows, _ = await outbox.due_rows(100)
    assert {row.state for row in rows} <= {State.QUEUED}
    return {row.key for row in rows}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("order", ["order first", "event first"])
async def test_the_event_is_there_if_and_only_if_the_apps_transaction_was_committed(
    path: Path, kind: Any, order: str
) -> None:
    outbox = SQLiteOutbox(path, synchronous="normal", shared=True)
    async with kind(path) as app:
        with pytest.raises(ConfigurationError, match="in no transaction"):
            await outbox.put(TRIGGER, connection=app.connection, key="no transaction")
        for key, end in (("rolled back", app.rollback), ("committed", app.commit), ("rolled back too", app.rollback)):
            await app.execute()
            await outbox.put(TRIGGER, connection=app.connection, key=key)
            if order == "event first":
                await app.execute()
            await end()
        async with outbox:
            assert await keys(outbox) == {"committed"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_second_put_of_a_key_in_a_transaction_does_nothing_and_another_trigger_of_it_is_refused(
    path: Path, kind: Any
) -> None:
    outbox = SQLiteOutbox(path, synchronous="normal", shared=True)
    async with kind(path) as app:
        for _ in range(2):
            await app.execute()
            assert await outbox.put(TRIGGER, connection=app.connection, key="k") == "k"
            await app.commit()
        await app.execute()
        with pytest.raises(InvalidTriggerError, match="'k'"):
            await outbox.put(Trigger("crm", "Other"), connection=app.connection, key="k")
        await app.rollback()
        async with outbox:
            assert await keys(outbox) == {"k"}
