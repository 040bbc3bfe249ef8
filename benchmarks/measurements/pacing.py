"""How well a client keeps to the documented 20 a second and burst of 5, against a mock that enforces them.

All run at the same time, each against a mock of its own: at twenty requests a second none keeps a core busy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from refold_async import RateLimit
from refold_async.testing import MockRefold

from ..contender import Contender, Setup, Target
from ..contenders import load
from ..process import TurnFailedError, Worker
from .cost import in_loop

CALLERS: Final = 20
LIMIT = RateLimit()


def turn(key: str, *, setup: str, url: str, events: int) -> dict[str, Any]:
    """Fire a backlog as fast as the client lets; give how long it took and what it raised."""
    contender = load(key)
    chosen = next(each for each in contender.paced if each.name == setup)
    return in_loop(contender, _drain(chosen, Target(url=url), events))


async def _drain(setup: Setup, target: Target, events: int) -> dict[str, Any]:
    raised: Counter[str] = Counter()
    numbers = iter(range(events))
    async with setup.open(target) as fire:

        async def work() -> None:
            for number in numbers:
                try:
                    await fire({"n": number})
                except Exception as error:  # noqa: BLE001 - whatever a client raises is an event that it gave up
                    raised[type(error).__name__] += 1

        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(CALLERS):
                workers.create_task(work())
        return {"seconds": time.perf_counter() - started, "raised": dict(raised)}


def run(contenders: Mapping[str, Contender], *, seconds: float) -> list[dict[str, Any]]:
    """Let them all drain a backlog of so many seconds."""
    turns = [(key, contender, setup) for key, contender in contenders.items() for setup in contender.paced]
    events = int(seconds * LIMIT.rate)
    with ThreadPoolExecutor(max(1, len(turns))) as pool:
        running = [pool.submit(_one, key, contender, setup, events) for key, contender, setup in turns]
        return [each.result() for each in running]


def _one(key: str, contender: Contender, setup: Setup, events: int) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": contender.name, "setup": setup.name, "events": events}
    with MockRefold(rate_limit=LIMIT) as server, Worker("pacing", key) as worker:
        try:
            row |= worker.turn(limit=10 * events / LIMIT.rate + 30, setup=setup.name, url=server.url, events=events)
        except TurnFailedError as error:
            return row | {"failed": str(error)}
        fired, refused = len(server.ledger.fired), server.ledger.statuses()[429]
    return row | {"fired": fired, "throttled": refused, "share": fired / row["seconds"] / LIMIT.rate}
