"""A bound on how many may do something at once, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import anyio

from .._wire.loops import on_asyncio


class SlotWaiter(Protocol):
    """Waits for a slot."""

    @property
    def is_gone(self) -> bool:
        """Whether it has stopped waiting without a slot."""
        ...

    def take_slot(self) -> bool:
        """Take the slot that is offered; False if it is not wanted any more."""
        ...


class _FutureWaiter:
    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_gone(self) -> bool:
        return self.future.cancelled()

    def leave(self) -> None:
        self.future.cancel()

    def take_slot(self) -> bool:
        if self.future.done():
            return False
        self.future.set_result(None)
        return True

    async def wait(self) -> None:
        await self.future


class _EventWaiter:
    __slots__ = ("_event", "is_gone")

    def leave(self) -> None:
        self.is_gone = True

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.is_gone = False

    def take_slot(self) -> bool:
        if self.is_gone:
            return False
        self._event.set()
        return True

    async def wait(self) -> None:
        await self._event.wait()


class FairSemaphore:
    """A FIFO semaphore: a released slot goes to the longest waiter.

    A waiter that is cancelled costs nothing: a slot it was already offered goes to the next.

    :ivar available: free slots. None is free while anyone waits.
    :ivar waiters: who waits, the longest first, and some who have gone.
    """

    __slots__ = ("_gone", "available", "waiters")

    def __init__(self, count: int) -> None:
        self.available = count
        self.waiters: deque[SlotWaiter] = deque()
        self._gone = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self.waiters) - self._gone

    def try_acquire(self) -> bool:
        """Take a slot if one is free."""
        if self.available:
            self.available -= 1
            return True
        return False

    async def acquire(self) -> None:
        """Take a slot, waiting for it if need be."""
        if self.try_acquire():
            return
        # On asyncio a bare future, which costs a fifth of an event.
        waiter = _FutureWaiter() if on_asyncio() else _EventWaiter()
        self.waiters.append(waiter)
        try:
            await waiter.wait()
        except BaseException:
            if waiter in self.waiters:
                waiter.leave()
                self.forget()
            elif not waiter.is_gone:  # it was offered a slot already
                self.release()
            raise

    def enqueue(self, waiter: SlotWaiter) -> None:
        """Let someone wait; `take_slot` is called when it is their turn."""
        self.waiters.append(waiter)

    def forget(self) -> None:
        """Note that one of those who wait has gone: their `take_slot` returns False from now on.

        They are cleared away once they are as many as those who still wait, so that a crowd that leaves while nothing
        is released neither stays in memory nor costs a search each.
        """
        self._gone += 1
        if self._gone * 2 > len(self.waiters):
            self.waiters = deque(waiter for waiter in self.waiters if not waiter.is_gone)
            self._gone = 0

    def release(self) -> None:
        """Return a slot: to the longest waiter, if anyone waits."""
        while self.waiters:
            if self.waiters.popleft().take_slot():
                return
            self._gone = max(0, self._gone - 1)
        self.available += 1

    def __repr__(self) -> str:
        return f"<FairSemaphore {self.available} available, {self.waiting} waiting>"
