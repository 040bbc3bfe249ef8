"""The outbox in PostgreSQL: events in a table of the app's own database, for many hosts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from .._types.errors import InvalidTriggerError, OutboxFileError
from .._types.values import Receipt, Trigger
from ..policies.fence import Sent, State
from . import _pg_schema as sql
from . import _settle
from ._chunks import Overlap, put_in_chunks
from ._claim import Pace
from ._delivery import DeliveryClient
from ._join import Execute
from ._outbox import make_key
from ._pg_join import join, on_psycopg
from ._pg_link import Link, sqlstate
from ._pg_migrate import NO_TABLE, check_version, migrate, schema_sql
from ._row import Change, Row, digest_of, encode_trigger
from ._rows import check_same, row_of
from ._settle import seconds
from ._status import EventStatus, OutboxStats, status_of

__all__ = ["PostgresStore", "schema_sql"]

T = TypeVar("T")

_CHUNK: Final = 5000
"""Rows of one transaction of `put_many`, and of one step of `prune`."""

_LONGEST_ORDERING_KEY: Final = 500
"""Characters, so that the index takes it."""

_SERIALIZATION_FAILURE: Final = "40001"
_UNIQUE_VIOLATION: Final = "23505"


class PostgresStore:
    """Events in the table `refold_outbox` of a PostgreSQL database. Needs the extra `postgres`, and asyncio.

    It puts, and it is a `DeliveryStore`: an engine of yours sends each event with `deliver`. The server's clock makes
    all stamps. No transaction is open while an event is being sent. It may be used from several event loops if it was
    made with a connection string.

    What always holds: a row changes by one `UPDATE` that names the state and the attempt that it was read with, so of
    two who want the same step one gets it.

    :param place: a URL or a connection string; an `AsyncConnectionPool` of psycopg_pool, which stays yours to open
        and close; or what returns an async context manager of a connection.
    :param keep_payloads: keep the payloads of accepted events, which are dropped otherwise.
    """

    def __init__(self, place: Any, *, keep_payloads: bool = False) -> None:
        self._link = Link(place)
        self._keeps_payloads = keep_payloads
        self._is_checked = False

    async def create_schema(self) -> None:
        """Make the tables, or bring them to the version of this library. Does nothing where they are up to date.

        :raises OutboxFileError: for tables of a newer version, and where this user may not make tables.
        """

        async def work(own: Any) -> None:
            async with own.transaction():
                await migrate(on_psycopg(own))

        await self._link.run(work)
        self._is_checked = True

    # Putting.

    async def put(self, trigger: Trigger, *, connection: Any = None, key: str | None = None, delay: float = 0.0) -> str:
        """Keep an event until it was sent. It is durable when this returns; with `connection=`, when that commits.

        :param trigger: what to send; without files.
        :param connection: a connection or session of yours to the same database, in a transaction that this becomes a
            part of: of psycopg, asyncpg or SQLAlchemy, sync or async; or Django's `transaction.get_connection()`.
        :param key: names the event; made up if left out. A second put of the same key and trigger does nothing.
        :param delay: seconds before which it is not sent.
        :returns: the key.
        :raises InvalidTriggerError: for a trigger that cannot be kept, and for a key of another trigger.
        :raises ConfigurationError: for a connection that is in no transaction.
        :raises OutboxError: when the database cannot be written; then nothing was kept, or nobody knows. Errors of
            your own connection are raised as they are.
        """
        key, text, digest, ordering_key = _values(key, trigger)
        values = (key, text, digest, ordering_key, seconds(delay))
        if connection is not None:
            execute = await join(connection)
            is_without_table = False
            try:
                await self._check(execute)
                await self._put(execute, values)
            except Exception as error:
                is_without_table = sqlstate(error) == "42P01"
                if not is_without_table:
                    raise
            if is_without_table:
                raise OutboxFileError(NO_TABLE)
            return key

        async def work(own: Any) -> None:
            async with own.transaction():
                await self._put(on_psycopg(own), values)

        await self._run_on(work)
        return key

    async def put_many(
        self, triggers: Iterable[Trigger | tuple[str, Trigger]] | AsyncIterable[Trigger | tuple[str, Trigger]]
    ) -> int:
        """Keep many events by COPY, in transactions of five thousand; one is written while the next is made.

        An event is durable once ten thousand have followed it, and at the latest when this returns.

        Killed in the middle and repeated with the same keys, no event is there twice.

        :param triggers: triggers, or pairs of a key and a trigger.
        :returns: how many items there were, those that had been put before included.
        :raises InvalidTriggerError: as `put` does; the chunks before that stay.
        """

        async def put(chunk: list[tuple[Any, ...]]) -> None:
            await self._run_on(lambda own: self._copy(own, chunk))

        async with Overlap(put) as overlap:
            return await put_in_chunks(triggers, _CHUNK, _values, overlap.put)

    async def adopt(self, trigger: Trigger, *, key: str, sent: Sent | None = None) -> str:
        """Keep an event that may have fired already, and hold it until somebody says whether it did.

        :param trigger: what was sent.
        :param key: names the event. A second time it does nothing.
        :param sent: what is known of the attempts.
        :returns: the key.
        :raises InvalidTriggerError: as `put` does.
        """
        key, text, digest, ordering_key = _values(key, trigger)
        known = (None, None, None) if sent is None else (sent.key, sent.place, sent.at)

        async def work(own: Any) -> None:
            execute = on_psycopg(own)
            if not await execute(sql.ADOPT, (key, text, digest, ordering_key, *known)):
                kept = await execute(sql.DIGEST, (key,))
                check_same(key, kept[0][0] if kept else digest, digest)

        await self._run_on(work)
        return key

    async def _put(self, execute: Execute, values: tuple[Any, ...]) -> None:
        key, digest = values[0], values[2]
        while not await execute(sql.INSERT, values):
            kept = await execute(sql.DIGEST, (key,))
            if kept:  # else it was pruned in between
                check_same(key, kept[0][0], digest)
                return
        await self._was_put(execute, [key], values[4])

    async def _copy(self, own: Any, chunk: Sequence[tuple[Any, ...]]) -> None:
        """Put a chunk straight into the table; or, if one of its keys is there already, by way of another table."""
        async with own.transaction():
            execute = on_psycopg(own)
            keys = [values[0] for values in chunk]
            try:
                async with own.transaction():
                    (now,) = (await execute(sql.NOW, ()))[0]
                    await _copy_rows(own, sql.COPY, [(*values, "queued", 0, now, now, now) for values in chunk])
            except Exception as error:
                if sqlstate(error) != _UNIQUE_VIOLATION:
                    raise
                keys = await self._copy_new(own, chunk)
            await self._was_put(execute, keys, 0.0)

    async def _copy_new(self, own: Any, chunk: Sequence[tuple[Any, ...]]) -> list[str]:
        """Put those of a chunk that are not there yet, and return their keys."""
        execute = on_psycopg(own)
        await execute(sql.LOAD_TABLE, ())
        await _copy_rows(own, sql.LOAD_COPY, [(number, *values) for number, values in enumerate(chunk)])
        inserted = [row[0] for row in await execute(sql.LOAD_INSERT, ())]
        conflict = await execute(sql.LOAD_CONFLICT, ())
        if conflict:
            check_same(conflict[0][0], "", "another")
        return inserted

    async def _was_put(self, execute: Execute, keys: list[str], delay: float) -> None:
        """Do what goes with putting new events, in their transaction: an engine makes its jobs here."""

    # Delivering.

    async def deliver(self, key: str, client: DeliveryClient, *, pace: Pace | None = None) -> Receipt:
        """Send one event now, unless it is known what became of it: what your engine's task calls.

        :raises RetryLater: also while an earlier event of its ordering key is not settled.
        :raises RefoldError: as `deliver` of this package does.
        """
        return await _settle.deliver_in_order(self, client, key, pace=pace)

    async def due_keys(self, *, limit: int = 1000) -> list[str]:
        """Return the keys of events that somebody should deliver now, the longest due first.

        For an engine of your own, which calls it from time to time: a process may die after `put`, before it has made
        a task for the event.

        :param limit: not more than so many.
        """
        return [str(key) for (key,) in await self._execute(sql.DUE, (limit,))]

    async def is_behind(self, row: Row) -> bool:
        """Whether an event waits for an earlier one of its ordering key that neither fired nor was rejected."""
        if row.ordering_key is None or row.state is not State.QUEUED:
            return False
        return bool((await self._execute(sql.IS_BEHIND, (row.ordering_key, row.seq)))[0][0])

    @property
    def keeps_payloads(self) -> bool:
        """Whether the payload of an accepted event stays."""
        return self._keeps_payloads

    async def load(self, key: str) -> Row | None:
        """Return a row; None if there is none of this key. A part of `DeliveryStore`."""
        found = await self._execute(sql.BY_KEY, (key,))
        return _row(found[0]) if found else None

    async def move(self, row: Row, change: Change) -> Row | None:
        """Take one step of a row, unless another was faster. A part of `DeliveryStore`."""
        statement, values = sql.update(change)

        async def work(own: Any) -> list[Any]:
            try:
                return await on_psycopg(own)(statement, (*values, row.key, row.state.value, row.attempt))
            except Exception as error:
                if sqlstate(error) != _SERIALIZATION_FAILURE:
                    raise
                await own.rollback()
                return []  # above "read committed" this is how the server says that another was faster

        found = await self._run_on(work)
        return _row(found[0]) if found else None

    # Looking, and saying what became of an event.

    async def status(self, key: str) -> EventStatus:
        """Return what is known of an event.

        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return status_of(await _settle.existing(self, key))

    async def held(self, *, limit: int = 1000) -> list[EventStatus]:
        """Return the events that may have fired and wait for somebody, the oldest first.

        :param limit: not more than so many.
        """
        return [status_of(_row(found)) for found in await self._execute(sql.HELD, (limit,))]

    async def resolve(self, key: str, *, fired: bool) -> EventStatus:
        """Say what became of an ambiguous event, after somebody looked.

        :param fired: True ends it as accepted; False queues it again.
        :raises EventStateError: for an event that is being sent, or of which it is known already.
        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return await self._settled(await _settle.resolve(self, key, fired=fired))

    async def retry(self, key: str, *, fired_again: bool = False) -> EventStatus:
        """Queue a rejected event again; with `fired_again=True` an accepted one, which then fires a second time.

        :raises EventStateError: for an event in another state, and an accepted one whose payload was dropped.
        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return await self._settled(await _settle.retry(self, key, fired_again=fired_again))

    async def prune(self, older_than: float) -> int:
        """Delete events that were accepted or rejected a while ago, and return how many.

        :param older_than: seconds.
        """
        age, total = seconds(older_than), 0
        while True:
            done = int((await self._execute(sql.PRUNE, (age, _CHUNK)))[0][0])
            total += done
            if done < _CHUNK:
                return total

    async def stats(self) -> OutboxStats:
        """Return how many events are where, and how old the oldest is."""
        counts = (await self._execute(sql.STATS, ()))[0]
        queued, sending, ambiguous, held, accepted, rejected, age, unsettled = counts
        return OutboxStats(
            queued=queued,
            sending=sending,
            ambiguous=ambiguous,
            held=held,
            blocked=(await self._execute(sql.BLOCKED, ()))[0][0] if held else 0,
            accepted=accepted,
            rejected=rejected,
            oldest_age=age if unsettled else None,
        )

    async def aclose(self) -> None:
        """Close the connections that it opened itself. Idempotent; a later use opens new ones."""
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        await self._execute("SELECT 1", ())  # so that a database that cannot be used is told of at the start
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def _settled(self, row: Row) -> EventStatus:
        """Do what follows when somebody settled an event, or had it queued again."""
        return status_of(row)

    async def _run_on(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run short work on a connection of its own, once the tables were found to be of this library's version."""

        async def checked(own: Any) -> T:
            await self._check(on_psycopg(own))
            return await work(own)

        return await self._link.run(checked)

    async def _check(self, execute: Execute) -> None:
        """Check once that the tables are of this library's version.

        :raises OutboxFileError: if they are not, or are not there.
        """
        if self._is_checked:
            return
        await check_version(execute)
        self._is_checked = True

    async def _execute(self, statement: str, values: Sequence[Any]) -> list[Any]:
        return await self._run_on(lambda own: on_psycopg(own)(statement, values))


async def _copy_rows(own: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    async with own.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)


def _row(values: Sequence[Any]) -> Row:
    return row_of(values[:-1], values[-1])


def _values(key: str | None, trigger: Trigger) -> tuple[str, str, str, str | None]:
    """Return key, text, digest and ordering key.

    :raises InvalidTriggerError: for what cannot be kept.
    """
    key, text = make_key(key, time.time), encode_trigger(trigger)
    order = trigger.ordering_key
    if order is not None and (len(order) > _LONGEST_ORDERING_KEY or not _is_text(order)):
        raise InvalidTriggerError(
            f"an ordering key in PostgreSQL is a text of up to {_LONGEST_ORDERING_KEY} characters, without NUL",
            trigger=trigger,
        )
    return key, text, digest_of(text), order


def _is_text(value: str) -> bool:
    """Tell whether PostgreSQL takes it."""
    return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)
