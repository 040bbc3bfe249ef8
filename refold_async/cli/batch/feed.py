"""Iterating in a thread that may block, for an event loop that must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_BATCH_SIZE = 256
"""Items handed over at once; fewer when the thread is about to wait for more."""

_MAX_BATCHES_READY = 2
"""Batches that are ready at most, beside the one that the thread fills."""


class _Abandoned(Exception):  # noqa: N818 - not an error: nobody takes items any more
    """Ends the thread."""


class ThreadedIterator(Generic[T]):
    """Runs an iterator in a thread of its own, and yields what it yields.

    The thread is a daemon: one that waits for input that never comes does not keep the process from ending, as a
    thread of a pool would.

    :param make: makes the iterator, in the thread. Its argument is a function to call before waiting for anything,
        which hands over the items so far.
    """

    def __init__(self, make: Callable[[Callable[[], None]], Iterator[T]]) -> None:
        self._make = make
        self._batch: list[T] = []
        self._ready: asyncio.Queue[list[T] | None] = asyncio.Queue()
        self._room = threading.Semaphore(_MAX_BATCHES_READY)
        self._is_abandoned = False
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()

    async def items(self) -> AsyncGenerator[T, None]:
        """Yield every item; then raise what the iterator raised."""
        threading.Thread(target=self._run, name="refold-async input", daemon=True).start()
        try:
            while (batch := await self._ready.get()) is not None:
                for item in batch:
                    yield item
                self._room.release()
            if self._error is not None:
                raise self._error
        finally:
            self._is_abandoned = True
            self._room.release()

    def _run(self) -> None:
        try:
            try:
                for item in self._make(self._flush):
                    self._batch.append(item)
                    if len(self._batch) >= _BATCH_SIZE:
                        self._flush()
            except _Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 - raised again where the items are taken
                self._error = error
            self._flush()
            self._loop.call_soon_threadsafe(self._ready.put_nowait, None)
        except (_Abandoned, RuntimeError):  # nobody is there any more, or even the loop is closed
            return

    def _flush(self) -> None:
        if self._batch:
            self._room.acquire()
            batch, self._batch = self._batch, []
            self._loop.call_soon_threadsafe(self._ready.put_nowait, batch)
        if self._is_abandoned:
            raise _Abandoned
