"""How fast and how cheap: one contender at one level of concurrency, against the server that answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..contender import Contender, Target
from ..contenders import load
from ..load import Sample, sample

T = TypeVar("T")


def turn(key: str, *, url: str, server_pid: int, concurrency: int, seconds: float) -> dict[str, Any]:
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
