"""The example that settles held events by webhooks, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from refold_async.testing import Fault, MockRefold

from .apps import UVICORN, App, environment, python, running


def health(app: App) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{app.url}/health", timeout=30).json()
    return found


def until(app: App, **wanted: int) -> None:
    for _ in range(300):
        if wanted.items() <= health(app).items():
            return
    raise AssertionError(f"{health(app)} never became {wanted}")


@pytest.mark.parametrize("name", ["Workflow Completed", "Workflow Errored"])
def test_a_workflow_that_ran_for_a_held_event_settles_it_and_no_other(name: str, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    lost = Fault.answer(500, fires=True)
    with MockRefold(rate_limit=None, faults=[lost, lost]) as server:
        with running([*UVICORN, "outbox_webhook:app"], environment(server, tmp_path), tmp_path) as app:
            keys = [httpx.post(f"{app.url}/orders/{n}", timeout=30).json()["event"] for n in (1, 2)]
            until(app, held=2)
            [run] = [each for each in server.runs.listed(server.linked_account_id) if each.payload["order"] == 2]
            assert run.payload["event_id"] == keys[1]
            event = {"event": name, "instance_id": run.id, "linked_account_id": server.linked_account_id}
            assert server.deliver(f"{app.url}/webhooks/refold", event).result().delivered
            until(app, held=1, accepted=1)
            assert server.deliver(f"{app.url}/webhooks/refold", event).result().delivered, "a repeat does no harm"
            refused = server.deliver(f"{app.url}/webhooks/refold", event, key="another", attempts=1).result()
            assert not refused.delivered
            assert health(app) == {"held": 1, "accepted": 1}
            app.stop()
        assert server.ledger.totals.fired == 2


def test_a_webhook_that_comes_before_its_event_is_held_settles_it_all_the_same(
    server: MockRefold, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    server.next(Fault.answer(500, fires=True))
    program = """
import asyncio
import outbox_webhook as app
from refold_async import HeldError, RefoldClient

async def main():
    async with RefoldClient() as client, app.outbox:
        key = await app.fire("crm", "Order Placed", {"order": 1})
        app.seen.add(list(app.keys_in({"nodes": [{"input_data": {"body": {"event_id": key}}}]})))
        await app.settle()
        print((await app.outbox.status(key)).state)
        try:
            await app.outbox.deliver(key, client)
        except HeldError:
            await app.settle()
        print((await app.outbox.status(key)).state)

asyncio.run(main())
"""
    printed = python("-c", program, env=environment(server, tmp_path), folder=tmp_path)
    assert printed.split() == ["queued", "accepted"]
