"""How fast and how cheap: each contender at each level of concurrency, against the server that answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from ..answering import Answering, answering_server
from ..contender import Contender, Target
from ..contenders import load
from ..load import Sample, sample
from ..process import TurnFailedError, Worker

T = TypeVar("T")

LIMIT = 60.0
"""Seconds after which a turn counts as hung. The slowest honest one takes about five."""

Row = dict[str, Any]


def turn(key: str, *, url: str, server_pid: int, concurrency: int, seconds: float) -> Row:
    """Take one sample on a loop, and with connections, of its own."""
    contender = load(key)
    return in_loop(contender, _sample(contender, url, server_pid, concurrency, seconds)).as_dict()


def in_loop(contender: Contender, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the contender's event loop."""
    if contender.loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


async def _sample(contender: Contender, url: str, server_pid: int, concurrency: int, seconds: float) -> Sample:
    async with contender.open(Target(url=url)) as fire:
        return await sample(fire, concurrency=concurrency, seconds=seconds, server_pid=server_pid)


def run(
    contenders: Mapping[str, Contender],
    levels: Mapping[str, Sequence[int]],
    *,
    rounds: int,
    seconds: float,
    limit: float = LIMIT,
    say: Callable[[str], object] = lambda line: None,
) -> list[Row]:
    """Let the contenders take turns: in each round, at each level, all of them one after the other.

    Every other round goes through them backwards, so that none always comes after the same one. Who crashed or hung
    has a row that says so, and no further turns.

    :param levels: for each contender, how many callers at once.
    :param seconds: the length of a sample.
    """
    rows: list[Row] = []
    with ExitStack() as stack:
        server = stack.enter_context(answering_server())
        workers = {key: stack.enter_context(Worker("cost", key)) for key in contenders}
        for number in range(rounds):
            for level in sorted({level for each in levels.values() for level in each}):
                order = [key for key in workers if level in levels[key]]
                for key in order if number % 2 == 0 else reversed(order):
                    row = _turn(workers[key], server, level, seconds, limit)
                    rows.append({"contender": contenders[key].name, "level": level, "round": number, **row})
                    if not workers[key].alive:
                        del workers[key]
            say(f"round {number + 1} of {rounds}")
    return rows


def _turn(worker: Worker, server: Answering, level: int, seconds: float, limit: float) -> Row:
    seen = server.seen()["requests"]
    try:
        row: Row = worker.turn(limit=limit, url=server.url, server_pid=server.pid, concurrency=level, seconds=seconds)
    except TurnFailedError as error:
        return {"failed": str(error)}
    if server.seen()["requests"] - seen < row["completed"]:
        return {"failed": "it counted more answers than the server gave"}
    return row
