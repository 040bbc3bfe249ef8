"""Putting many events, a chunk at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import anyio.lowlevel

from .._types.values import Trigger

T = TypeVar("T")

Item = Trigger | tuple[str, Trigger]
"""A trigger, or a key and a trigger."""

_TURN: Final = 100
"""Items of a source that never waits, after which others on the event loop get their turn: a millisecond or two."""


async def put_in_chunks(
    items: Iterable[Item] | AsyncIterable[Item],
    size: int,
    encode: Callable[[str | None, Trigger], T],
    put: Callable[[list[T]], Awaitable[None]],
) -> int:
    """Put all items, so many at a time, and return how many there were.

    :param encode: returns what is put for an item. It is called at once, since a source may use its objects again.
    :param put: puts a chunk, and returns before the next item is asked for.
    """
    count = 0
    chunk: list[T] = []
    async for item in _each(items):
        key, trigger = item if isinstance(item, tuple) else (None, item)
        chunk.append(encode(key, trigger))
        count += 1
        if len(chunk) == size:
            full, chunk = chunk, []
            await put(full)
    if chunk:
        await put(chunk)
    return count


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for number, item in enumerate(items, 1):
        yield item
        if number % _TURN == 0:
            await anyio.lowlevel.checkpoint()


class Overlap(Generic[T]):
    """Lets one put run while the next chunk is made. For asyncio.

    What always holds: puts run one after the other. At the end of its block the last one has ended; so it has when an
    error of something else leaves the block. A cancellation cancels it.
    """

    def __init__(self, put: Callable[[list[T]], Coroutine[Any, Any, None]]) -> None:
        self._put = put
        self._running: asyncio.Task[None] | None = None

    async def put(self, chunk: list[T]) -> None:
        """Begin a put, after the one before has ended.

        :raises Exception: what the one before raised.
        """
        await self._end()
        self._running = asyncio.create_task(self._put(chunk))

    async def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            await self._end()
            return
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        if isinstance(error, asyncio.CancelledError):
            with suppress(asyncio.CancelledError):
                await running
