"""Running statements on a connection of the caller's own, inside the caller's transaction.

The connection is known by what it can do, so that nothing has to be installed or imported for it.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from .._types.errors import ConfigurationError

Execute = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
"""Runs a statement with its parameters, and returns its rows."""

_TAKEN: Final = "a connection of sqlite3 or aiosqlite, or a Connection or Session of SQLAlchemy, sync or async"


async def join(connection: Any) -> Execute:
    """Return what runs statements in the transaction that a connection is in.

    :raises ConfigurationError: for something else, and for a connection that is in no transaction.
    """
    if isinstance(connection, sqlite3.Connection):
        _check(connection.in_transaction)
        return _on_sqlite3(connection)
    if callable(getattr(connection, "in_transaction", None)):  # SQLAlchemy
        _check(connection.in_transaction())
        if not hasattr(connection, "exec_driver_sql") and callable(
            getattr(connection, "connection", None)
        ):  # a session
            connection = await _awaited(connection.connection())
        if hasattr(connection, "exec_driver_sql"):
            if connection.dialect.name != "sqlite":
                raise ConfigurationError(f"this outbox is on SQLite, and the connection to {connection.dialect.name}")
            return _on_sqlalchemy(connection)
    elif isinstance(getattr(connection, "in_transaction", None), bool) and hasattr(connection, "execute_fetchall"):
        _check(connection.in_transaction)
        return _on_aiosqlite(connection)
    raise ConfigurationError(f"connection= takes {_TAKEN}, not {type(connection).__name__}")


def _check(is_in_transaction: bool) -> None:
    if not is_in_transaction:
        raise ConfigurationError(
            "the connection is in no transaction, so the event would not go with anything: begin one first, or leave "
            "out connection="
        )


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _on_sqlite3(connection: sqlite3.Connection) -> Execute:
    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        return connection.execute(statement, tuple(parameters)).fetchall()

    return execute


def _on_aiosqlite(connection: Any) -> Execute:
    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        return list(await connection.execute_fetchall(statement, tuple(parameters)))

    return execute


def _on_sqlalchemy(connection: Any) -> Execute:
    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        result = await _awaited(connection.exec_driver_sql(statement, tuple(parameters)))
        return [tuple(each) for each in result.all()] if result.returns_rows else []

    return execute
