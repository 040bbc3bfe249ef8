"""A rate limit for many processes, in PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from .._types.errors import ConfigurationError
from .._types.values import RateLimit
from ..policies.pacing import LONGEST_PAUSE
from ..policies.shared_pacing import Answer, Question
from ._link import Store
from ._queue import current_loop
from ._shared import OnOutage, SharedRateLimiter

_CALL = (
    "SELECT era, epoch, go, slot, wait, members, rate, burst, opens FROM refold_rate_limit_ask_2("
    "%s, %s, %s, %s, %s, %s, %s::bigint[], %s, %s, %s, %s, %s, %s, %s)"
)

_MOST_IDLE = 2


class PostgresStore:
    """The shared state as a row, which a function of the database asks and changes in one step.

    A connection that was in use when something went wrong, or that hangs, is never used again.

    :param borrow: an asynchronous context manager of a connection, from a pool.
    :param connect: opens a connection, where there is no pool.
    :param now: microseconds, in place of the server's clock.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[[], Any] | None = None,
        borrow: Callable[[], Any] | None = None,
        now: Callable[[], int] | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._borrow = borrow
        self._now = now
        self._idle: list[Any] = []

    async def ask(self, question: Question) -> Answer:
        import psycopg

        reused = bool(self._idle)
        try:
            return await self._ask(question)
        except psycopg.OperationalError:
            # A connection that was closed while idle must not look like an outage; so one try more, with a new one.
            if not reused:
                raise
            await self.aclose()
            return await self._ask(question)

    async def _ask(self, question: Question) -> Answer:
        import psycopg

        limit = question.limit
        arguments = (
            self._name,
            question.member,
            f"{float(limit.rate)!r} {limit.burst}",
            question.era,
            question.epoch,
            question.held,
            list(question.returned),
            question.spent,
            question.wants,
            question.longest,
            question.pause,
            question.announces,
            question.rejoins,
            None if self._now is None else self._now(),
        )
        async with self._connection() as connection:
            try:
                return await _fetch(connection, arguments)
            except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable):
                await connection.rollback()
                async with connection.transaction():
                    await connection.execute(files(__package__).joinpath("_pace.sql").read_text())
                return await _fetch(connection, arguments)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._borrow is not None:
            async with self._borrow() as connection:
                yield connection
            return
        assert self._connect is not None
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            await connection.close()

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()


async def _fetch(connection: Any, arguments: tuple[Any, ...]) -> Answer:
    from psycopg.rows import tuple_row

    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_CALL, arguments, prepare=False)  # so that poolers do not mind
        return Answer(*await cursor.fetchone())


class PostgresRateLimiter(SharedRateLimiter):
    """One limit for all processes that use the same database, and the same name. Needs the extra `postgres`.

    Makes the table `refold_rate_limit` and a function for it, where they are not there yet, in the first schema of
    the search path; so its user needs the right to, or they were made before. Works on asyncio. See
    `SharedRateLimiter` for the other parameters.

    :param dsn_or_pool: a URL or a connection string; or an `AsyncConnectionPool` of psycopg_pool, which stays yours to
        close, and serves one event loop.
    """

    def __init__(
        self,
        dsn_or_pool: Any,
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        name: str | None = None,
        on_outage: OnOutage = "local",
        instances: int | None = None,
        max_retry_after: float = LONGEST_PAUSE,
    ) -> None:
        super().__init__(limit, name=name, on_outage=on_outage, instances=instances, max_retry_after=max_retry_after)
        try:
            import psycopg  # noqa: F401 - is it there?
        except ImportError:
            raise ConfigurationError(
                "PostgresRateLimiter needs psycopg: pip install 'refold-async[postgres]'"
            ) from None
        self._loop: Any = None
        self._borrow: Callable[[], Any] | None = None
        self._open: Callable[[], Any] | None = None
        if isinstance(dsn_or_pool, str):
            made = _opener(dsn_or_pool)
            if made is not None:
                self._open, self._place = made
                return
            problem = "the connection string is not valid"
        elif callable(getattr(dsn_or_pool, "connection", None)):
            self._borrow, self._place = dsn_or_pool.connection, "PostgreSQL"
            return
        else:
            problem = "dsn_or_pool must be a connection string, or an AsyncConnectionPool"
        del dsn_or_pool
        raise ConfigurationError(f"PostgresRateLimiter: {problem}")

    def _connect(self, name: str) -> Store:
        if self._borrow is not None:
            if self._loop not in (None, current_loop()):
                raise ConfigurationError(
                    "the pool of this rate limiter belongs to another event loop. Give a connection string, or make "
                    "a limiter and a pool for each loop"
                )
            self._loop = current_loop()
        return PostgresStore(name, connect=self._open, borrow=self._borrow)


def _opener(dsn: str) -> tuple[Callable[[], Any], str] | None:
    """Return what opens a connection, and what to call the server; None if the string is not valid."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    dsn = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", dsn)  # as SQLAlchemy writes it
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error:
        return None

    async def connect() -> Any:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None)

    host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
    return connect, f"PostgreSQL at {host}:{parts.get('port') or 5432}"
