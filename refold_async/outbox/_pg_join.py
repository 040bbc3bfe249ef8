"""Running statements on a PostgreSQL connection of the caller's own, inside the caller's transaction.

The connection is known by what it can do, so that nothing has to be installed or imported for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

from .._types.errors import ConfigurationError
from ._join import Execute

_TAKEN: Final = "a connection of psycopg, asyncpg or Django, or a Connection or Session of SQLAlchemy, sync or async"

_IN_TRANSACTION: Final = 2
"""`PQTRANS_INTRANS` of libpq: in a transaction, and no statement of it failed."""


async def join(connection: Any) -> Execute:
    """Return what runs statements in the transaction that a connection is in.

    :raises ConfigurationError: for something else, and for a connection that is in no transaction.
    """
    if callable(getattr(connection, "in_transaction", None)):  # SQLAlchemy
        return await _join_sqlalchemy(connection)
    if isinstance(getattr(connection, "in_atomic_block", None), bool):
        return _join_django(connection)
    is_in_transaction = _is_in_transaction(connection)
    if is_in_transaction is None:
        raise ConfigurationError(f"connection= takes {_TAKEN}, not {type(connection).__name__}")
    _check(is_in_transaction)
    return _on_asyncpg(connection) if hasattr(connection, "fetchrow") else on_psycopg(connection)


def _join_django(connection: Any) -> Execute:
    # Its driver begins a transaction with the first statement only, so it is Django that knows. Its own cursors refuse
    # to work where an event loop runs, which is how a coroutine is called from Django's synchronous code.
    _check(connection.in_atomic_block)
    if connection.vendor != "postgresql":
        raise ConfigurationError(f"this outbox is on PostgreSQL, and the connection to {connection.vendor}")
    return on_psycopg(connection.connection)


async def _join_sqlalchemy(connection: Any) -> Execute:
    _check(connection.in_transaction())
    if not hasattr(connection, "exec_driver_sql") and callable(getattr(connection, "connection", None)):  # a session
        connection = await _awaited(connection.connection())
    if not hasattr(connection, "exec_driver_sql"):
        raise ConfigurationError(f"connection= takes {_TAKEN}, not {type(connection).__name__}")
    if connection.dialect.name != "postgresql":
        raise ConfigurationError(f"this outbox is on PostgreSQL, and the connection to {connection.dialect.name}")
    execute = _on_sqlalchemy(connection)
    # SQLAlchemy says that it is in a transaction with AUTOCOMMIT too, and begins some only at their first statement.
    # So it is the driver that knows.
    driver = getattr(connection, "sync_connection", connection).connection.driver_connection
    if not _is_in_transaction(driver):
        await execute("SELECT 1", ())
        _check(_is_in_transaction(driver) is not False)
    return execute


def _is_in_transaction(connection: Any) -> bool | None:
    """Ask a driver's connection; None for something else."""
    if callable(getattr(connection, "is_in_transaction", None)):  # asyncpg
        return bool(connection.is_in_transaction())
    status = getattr(getattr(connection, "info", None), "transaction_status", None)  # psycopg, psycopg2
    return None if status is None or not hasattr(connection, "cursor") else int(status) >= _IN_TRANSACTION


def _check(is_in_transaction: bool) -> None:
    if not is_in_transaction:
        raise ConfigurationError(
            "the connection is in no transaction, so the event would not go with anything: begin one first, or leave "
            "out connection="
        )


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def on_psycopg(connection: Any) -> Execute:
    """Return what runs statements on a connection of psycopg, sync or async, or of psycopg2."""
    options: dict[str, Any] = {}
    if hasattr(connection, "row_factory"):  # the caller's own may make something else of a row
        from psycopg.rows import tuple_row

        options["row_factory"] = tuple_row

    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        cursor = connection.cursor(**options)
        try:
            await _awaited(cursor.execute(statement, tuple(parameters)))
            return [] if cursor.description is None else list(await _awaited(cursor.fetchall()))
        finally:
            await _awaited(cursor.close())

    return execute


def _on_asyncpg(connection: Any) -> Execute:
    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        return [tuple(each) for each in await connection.fetch(_numbered(statement), *parameters)]

    return execute


def _on_sqlalchemy(connection: Any) -> Execute:
    is_numbered = connection.dialect.paramstyle == "numeric_dollar"

    async def execute(statement: str, parameters: Sequence[Any]) -> list[Any]:
        text = _numbered(statement) if is_numbered else statement
        result = await _awaited(connection.exec_driver_sql(text, tuple(parameters)))
        return [tuple(each) for each in result.all()] if result.returns_rows else []

    return execute


def _numbered(statement: str) -> str:
    """Return a statement with its parameters marked as the server itself does: $1, $2 …"""
    first, *others = statement.split("%s")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))
