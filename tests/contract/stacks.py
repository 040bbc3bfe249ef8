"""The stacks of which the outbox joins a transaction: each yields a connection in one, and what runs a statement on it.

Leaving it with an error rolls back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest


def sqlalchemy_url(url: str, driver: str) -> Any:
    from sqlalchemy import make_url

    return make_url(url).set(drivername=f"postgresql+{driver}")


@asynccontextmanager
async def on_psycopg(url: str) -> AsyncIterator[tuple[Any, Any]]:
    connection = await psycopg.AsyncConnection.connect(url, row_factory=psycopg.rows.dict_row)
    async with connection, connection.transaction():
        yield connection, connection.execute


@asynccontextmanager
async def on_psycopg_sync(url: str) -> AsyncIterator[tuple[Any, Any]]:
    with psycopg.connect(url) as connection, connection.transaction():

        async def execute(statement: str) -> None:
            connection.execute(statement.encode())

        yield connection, execute


@asynccontextmanager
async def on_asyncpg(url: str) -> AsyncIterator[tuple[Any, Any]]:
    asyncpg = pytest.importorskip("asyncpg")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            yield connection, connection.execute
    finally:
        await connection.close()


@asynccontextmanager
async def on_asyncpg_pool(url: str) -> AsyncIterator[tuple[Any, Any]]:
    asyncpg = pytest.importorskip("asyncpg")
    async with (
        asyncpg.create_pool(url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        yield connection, connection.execute


def _sqlalchemy(driver: str, kind: str) -> Any:
    @asynccontextmanager
    async def stack(url: str) -> AsyncIterator[tuple[Any, Any]]:
        pytest.importorskip("sqlalchemy")
        pytest.importorskip(driver)
        from sqlalchemy import create_engine, text
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
        from sqlalchemy.orm import Session

        if kind.startswith("sync"):
            sync_engine = create_engine(sqlalchemy_url(url, driver))
            try:
                opened: Any = Session(sync_engine) if kind == "sync session" else sync_engine.connect()
                with opened as joined, joined.begin():

                    async def execute(statement: str) -> None:
                        joined.execute(text(statement))

                    yield joined, execute
            finally:
                sync_engine.dispose()
            return
        engine = create_async_engine(sqlalchemy_url(url, driver))
        try:
            async_opened: Any = AsyncSession(engine) if kind == "session" else engine.connect()
            async with async_opened as joined, joined.begin():
                yield joined, lambda statement: joined.execute(text(statement))
        finally:
            await engine.dispose()

    return stack


STACKS = {
    "psycopg": on_psycopg,
    "psycopg, sync": on_psycopg_sync,
    "asyncpg": on_asyncpg,
    "asyncpg's pool": on_asyncpg_pool,
    **{
        f"SQLAlchemy's {kind} over {driver}": _sqlalchemy(driver, kind)
        for driver in ("psycopg", "asyncpg")
        for kind in ("session", "connection", "sync session", "sync connection")
        if driver == "psycopg" or not kind.startswith("sync")
    },
}
