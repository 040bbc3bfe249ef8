"""An aiohttp app that fires events and receives Refold's webhooks.

Settings come from the environment: REFOLD_API_KEY, and INBOX, the path of a SQLite file.
Run it with `python -m aiohttp.web aiohttp_app:create_app`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from aiohttp import web
from inbox import Inbox

from refold_async import RefoldClient, RefoldError, WebhookPayloadError, WebhookSignatureError
from refold_async.webhooks import unwrap

REFOLD = web.AppKey("REFOLD", RefoldClient)
INBOX = web.AppKey("INBOX", Inbox)


async def refold(app: web.Application) -> AsyncIterator[None]:
    """Open one client for the whole process, and close it on shutdown, after the last request."""
    async with RefoldClient() as client:
        app[REFOLD] = client
        yield


async def create_deal(request: web.Request) -> web.Response:
    """Fire the event and wait for Refold's answer."""
    customer = request.match_info["customer"]
    try:
        receipt = await request.app[REFOLD].trigger(
            "pipedrive", "Deal Created", await request.json(), linked_account_id=customer
        )
    except RefoldError as error:
        return web.json_response({"error": type(error).__name__, "delivery": error.delivery}, status=502)
    return web.json_response({"message": receipt.message}, status=201)


async def receive(request: web.Request) -> web.Response:
    """Receive a webhook. Refold takes nothing but 200 for a success."""
    try:
        event = unwrap(await request.read(), request.headers, key=os.environ["REFOLD_API_KEY"])
    except WebhookSignatureError:
        return web.Response(status=401)
    except WebhookPayloadError:
        return web.Response(status=400)
    await asyncio.to_thread(request.app[INBOX].add, event)
    return web.Response(status=200)


def create_app(argv: list[str] | None = None) -> web.Application:
    app = web.Application()
    app[INBOX] = Inbox(os.environ["INBOX"])
    app.cleanup_ctx.append(refold)
    app.router.add_post("/customers/{customer}/deals", create_deal)
    for method in ("POST", "PUT", "PATCH"):
        app.router.add_route(method, "/webhooks/refold", receive)
    return app
