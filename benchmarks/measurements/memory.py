"""How much memory a queued trigger takes beyond its bare task: callers far ahead of a server that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from ..contender import Target, events
from ..contenders import refold
from ..process import TurnFailedError, Worker

FIRST: Final = 1_000
"""Tasks that wait when the counting begins: every connection is in use, and whatever exists once exists."""

COUNTED: Final = 4_000


def turn() -> dict[str, float]:
    """Return how many bytes each of many waiting tasks takes: bare ones, and triggers that wait for a connection."""
    tracemalloc.start()
    bare = asyncio.run(_bytes_of(lambda number: asyncio.sleep(3600)))
    queued = asyncio.run(_queued())
    return {"bare": bare, "queued": queued, "beyond": queued - bare}


async def _queued() -> float:
    made = events()
    async with _silent_server() as url, refold.client(Target(url=url), deadline=None, timeout=None) as client:

        def work(number: int) -> Coroutine[Any, Any, object]:
            event = made[number % len(made)]
            sent: Coroutine[Any, Any, object] = client.trigger(event.slug, event.name, event.payload)
            return sent

        return await _bytes_of(work)


async def _bytes_of(work: Callable[[int], Coroutine[Any, Any, object]]) -> float:
    tasks = [asyncio.create_task(work(number)) for number in range(FIRST)]
    try:
        await asyncio.sleep(0.5)
        before = tracemalloc.get_traced_memory()[0]
        tasks += [asyncio.create_task(work(number)) for number in range(COUNTED)]
        await asyncio.sleep(0.5)
        return (tracemalloc.get_traced_memory()[0] - before) / COUNTED
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _silent_server() -> AsyncIterator[str]:
    """Run a server that accepts every connection and says nothing."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=1000)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def run(*, rounds: int) -> list[dict[str, Any]]:
    """Measure in a fresh process each time."""
    rows: list[dict[str, Any]] = []
    for number in range(rounds):
        with Worker(f"{__package__}.memory") as worker:
            try:
                rows.append({"round": number, **worker.turn(limit=60.0)})
            except TurnFailedError as error:
                rows.append({"round": number, "failed": str(error)})
    return rows
