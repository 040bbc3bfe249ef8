"""Handing things over from a thread that blocks to an event loop that must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 256
"""How many things are handed over at once; fewer when the thread is about to wait for more."""

_BUNCHES = 2
"""How many bunches lie ready at most, beside the one that is being made."""


class _LetGo(Exception):  # noqa: N818 - no error: nobody wants any more
    pass


class Feed(Generic[T]):
    """Runs an iterator in a thread of its own, and gives what it gives.

    The thread is a daemon: one that waits for input that never comes does not keep the process from ending, as a
    thread of a pool would.

    :param make: makes the iterator, in the thread. It is given a function to call before it waits for anything, which
        hands over what there is so far.
    """

    def __init__(self, make: Callable[[Callable[[], None]], Iterator[T]]) -> None:
        self._make = make
        self._bunch: list[T] = []
        self._ready: asyncio.Queue[list[T] | None] = asyncio.Queue()
        self._room = threading.Semaphore(_BUNCHES)
        self._let_go = False
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()

    async def items(self) -> AsyncGenerator[T, None]:
        """Give everything; then raise what the iterator raised."""
        threading.Thread(target=self._run, name="refold-async input", daemon=True).start()
        try:
            while (bunch := await self._ready.get()) is not None:
                for item in bunch:
                    yield item
                self._room.release()
            if self._error is not None:
                raise self._error
        finally:
            self._let_go = True
            self._room.release()

    def _run(self) -> None:
        try:
            try:
                for item in self._make(self._flush):
                    self._bunch.append(item)
                    if len(self._bunch) >= _MOST:
                        self._flush()
            except _LetGo:
                raise
            except Exception as error:  # noqa: BLE001 - raised again where the items are taken
                self._error = error
            self._flush()
            self._loop.call_soon_threadsafe(self._ready.put_nowait, None)
        except (_LetGo, RuntimeError):  # nobody is there any more, or even the loop is closed
            return

    def _flush(self) -> None:
        if self._bunch:
            self._room.acquire()
            bunch, self._bunch = self._bunch, []
            self._loop.call_soon_threadsafe(self._ready.put_nowait, bunch)
        if self._let_go:
            raise _LetGo
