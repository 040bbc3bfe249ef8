"""One limiter for clients and views, on one event loop after the other, and on several at once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from refold_async import RateLimit, SQLiteRateLimiter, Trigger
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import MockRefold
from tests.support import abandons_sockets


@abandons_sockets
def test_a_client_and_its_view_in_one_loop_after_the_other(server: MockRefold) -> None:
    client = server.client(rate_limit=RateLimit(100, 1))
    view = client.for_account("b")

    async def both() -> None:
        await asyncio.gather(*(each.trigger("slack", "E") for each in (client, view) * 3))

    async def view_first() -> None:
        batch = asyncio.ensure_future(client.trigger_many(Trigger("slack", "E", {"n": n}) for n in range(5)))
        await asyncio.sleep(0)
        await view.trigger("slack", "E")
        assert len((await batch).accepted) == 5

    asyncio.run(both())
    asyncio.run(view_first())
    asyncio.run(both())
    assert server.ledger.requests == 18


@abandons_sockets
def test_two_clients_share_a_limiter_although_the_loop_of_one_was_closed_in_the_middle_of_a_wait(
    server: MockRefold,
) -> None:
    limiter = MemoryRateLimiter(RateLimit(100, 1))
    first, second = server.client(rate_limit=limiter), server.client(rate_limit=limiter)

    async def abandon() -> None:
        await first.trigger("slack", "E")
        await limiter.throttled(0.2)
        for _ in range(3):
            task = asyncio.ensure_future(first.trigger("slack", "E"))
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    loop.close()

    async def again() -> None:
        async with second:
            await second.trigger("slack", "E")

    asyncio.run(again())
    assert server.ledger.requests == 2


def test_clients_in_threads_share_a_limiter(server: MockRefold) -> None:
    limiter = MemoryRateLimiter(RateLimit(200, 2))

    async def fire() -> None:
        async with server.client(rate_limit=limiter) as client:
            await asyncio.gather(*(client.trigger("slack", "E") for _ in range(10)))

    threads = [threading.Thread(target=asyncio.run, args=(fire(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=40)
    assert server.ledger.requests == 30


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})],
    ids=["asyncio", "uvloop", "trio"],
)
async def test_a_limit_in_a_file_works_on_every_loop(server: MockRefold, tmp_path: Path) -> None:
    limiter = SQLiteRateLimiter(tmp_path / "limit.db", RateLimit(100, 5), name="crm")
    async with server.client(rate_limit=limiter) as client:
        for n in range(8):
            await client.trigger("slack", "E", {"n": n})
    await limiter.aclose()
    assert server.ledger.requests == 8
