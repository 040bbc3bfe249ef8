"""An app that saves orders and fires an event for each, once: FastAPI, SQLAlchemy, and SQLite or PostgreSQL.

Run it with `uvicorn outbox_app:app`; REFOLD_API_KEY and REFOLD_LINKED_ACCOUNT_ID are set. DATABASE_URL names a database
of PostgreSQL, such as postgresql://localhost/shop; without it the orders are in a SQLite file, which ORDERS_DB names.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from refold_async import RefoldClient, Trigger
from refold_async.outbox import SQLiteOutbox

if TYPE_CHECKING:
    from refold_async.outbox.procrastinate import Outbox


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]


outbox: "SQLiteOutbox | Outbox"

if url := os.environ.get("DATABASE_URL"):  # PostgreSQL: many hosts may run this app, and each sends
    import procrastinate

    from refold_async.outbox.procrastinate import Outbox

    engine = create_async_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    jobs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    outbox = queue = Outbox(jobs, client=RefoldClient)

    @asynccontextmanager
    async def sending() -> AsyncIterator[None]:
        async with jobs.open_async():
            if not await jobs.check_connection_async():
                await jobs.schema_manager.apply_schema_async()
            await queue.create_schema()
            # Or leave this out, and run workers of their own: procrastinate --app=outbox_app.jobs worker
            running = jobs.run_worker_async(concurrency=20, install_signal_handlers=False, shutdown_graceful_timeout=5)
            worker = asyncio.create_task(running)
            try:
                yield
            finally:
                worker.cancel()
                with suppress(asyncio.CancelledError):
                    await worker
                await queue.aclose()

else:  # SQLite: the processes of one host may run this app, and one of them sends
    path = os.environ.get("ORDERS_DB", "orders.db")
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    outbox = file = SQLiteOutbox(path, shared=True)

    @asynccontextmanager
    async def sending() -> AsyncIterator[None]:
        async with RefoldClient() as client, file, file.relay(client):
            yield


sessions = async_sessionmaker(engine, class_=AsyncSession)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sending():
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def order(item: str) -> dict[str, str]:
    async with sessions.begin() as session:  # the order and its event, or neither
        saved = Order(item=item)
        session.add(saved)
        await session.flush()
        trigger = Trigger("crm", "Order Placed", {"id": saved.id, "item": item})
        key = await outbox.put(trigger, connection=session, key=f"order-{saved.id}")
    return {"event": key}


@app.get("/health")
async def health() -> dict[str, float | None]:
    stats = await outbox.stats()
    return {"held": stats.held, "queued": stats.queued, "oldest": stats.oldest_age}
