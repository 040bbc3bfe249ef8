"""The outbox on procrastinate: its workers, on as many hosts as you like, send what is in PostgreSQL."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._logging import logger
from .._types.errors import (
    ConfigurationError,
    HeldError,
    OutboxError,
    OutboxWriteError,
    RefoldError,
    RetryLater,
    UnknownKeyError,
)
from . import _jobs as sql
from ._claim import Pace
from ._client import ClientOfLoop, Making
from ._delivery import DeliveryClient, deliver_row
from ._events import RelayHook
from ._gate import PATIENCE, Gate
from ._job_store import JobStore, reaper_of, task_of
from ._pause import Pause, read_once
from ._pg_join import on_psycopg
from ._settle import seconds
from ._telling import tell_held

if TYPE_CHECKING:
    import procrastinate
    from procrastinate.jobs import Job

__all__ = ["JobStore", "Outbox"]


REAP_EVERY: Final = 15
"""Seconds between two looks for events whose worker is gone."""

_REST: Final = 15.0
"""Seconds until a job is tried again that failed for a reason which is not the event's."""

_GRACE: Final = 5.0
"""Seconds in which a worker that has just ended a job may still make the next one itself."""

_CHUNK: Final = 500


class Outbox(JobStore):
    """Events in PostgreSQL, each with a job of procrastinate, made in the same transaction.

    Make it where the procrastinate app is made, in a module that web processes and workers import: it gives the app
    two tasks. A worker is `procrastinate worker`, or `app.run_worker_async`; say a concurrency of 20 or so. Call
    `create_schema()` once, beside procrastinate's own.

    The row is what counts, and a job only wakes a worker: a job more or less changes nothing. How its jobs end:
    succeeded for an accepted event, failed for a rejected or a held one, tried again for all else. An event that waits
    for an earlier one of its ordering key needs no job: whoever settles that one makes it. Every 15 seconds a worker
    looks for jobs whose worker is gone, and for events that are due and have no job.

    While Refold cannot be reached, or refuses the key, each worker process pauses as `SQLiteOutbox.relay` does: events
    wait, reads probe, and one event goes first. A job waits for that a few seconds, and is put off for up to a minute
    then, so that other tasks of the worker get their turn; as a pause ends, all that was put off goes on.

    :param app: the procrastinate app. Its connector must be a `PsycopgConnector`, unless `place` is given.
    :param client: makes a `RefoldClient`, which is opened in each worker with its first event and closed with its event
        loop; or a client that you open and close.
    :param queue: procrastinate's queue for its jobs.
    :param place: where its own connections come from, as for `PostgresStore`; the app's pool if left out.
    :param hooks: are called with `EventHeld`, `RelayPaused` and `RelayResumed` for what a worker of this process holds
        and meets.
    :param pace: how deliveries are timed.
    :param stalled_after: seconds without a heartbeat after which a worker counts as gone, and its jobs run again. Not
        less than the `stalled_worker_timeout` of the workers, which is 30 unless they say otherwise.
    :param probe_every: seconds to the first probe of an outage, and between reads.
    :param patience: seconds that a job waits in its worker while Refold cannot be reached, before it is put off.
    """

    def __init__(
        self,
        app: procrastinate.App,
        *,
        client: DeliveryClient | Callable[[], Any],
        queue: str = "refold",
        place: Any = None,
        keep_payloads: bool = False,
        hooks: Iterable[RelayHook] = (),
        pace: Pace | None = None,
        stalled_after: float = 30.0,
        probe_every: float = 5.0,
        patience: float = PATIENCE,
    ) -> None:
        retry = _retry()
        super().__init__(self._borrow if place is None else place, queue=queue, keep_payloads=keep_payloads)
        self._app = app
        self._hooks = tuple(hooks)
        self._pace = pace
        self._stalled_after = seconds(stalled_after)
        self._making: Making = client if callable(client) else (lambda: client)
        self._clients = ClientOfLoop(self._making, is_ours=callable(client))
        self._probe_every = seconds(probe_every)
        self._patience = seconds(patience)
        self._gate_of_loop: tuple[asyncio.AbstractEventLoop, Gate] | None = None
        self._is_in_hurry = False
        self._task = task_of(queue)
        self._reaper = reaper_of(queue)
        app.task(name=self._task, queue=queue, retry=retry)(self._run)
        task = app.task(name=self._reaper, queue=queue, queueing_lock=self._reaper, priority=1)(self._reap)
        app.periodic(cron=f"* * * * * */{REAP_EVERY}")(task)

    async def aclose(self) -> None:
        """Close what it opened in this event loop: its client and its connections. Idempotent."""
        await self._clients.aclose()
        await super().aclose()

    async def reap(self) -> int:
        """Do now what a worker does every 15 seconds, and return how many jobs were made or tried again."""
        count = await self._revive() + await self._wake_forgotten() + await self._wake_disagreeing()
        await self._execute(sql.SWEEP, (self._reaper,))
        return count

    # The two tasks.

    async def _run(self, key: str) -> None:
        """Deliver one event."""
        row = await self.load(key)
        if row is None:
            raise UnknownKeyError(f"the outbox has no event {key!r}: it was pruned")
        if await self.is_behind(row):
            return
        try:
            await deliver_row(self, await self._clients.get(), row, pace=self._pace, gate=self._gate())
        except HeldError:
            await tell_held(self, key, self._hooks)
            raise
        except OutboxError:  # `RetryLater` too
            raise
        except RefoldError:  # rejected
            await self._wake_next(row)
            raise
        finally:
            await self._hurry()
        await self._wake_next(row)

    def _gate(self) -> Gate:
        """Return the gate of the running loop."""
        loop = asyncio.get_running_loop()
        if self._gate_of_loop is None or self._gate_of_loop[0] is not loop:
            pause = Pause(self._read, 1, self._probe_every)
            gate = Gate(pause, "the worker", self._hooks, patience=self._patience, resumed=self._has_resumed)
            self._gate_of_loop = loop, gate
        return self._gate_of_loop[1]

    async def _read(self) -> bool:
        client: Any = await self._clients.get()
        return await read_once(client)

    def _has_resumed(self) -> None:
        self._is_in_hurry = True

    async def _hurry(self) -> None:
        """After a pause: have the jobs run now that it put off. Where this fails they run a minute later."""
        if not self._is_in_hurry:
            return
        self._is_in_hurry = False
        try:
            await self._execute(sql.HURRY, (self._task,))
        except OutboxError as error:
            logger.warning("the jobs that waited for Refold go on by themselves, within a minute: %s", error)

    async def _reap(self, timestamp: int) -> None:
        await self.reap()

    async def _revive(self) -> int:
        """Have the jobs run again whose worker is gone. The row says how far it came."""
        from procrastinate.exceptions import ProcrastinateException
        from procrastinate.jobs import Status

        count = 0
        manager = self._app.job_manager
        for job in await self._stalled(self._task):
            with suppress(ProcrastinateException):  # another reaper was faster
                await manager.retry_job(job)
                count += 1
        for job in await self._stalled(self._reaper):
            if job.id is not None:
                with suppress(ProcrastinateException):
                    await manager.finish_job_by_id_async(job_id=job.id, status=Status.FAILED, delete_job=True)
        return count

    async def _stalled(self, task: str) -> Iterable[Job]:
        return await self._app.job_manager.get_stalled_jobs(
            queue=self._queue, task_name=task, seconds_since_heartbeat=self._stalled_after
        )

    # Jobs.

    async def _wake_forgotten(self) -> int:
        """Make jobs for events that are due, and that no job will look at."""
        due, seq, total = "-infinity", 0, 0
        while True:
            found = await self._wake_found(sql.FORGOTTEN, due, seq)
            total += len(found)
            if len(found) < _CHUNK:
                return total
            _, due, seq = found[-1]

    async def _wake_disagreeing(self) -> int:
        """Make jobs for events that ended, of which the job says otherwise: it will find the verdict, and end so."""
        total = 0
        while True:
            found = await self._wake_found(sql.DISAGREE)
            total += len(found)
            if len(found) < _CHUNK:
                return total

    async def _wake_found(self, statement: str, *values: object) -> list[Any]:
        async def work(own: Any) -> list[Any]:
            async with own.transaction():
                execute = on_psycopg(own)
                found = await execute(statement, (*values, _GRACE, _CHUNK))
                await self._was_put(execute, [each[0] for each in found], 0.0)
                return list(found)

        return await self._run_on(work)

    def _borrow(self) -> Any:
        pool = getattr(self._app.connector, "pool", None)
        if pool is None or not hasattr(pool, "connection"):
            raise ConfigurationError(
                f"the connector of the procrastinate app is a {type(self._app.connector).__name__}, which has no pool "
                "of psycopg: use a PsycopgConnector, or say place="
            )
        return pool.connection()


def _retry() -> Any:
    """Return what decides what becomes of a job that raised.

    :raises ConfigurationError: where procrastinate is not installed.
    """
    try:
        from procrastinate import BaseRetryStrategy, RetryDecision
    except ImportError:
        raise ConfigurationError("this outbox needs procrastinate: pip install 'refold-async[procrastinate]'") from None

    class Retry(BaseRetryStrategy):  # type: ignore[misc, unused-ignore]
        def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
            if isinstance(exception, RetryLater):
                return RetryDecision(retry_in={"milliseconds": math.ceil(exception.delay * 1000)})
            if isinstance(exception, asyncio.CancelledError):  # the worker is being stopped
                return RetryDecision(retry_in={"seconds": 0})
            if isinstance(exception, RefoldError) and not isinstance(exception, OutboxWriteError):
                return None
            return RetryDecision(retry_in={"seconds": int(_REST)})

    return Retry()
