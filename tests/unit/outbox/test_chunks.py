"""Putting by the chunk: one is written while the next is made, and each ending leaves whole chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from refold_async import Trigger
from refold_async.outbox._chunks import Overlap, put_in_chunks

pytestmark = pytest.mark.asyncio


class Writer:
    """Keeps chunks, each once it was let through."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self.kept: list[list[int]] = []
        self.cancelled = 0
        self.error: Exception | None = None
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def put(self, chunk: list[int]) -> None:
        assert len(self.begun) == len(self.kept), "one at a time"
        self.begun.append(chunk)
        try:
            await self.is_free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.kept.append(chunk)


def number(_: str | None, trigger: Trigger) -> int:
    assert isinstance(trigger.payload, dict)
    return int(trigger.payload["n"])


def triggers(count: int) -> Iterator[Trigger]:
    return (Trigger("crm", "Placed", {"n": n}) for n in range(count))


async def put_all(writer: Writer, source: Iterator[Trigger] | AsyncIterator[Trigger], size: int = 10) -> int:
    async with Overlap(writer.put) as overlap:
        return await put_in_chunks(source, size, number, overlap.put)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 250])
async def test_all_items_are_put_in_order(count: int) -> None:
    writer = Writer()
    assert await put_all(writer, triggers(count)) == count
    assert [each for chunk in writer.kept for each in chunk] == list(range(count))


async def test_the_next_chunk_is_made_while_one_is_written_and_no_more() -> None:
    writer, asked = Writer(), []

    async def source() -> AsyncIterator[Trigger]:
        for trigger in triggers(100):
            asked.append(trigger)
            await asyncio.sleep(0)
            yield trigger

    writer.is_free.clear()
    task = asyncio.create_task(put_all(writer, source()))
    for _ in range(300):
        await asyncio.sleep(0)
    assert (writer.begun, len(asked)) == ([list(range(10))], 20)
    writer.is_free.set()
    assert await task == 100
    assert [each for chunk in writer.kept for each in chunk] == list(range(100))


async def test_others_on_the_loop_get_their_turn_while_a_source_never_waits() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await put_in_chunks(triggers(1000), 10_000, number, Writer().put)
    task.cancel()
    assert turns >= 9


async def test_an_error_of_the_source_leaves_the_chunks_before_it() -> None:
    writer = Writer()
    writer.is_free.clear()

    async def source() -> AsyncIterator[Trigger]:
        for trigger in triggers(15):
            yield trigger
        asyncio.get_running_loop().call_soon(writer.is_free.set)
        raise ValueError("the file ends here")

    with pytest.raises(ValueError, match="the file ends here"):
        await put_all(writer, source())
    assert writer.kept == [list(range(10))]
    assert writer.cancelled == 0


@pytest.mark.parametrize("count", [10, 15, 35])
async def test_an_error_of_a_put_is_raised_and_nothing_more_is_put(count: int) -> None:
    writer = Writer()
    writer.error = ValueError("no room")
    with pytest.raises(ValueError, match="no room"):
        await put_all(writer, triggers(count))
    assert (len(writer.begun), writer.kept) == (1, [])


async def test_a_cancellation_cancels_the_put_and_waits_for_its_end() -> None:
    for turns in range(40):
        writer = Writer()
        writer.is_free.clear()

        async def source() -> AsyncIterator[Trigger]:
            for trigger in triggers(25):
                await asyncio.sleep(0)
                yield trigger

        task = asyncio.create_task(put_all(writer, source()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert writer.cancelled == len(writer.begun)
        assert writer.kept == []
    assert writer.begun
