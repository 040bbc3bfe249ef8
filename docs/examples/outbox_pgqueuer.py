"""Events of an outbox, sent by the workers of PgQueuer: `pgq install` once, then `python outbox_pgqueuer.py`.

DATABASE_URL is the database of your app, REFOLD_API_KEY and REFOLD_LINKED_ACCOUNT_ID are set.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
from pgqueuer import Job, PgQueuer, Queries, RetryRequested

from refold_async import OutboxWriteError, RefoldClient, RetryLater, Trigger
from refold_async.outbox.postgres import PostgresStore

outbox = PostgresStore(os.environ["DATABASE_URL"])  # `await outbox.create_schema()` makes its table, once


async def put(connection: asyncpg.Connection, trigger: Trigger, key: str) -> None:
    """Keep the event and its job in the transaction that `connection` is in: both, or neither."""
    await outbox.put(trigger, connection=connection, key=key)
    await Queries.from_asyncpg_connection(connection).enqueue("refold", key.encode())


@asynccontextmanager
async def workers() -> AsyncIterator[PgQueuer]:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    pgq = PgQueuer.from_asyncpg_connection(connection)

    async with RefoldClient() as client:
        # With "hold" the job of an event that is held, or was rejected, stays in the table as failed.
        @pgq.entrypoint("refold", on_failure="hold")
        async def deliver(job: Job) -> None:
            assert job.payload is not None
            try:
                await outbox.deliver(job.payload.decode(), client)
            except RetryLater as later:
                raise RetryRequested(timedelta(seconds=later.delay), str(later)) from later
            except OutboxWriteError as error:
                raise RetryRequested(timedelta(seconds=5), str(error)) from error

        yield pgq
    await connection.close()


async def main() -> None:
    async with workers() as pgq:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pgq.shutdown.set)
        await pgq.run()


if __name__ == "__main__":
    asyncio.run(main())
