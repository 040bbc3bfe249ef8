"""Events in PostgreSQL, each with a job of procrastinate, made by statements alone: no procrastinate app is needed."""

from __future__ import annotations

from typing import Any

from .._logging import logger
from .._types.errors import OutboxError
from . import _jobs as sql
from ._join import Execute
from ._pg_join import on_psycopg
from ._row import Row
from ._status import EventStatus, status_of
from .postgres import PostgresStore


def task_of(queue: str) -> str:
    """Return the name of the task that delivers one event."""
    return f"refold.{queue}.deliver"


def reaper_of(queue: str) -> str:
    """Return the name of the task that looks for events whose worker is gone."""
    return f"refold.{queue}.reap"


class JobStore(PostgresStore):
    """Makes a job of procrastinate for each event that is put or queued again, in the same transaction.

    :param place: as for `PostgresStore`.
    :param queue: procrastinate's queue. Left out, it is the one that the database names: that of the event's last job,
        or of the only `Outbox` that ever had a job or a worker here. Where it names none, or several, no job is made,
        and the reaper of the next worker makes it, within 20 seconds.
    :param keep_payloads: as for `PostgresStore`.
    """

    def __init__(self, place: Any, *, queue: str | None = None, keep_payloads: bool = False) -> None:
        super().__init__(place, keep_payloads=keep_payloads)
        self._queue = queue
        self._queues: list[str] | None = None
        """What the database names; None for not asked yet."""

    async def _was_put(self, execute: Execute, keys: list[str], delay: float) -> None:
        if keys:
            await self._defer(execute, keys, await self._only_queue(execute))

    async def _settled(self, row: Row) -> EventStatus:
        await self._wake([row.key])
        await self._wake_next(row)
        return status_of(row)

    async def _wake(self, keys: list[str]) -> None:
        """Make a job for each of these events."""

        async def work(own: Any) -> None:
            async with own.transaction():
                execute = on_psycopg(own)
                only = await self._only_queue(execute)
                if self._queue is not None or not self._queues:
                    await self._defer(execute, keys, only)
                    return
                for key in keys:
                    last = await execute(sql.LAST_QUEUE, (key,))
                    await self._defer(execute, [key], last[0][0] if last else only)

        await self._run_on(work)

    async def _wake_next(self, row: Row) -> None:
        """Make a job for the event that waited for this one. Where this fails the reaper does it."""
        if row.ordering_key is None or not (self._queue or self._queues):
            return
        try:
            found = await self._execute(sql.NEXT_IN_ORDER, (row.ordering_key,))
            # A job that has begun may have looked before this event was settled, and so counts for nothing.
            if found and found[0][0] != row.key and not found[0][1]:
                await self._wake([found[0][0]])
        except OutboxError as error:
            logger.warning("the next event of an ordering key was not woken; the reaper will do it: %s", error)

    async def _only_queue(self, execute: Execute) -> str | None:
        """Return the queue for events that never had a job; None where the database names none, or several."""
        if self._queue is not None:
            return self._queue
        if self._queues is None:
            has_jobs = (await execute(sql.HAS_JOBS, ()))[0][0]
            self._queues = [found[0] for found in await execute(sql.QUEUES, ())] if has_jobs else []
        return self._queues[0] if len(self._queues) == 1 else None

    async def _defer(self, execute: Execute, keys: list[str], queue: str | None) -> None:
        if queue is None:
            return
        made = await execute(sql.DEFER, (queue, task_of(queue), keys))
        await execute(sql.NAME_JOBS, (list(made[0][0]),))
