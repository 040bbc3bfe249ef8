"""An app that saves orders and fires an event for each, once: FastAPI, SQLAlchemy and SQLite.

Run it with `uvicorn outbox_app:app`; REFOLD_API_KEY and REFOLD_LINKED_ACCOUNT_ID are set, ORDERS_DB names the file.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from refold_async import RefoldClient, Trigger
from refold_async.outbox import SQLiteOutbox


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]


path = os.environ.get("ORDERS_DB", "orders.db")
engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
sessions = async_sessionmaker(engine, class_=AsyncSession)
outbox = SQLiteOutbox(path, shared=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with RefoldClient() as client, outbox, outbox.relay(client):
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
