"""Finishing what was begun, although whoever began it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from .._wire.loops import on_asyncio

T = TypeVar("T")


async def complete(operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a short operation to its end. A cancellation in the meantime is raised after that, and its result is lost.

    So let the operation itself keep what must not be lost.
    """
    found: list[T] = []
    with anyio.CancelScope(shield=True):
        found.append(await (_in_task(operation()) if on_asyncio() else operation()))
    return found[0]


async def _in_task(running: Coroutine[Any, Any, T]) -> T:
    """Wait for it in a task of its own, because `Task.cancel` heeds no scope."""
    task = asyncio.ensure_future(running)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # so that asyncio does not say that nobody looked
    raise cancellation
