"""An outbox's own connections to PostgreSQL: from a pool, or opened as needed; and errors that name the cure."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from .._types.errors import ConfigurationError, OutboxError, OutboxFileError, OutboxWriteError
from .._wire.loops import on_asyncio

T = TypeVar("T")

_MOST_IDLE: Final = 2

_CONNECT_TIMEOUT: Final = 10
"""Seconds, unless the connection string or PGCONNECT_TIMEOUT says otherwise."""

_CURES: Final = {
    "42P01": "a table of it is not in this database: call `await outbox.create_schema()`, or look at the search_path",
    "42703": "its table lacks a column, so it was made by another version: run `refold-async outbox migrate`",
    "42501": "this user has no right to do that: grant it SELECT, INSERT, UPDATE and DELETE on refold_outbox, and "
    "SELECT on refold_outbox_meta",
    "25006": "it is read-only: name the primary server",
}


class Link:
    """Connections for one statement each, or one short transaction. A connection that failed is not used again.

    :param place: a URL or connection string; an `AsyncConnectionPool` of psycopg_pool, which stays its owner's to
        close; or what returns an async context manager of a connection.
    :raises ConfigurationError: for something else.
    """

    def __init__(self, place: Any) -> None:
        try:
            import psycopg  # noqa: F401 - is it there?
        except ImportError:
            raise ConfigurationError(
                "an outbox in PostgreSQL needs psycopg: pip install 'refold-async[postgres]'"
            ) from None
        self._open: Callable[[], Awaitable[Any]] | None = None
        self._borrow: Callable[[], Any] | None = None
        self._idle: list[tuple[Any, int, Any]] = []
        if isinstance(place, str):
            self._open = _opener(place)
            is_valid = self._open is not None
        else:
            borrow = getattr(place, "connection", place)
            self._borrow, is_valid = borrow, callable(borrow)
        del place
        if not is_valid:
            raise ConfigurationError(
                "the place of an outbox is a connection string that is valid, an AsyncConnectionPool, or what returns "
                "an async context manager of a connection"
            )

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run short work on a connection; it is committed when this returns.

        :raises OutboxError: naming the cure; then nothing was written, or nobody knows.
        """
        import psycopg

        if not on_asyncio():
            raise ConfigurationError("psycopg works on asyncio only, and so does an outbox in PostgreSQL")
        was_idle = bool(self._idle)
        failure: OutboxError
        try:
            return await self._run(work)
        except psycopg.OperationalError as error:
            failure = named(error)
        except psycopg.Error as error:
            was_idle, failure = False, named(error)
        if was_idle:  # a connection that was closed while it was idle says nothing about the server
            await self.aclose()
            try:
                return await self._run(work)
            except psycopg.Error as error:
                failure = named(error)
        # Raised here, so that no frame of psycopg, which knows the password, hangs on to it.
        raise failure

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._connection() as connection:
            return await work(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._borrow is not None:
            async with self._borrow() as connection:
                yield connection
                if not connection.autocommit:
                    await connection.commit()
            return
        connection = self._take_idle()
        if connection is None:
            assert self._open is not None
            connection = await self._open()
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append((asyncio.get_running_loop(), os.getpid(), connection))
        else:
            await connection.close()

    def _take_idle(self) -> Any:
        """Return a connection of this loop and process; None if there is none."""
        loop, pid = asyncio.get_running_loop(), os.getpid()
        for entry in self._idle:
            if entry[0] is loop and entry[1] == pid:
                self._idle.remove(entry)
                return entry[2]
        return None

    async def aclose(self) -> None:
        """Close the idle connections that are this loop's."""
        while (connection := self._take_idle()) is not None:
            await connection.close()


def named(error: Any) -> OutboxError:
    """Return an error of psycopg as one of ours, with the cure where one is known."""
    import psycopg

    words = _CURES.get(sqlstate(error) or "")
    if words is not None:
        return OutboxFileError(f"the outbox in PostgreSQL: {words}")
    first_line = str(error).strip().partition("\n")[0]
    kind = OutboxWriteError if isinstance(error, psycopg.OperationalError) else OutboxFileError
    return kind(f"the outbox in PostgreSQL cannot be used: {first_line or type(error).__name__}")


def sqlstate(error: BaseException | None) -> str | None:
    """Return PostgreSQL's five characters for an error of psycopg, asyncpg or SQLAlchemy; None for another error."""
    for each in (error, getattr(error, "orig", None), getattr(getattr(error, "orig", None), "__cause__", None)):
        found = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(found, str):
            return found
    return None


def _opener(dsn: str) -> Callable[[], Awaitable[Any]] | None:
    """Return what opens a connection; None if the string is not valid."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    dsn = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", dsn)  # as SQLAlchemy writes it
    if not _is_unmistakable(dsn):
        return None
    try:
        if "connect_timeout" not in conninfo_to_dict(dsn) and not os.environ.get("PGCONNECT_TIMEOUT"):
            dsn = make_conninfo(dsn, connect_timeout=_CONNECT_TIMEOUT)
    except psycopg.Error:
        return None

    async def connect() -> Any:
        try:
            # Nothing is prepared, so that poolers between us and the server do not mind.
            return await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None)
        except (OSError, ValueError, OverflowError) as error:  # a host or a port that cannot be one
            raise psycopg.OperationalError(f"its host or port cannot be one ({type(error).__name__})") from None

    return connect


def _is_unmistakable(dsn: str) -> bool:
    """Tell whether no part of a password can be taken for the host, the port or the database, which errors name.

    That is what libpq makes of a password with an `@` or a `/` in it that is not written as `%40` or `%2F`.
    """
    scheme, mark, rest = dsn.partition("://")
    if not mark or scheme not in ("postgresql", "postgres"):
        return True
    user, at, after = rest.partition("@")
    if not at or "/" in user:
        user, after = "", rest
    place = after.partition("?")[0]
    authority = place.partition("/")[0]
    ports = (re.sub(r"\[[^\]]*\]", "", host).partition(":")[2] for host in authority.split(","))
    return "@" not in place and all(port == "" or (port.isascii() and port.isdigit()) for port in ports)
