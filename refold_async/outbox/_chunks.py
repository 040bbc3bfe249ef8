"""Putting many events, a chunk at a time."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

from .._types.values import Trigger

T = TypeVar("T")

Item = Trigger | tuple[str, Trigger]
"""A trigger, or a key and a trigger."""


async def put_in_chunks(
    items: Iterable[Item] | AsyncIterable[Item],
    size: int,
    encode: Callable[[str | None, Trigger], T],
    put: Callable[[list[T]], Awaitable[None]],
) -> int:
    """Put all items, so many at a time, and return how many there were.

    :param encode: returns what is put for an item.
    :param put: puts a chunk; it is durable when this returns, and before the next item is asked for.
    """
    count = 0
    chunk: list[T] = []

    async def add(item: Item) -> None:
        nonlocal count, chunk
        key, trigger = item if isinstance(item, tuple) else (None, item)
        chunk.append(encode(key, trigger))
        count += 1
        if len(chunk) == size:
            full, chunk = chunk, []
            await put(full)

    if isinstance(items, AsyncIterable):
        async for item in items:
            await add(item)
    else:
        for item in items:
            await add(item)
    if chunk:
        await put(chunk)
    return count
