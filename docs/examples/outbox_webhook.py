"""An app that settles held events by Refold's webhooks: a workflow that ran for an event proves that it fired.

Run it with `uvicorn outbox_webhook:app`; REFOLD_API_KEY and REFOLD_LINKED_ACCOUNT_ID are set, OUTBOX names the file.
In Refold, subscribe `Workflow Completed` and `Workflow Errored` to /webhooks/refold.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request, Response

from refold_async import EventStateError, RefoldClient, Trigger, WebhookPayloadError, WebhookSignatureError
from refold_async.outbox import SQLiteOutbox
from refold_async.webhooks import WorkflowEvent, unwrap

FIELD = "event_id"
path = os.environ.get("OUTBOX", "outbox.db")
outbox = SQLiteOutbox(path)


async def fire(slug: str, event: str, payload: dict[str, Any]) -> str:
    """Keep an event whose payload has its key: one that is in no other event, and that nobody can guess."""
    key = secrets.token_hex(16)
    return await outbox.put(Trigger(slug, event, {**payload, FIELD: key}), key=key)


def keys_in(document: Any) -> Iterator[str]:
    """Find the keys in what an execution was passed, wherever Refold shows it."""
    if isinstance(document, dict):
        if isinstance(document.get(FIELD), str):
            yield document[FIELD]
        document = list(document.values())
    if isinstance(document, list):
        for each in document:
            yield from keys_in(each)


class Seen:
    """The keys of events that are known to have fired. The webhook may come before its event is held, so keep them."""

    def __init__(self, path: str) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY)")

    def add(self, keys: list[str]) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(key,) for key in keys])

    def __contains__(self, key: str) -> bool:
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute("SELECT 1 FROM seen WHERE key = ?", (key,)).fetchone() is not None


seen = Seen(f"{path}-seen")


async def settle() -> None:
    """Say of each held event that was seen that it fired. Of the others nothing is known: they stay held."""
    for status in await outbox.held():
        if status.key in seen:
            try:
                await outbox.resolve(status.key, fired=True)
            except EventStateError:  # somebody was faster
                continue


async def look(client: RefoldClient, event: WorkflowEvent) -> None:
    """Read what the execution was passed, after the webhook was answered."""
    if event.execution_id is not None:
        execution = await client.executions.get(event.execution_id, linked_account_id=event.linked_account_id)
        seen.add(list(keys_in(execution.raw)))
        await settle()


async def settle_each_minute() -> None:
    while True:
        await settle()
        await asyncio.sleep(60)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with RefoldClient() as client, outbox, outbox.relay(client):
        settling = asyncio.create_task(settle_each_minute())
        yield {"refold": client}
        settling.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks/refold")
async def receive(request: Request, background: BackgroundTasks) -> Response:
    try:
        event = unwrap(await request.body(), request.headers, key=os.environ["REFOLD_API_KEY"])
    except WebhookSignatureError:
        return Response(status_code=401)
    except WebhookPayloadError:
        return Response(status_code=400)
    if isinstance(event, WorkflowEvent):  # however it ended, it ran
        background.add_task(look, request.state.refold, event)
    return Response(status_code=200)


@app.post("/orders/{order}")
async def order(order: int) -> dict[str, str]:
    return {"event": await fire("crm", "Order Placed", {"order": order})}


@app.get("/health")
async def health() -> dict[str, int]:
    stats = await outbox.stats()
    return {"held": stats.held, "accepted": stats.accepted}
