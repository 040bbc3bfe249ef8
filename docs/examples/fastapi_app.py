"""A FastAPI app that fires events and receives Refold's webhooks.

Settings come from the environment: REFOLD_API_KEY, and INBOX, the path of a SQLite file.
Run it with `uvicorn fastapi_app:app`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from inbox import Inbox

from refold_async import RefoldClient, RefoldError, WebhookPayloadError, WebhookSignatureError
from refold_async.webhooks import unwrap

logger = logging.getLogger("deals")


class State(TypedDict):
    refold: RefoldClient
    inbox: Inbox


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Open one client for the whole process. On shutdown it closes after the last request and background task."""
    async with RefoldClient() as client:
        yield {"refold": client, "inbox": Inbox(os.environ["INBOX"])}


app = FastAPI(lifespan=lifespan)


async def get_refold(request: Request) -> RefoldClient:
    client: RefoldClient = request.state.refold
    return client


Refold = Annotated[RefoldClient, Depends(get_refold)]


@app.exception_handler(RefoldError)
async def refold_failed(request: Request, error: RefoldError) -> JSONResponse:
    """Answer 502, and say whether the event may have fired all the same."""
    return JSONResponse({"error": type(error).__name__, "delivery": error.delivery}, status_code=502)


@app.post("/customers/{customer}/deals", status_code=201)
async def create_deal(customer: str, deal: dict[str, Any], refold: Refold) -> dict[str, str]:
    """Fire the event and wait for Refold's answer."""
    receipt = await refold.trigger("pipedrive", "Deal Created", deal, linked_account_id=customer)
    return {"message": receipt.message}


@app.post("/customers/{customer}/deals/later", status_code=202)
async def create_deal_later(
    customer: str, deal: dict[str, Any], refold: Refold, background: BackgroundTasks
) -> dict[str, str]:
    """Answer first, and fire the event afterwards. If the process is killed in between, the event is lost."""
    background.add_task(fire, refold, customer, deal)
    return {"message": "queued"}


async def fire(refold: RefoldClient, customer: str, deal: dict[str, Any]) -> None:
    try:
        await refold.trigger("pipedrive", "Deal Created", deal, linked_account_id=customer)
    except RefoldError as error:  # nobody waits for this task, so the log is the only place to tell
        logger.exception("Deal Created ended %s", error.delivery)


@app.api_route("/webhooks/refold", methods=["POST", "PUT", "PATCH"])
async def receive(request: Request) -> Response:
    """Receive a webhook. Refold takes nothing but 200 for a success."""
    try:
        event = unwrap(await request.body(), request.headers, key=os.environ["REFOLD_API_KEY"])
    except WebhookSignatureError:
        return Response(status_code=401)
    except WebhookPayloadError:
        return Response(status_code=400)
    await run_in_threadpool(request.state.inbox.add, event)
    return Response(status_code=200)
