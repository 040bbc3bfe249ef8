"""`trigger_many` and `trigger_stream` beside the usual `asyncio.gather` with a semaphore.

Over a transport that answers from memory, because a wire's cost, the same for all three, would hide what differs. Each
run has a fresh process, so that its peak memory is its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from refold_async import Outcome, RefoldClient, Trigger

from .. import cores
from ..memory import MemoryTransport
from ..process import TurnFailedError, Worker

CONCURRENCY: Final = 20
LIMIT: Final = 240.0


class Rows:
    """A generator of triggers that knows how many were pulled, and were pulled before their turn came."""

    def __init__(self, count: int) -> None:
        self.pulled = self.done = self.most_ahead = 0
        self._count = count

    def __iter__(self) -> Iterator[Trigger]:
        for number in range(self._count):
            self.pulled += 1
            self.most_ahead = max(self.most_ahead, self.pulled - self.done)
            yield Trigger("pipedrive", "Deal Created", {"deal_id": number, "deal_name": "Acme"})


async def _many(client: RefoldClient, rows: Rows) -> int:
    def note(outcome: Outcome) -> None:
        rows.done += 1

    result = await client.trigger_many(rows, max_concurrency=CONCURRENCY, on_outcome=note)
    return len(result.accepted)


async def _stream(client: RefoldClient, rows: Rows) -> int:
    accepted = 0
    async with client.trigger_stream(rows, max_concurrency=CONCURRENCY) as outcomes:
        async for outcome in outcomes:
            rows.done += 1
            accepted += outcome.ok
    return accepted


async def _gather(client: RefoldClient, rows: Rows) -> int:
    semaphore = asyncio.Semaphore(CONCURRENCY)

    async def bounded(row: Trigger) -> object:
        async with semaphore:
            receipt = await client.trigger(row.slug, row.event, row.payload)
        rows.done += 1
        return receipt

    return len(await asyncio.gather(*(bounded(row) for row in rows)))


WAYS: Final[Mapping[str, Callable[[RefoldClient, Rows], Awaitable[int]]]] = {
    "trigger_many": _many,
    "trigger_stream": _stream,
    "gather + semaphore": _gather,
}


def turn(way: str, *, items: int) -> dict[str, Any]:
    """Fire so many, one of the ways."""
    return asyncio.run(_turn(way, items))


async def _turn(way: str, items: int) -> dict[str, Any]:
    async with RefoldClient(
        api_key="tk_1", linked_account_id="acct_1", rate_limit=None, transport=MemoryTransport(later=True)
    ) as client:
        await WAYS[way](client, Rows(500))
        rows = Rows(items)
        cpu, started = time.process_time(), time.perf_counter()
        accepted = await WAYS[way](client, rows)
        seconds, used = time.perf_counter() - started, time.process_time() - cpu
    if accepted != items:
        raise AssertionError(f"{accepted} of {items} were accepted")
    return {
        "seconds": seconds,
        "rate": items / seconds,
        "cpu_us": used / items * 1e6,
        "peak_bytes": cores.peak_bytes(),
        "ahead": rows.most_ahead,
    }


def run(sizes: Mapping[int, int]) -> list[dict[str, Any]]:
    """Measure each way at each size, as many rounds as `sizes` says; the ways take turns."""
    rows = []
    for items, rounds in sizes.items():
        for number in range(rounds):
            for way in WAYS:
                row: dict[str, Any] = {"way": way, "items": items, "round": number}
                with Worker("batches", way) as worker:
                    try:
                        row |= worker.turn(limit=LIMIT, items=items)
                    except TurnFailedError as error:
                        row["failed"] = str(error)
                rows.append(row)
    return rows
