"""The relay on a real file, with a real client and a real server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from refold_async import RateLimit, RefoldClient, Trigger
from refold_async.outbox import SQLiteOutbox, State
from refold_async.testing import MockRefold

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refold.db"


def client_of(server: Any, **options: Any) -> RefoldClient:
    options.setdefault("rate_limit", None)
    client: RefoldClient = server.client(**options)
    return client


async def until_done(outbox: SQLiteOutbox, count: int) -> None:
    with anyio.fail_after(20):
        while (await outbox.stats()).accepted < count:  # noqa: ASYNC110 - another process could be writing
            await anyio.sleep(0.01)


async def test_what_is_put_by_many_tasks_threads_and_outboxes_is_fired_once_each(path: Path) -> None:
    async with MockRefold(rate_limit=None) as server:
        client, outbox = client_of(server), SQLiteOutbox(path, synchronous="normal")

        def put_elsewhere() -> None:
            async def main() -> None:
                async with SQLiteOutbox(path, synchronous="normal") as other:
                    for number in range(20):
                        await other.put(Trigger("crm", "Placed", {"n": f"other {number}"}))
                for number in range(20):
                    await outbox.put(Trigger("crm", "Placed", {"n": f"thread {number}"}))

            anyio.run(main)

        thread = threading.Thread(target=put_elsewhere)
        async with client, outbox, outbox.relay(client, poll=0.02):
            thread.start()
            for number in range(20):
                await outbox.put(Trigger("crm", "Placed", {"n": f"task {number}"}))
            await until_done(outbox, 60)
            await anyio.to_thread.run_sync(thread.join)
            assert (await outbox.stats()).held == 0
        numbers = [entry.payload["n"] for entry in server.ledger.fired]
        assert len(numbers) == len(set(numbers)) == 60


async def test_a_relay_keeps_the_pace_of_its_clients_rate_limit(path: Path) -> None:
    async with MockRefold(rate_limit=None) as server:
        client, outbox = client_of(server, rate_limit=RateLimit(200, 1)), SQLiteOutbox(path, synchronous="normal")
        async with client, outbox:
            await outbox.put_many(Trigger("crm", "Placed", {"n": n}) for n in range(201))
            started = anyio.current_time()
            async with outbox.relay(client):
                await until_done(outbox, 201)
            assert anyio.current_time() - started >= 200 / 200 * 0.97


async def test_an_event_is_told_of_by_its_status_when_it_was_fired(path: Path) -> None:
    async with MockRefold(rate_limit=None) as server:
        client, outbox = client_of(server), SQLiteOutbox(path, synchronous="normal")
        async with client, outbox, outbox.relay(client):
            key = await outbox.put(Trigger("crm", "Placed", {"n": 1}, ordering_key="a"))
            after = await outbox.put(Trigger("crm", "Placed", {"n": 2}, ordering_key="a"))
            await until_done(outbox, 2)
            status = await outbox.status(key)
            assert (status.state, status.attempts, status.status_code) == (State.ACCEPTED, 1, 200)
            assert (await outbox.status(after)).updated >= status.updated
