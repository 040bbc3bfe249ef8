"""A bound on how many may do something at once, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

import anyio

from ._scope import on_asyncio


class Slots:
    """So many slots; who finds none free waits in order of arrival, and is handed the one that is given back.

    A waiter that is cancelled costs nothing: a slot it was already handed goes to the next.

    :ivar value: how many are free.
    """

    __slots__ = ("_waiters", "value")

    def __init__(self, count: int) -> None:
        self.value = count
        self._waiters: deque[asyncio.Future[None] | anyio.Event] = deque()

    def try_acquire(self) -> bool:
        """Take a slot if one is free; where others wait, none is."""
        if self.value:
            self.value -= 1
            return True
        return False

    async def acquire(self) -> None:
        """Take a slot, waiting for it if need be."""
        if self.try_acquire():
            return
        # On asyncio a bare future, which costs a fifth of an event.
        waiter = asyncio.get_running_loop().create_future() if on_asyncio() else anyio.Event()
        self._waiters.append(waiter)
        try:
            await (waiter if isinstance(waiter, asyncio.Future) else waiter.wait())
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not (isinstance(waiter, asyncio.Future) and waiter.cancelled()):
                self.release()  # it was handed over already
            raise

    def release(self) -> None:
        """Give a slot back: to whoever waits longest, if anyone does."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if isinstance(waiter, anyio.Event):
                waiter.set()
                return
            if not waiter.done():
                waiter.set_result(None)
                return
        self.value += 1

    def __repr__(self) -> str:
        return f"<Slots {self.value} free, {len(self._waiters)} waiting>"
