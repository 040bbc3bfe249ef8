"""Who waits for a slot, in which order, and on which event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

_SHORTEST = 1e-6
"""Seconds that a sleep takes at least. A clock may be too coarse for what is left, and must move on all the same."""


def current_loop() -> Any:
    """Return what identifies the running event loop: asyncio's loop, or trio's token."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


def is_closed(loop: Any) -> bool:
    closed = getattr(loop, "is_closed", None)  # trio has none: it ends each task before its loop
    return closed is not None and bool(closed())


def _call_soon(loop: Any, callback: Callable[[], None]) -> None:
    """Run something on an event loop, from any thread; not at all if the loop has ended."""
    call = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    with contextlib.suppress(RuntimeError):  # trio.RunFinishedError is one, too
        call(callback)


class Waiter:
    """One caller who waits. Only its own event loop touches it, but for `until`.

    It *waits for its turn* until it is the first of its lane, and then *sleeps* as long as its owner sees fit. It can
    be woken from both, and then looks again where it stands.

    :ivar until: the clock time until which it sleeps; minus infinity while it does not.
    """

    __slots__ = ("_event", "_lane", "_scope", "until")

    def __init__(self, lane: _Lane) -> None:
        self.until = float("-inf")
        self._lane = lane
        self._event: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None

    @property
    def is_first(self) -> bool:
        """Whether it is this one's turn."""
        return self._lane.first is self

    async def turn(self) -> None:
        """Wait to be woken, as the first or not."""
        self._event = anyio.Event()
        try:
            await self._event.wait()
        finally:
            self._event = None

    async def sleep(self, now: float, until: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Sleep from `now` until then, or until woken."""
        with anyio.CancelScope() as scope:
            self._scope, self.until = scope, until
            try:
                await sleep(max(until - now, _SHORTEST))
            finally:
                self._scope, self.until = None, float("-inf")

    def wake(self) -> None:
        """Wake it, wherever it waits."""
        if self._event is not None:
            self._event.set()
        if self._scope is not None:
            self._scope.cancel()


class _Lane:
    """Those who wait on one event loop."""

    __slots__ = ("_urgent", "_usual", "loop")

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self._urgent: deque[Waiter] = deque()
        self._usual: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._usual)

    @property
    def urgent(self) -> int:
        return len(self._urgent)

    @property
    def first(self) -> Waiter | None:
        if self._urgent:
            return self._urgent[0]
        return self._usual[0] if self._usual else None

    def add(self, *, first: bool) -> Waiter:
        waiter = Waiter(self)
        (self._urgent if first else self._usual).append(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Take a waiter out, and wake the next if it was the first."""
        was_first = waiter is self.first
        if waiter in self._urgent:
            self._urgent.remove(waiter)
        else:
            self._usual.remove(waiter)
        following = self.first
        if was_first and following is not None:
            following.wake()

    def wake_all(self) -> None:
        for waiter in (*self._urgent, *self._usual):
            waiter.wake()


class WaitQueue:
    """Callers who wait, first in, first out, on any number of event loops and threads.

    Each loop has a lane of its own, and only the first of each lane competes for a slot; so a loop that was stopped
    in the middle of a wait holds nobody up. The lanes of closed loops are dropped where they are met. Its owner's
    lock guards what is called from several threads.

    :ivar waiting: how many there are.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self._lanes: dict[Any, _Lane] = {}
        self._process = os.getpid()

    def sweep(self) -> None:
        """Drop those whose event loop was closed, or stayed behind in the parent process."""
        forked = self._process != os.getpid()
        for lane in [lane for lane in self._lanes.values() if forked or is_closed(lane.loop)]:
            self._drop(lane)
        self._process = os.getpid()

    def _drop(self, lane: _Lane) -> None:
        del self._lanes[lane.loop]
        self.waiting -= len(lane)

    def ahead(self, *, first: bool) -> int:
        """Return how many would be before one that joins now."""
        return sum(lane.urgent for lane in self._lanes.values()) if first else self.waiting

    def join(self, *, first: bool) -> Waiter:
        """Queue up on the running event loop; `leave` in the end, whatever happens.

        :param first: before all who are not so urgent.
        """
        loop = current_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            lane = self._lanes[loop] = _Lane(loop)
        self.waiting += 1
        return lane.add(first=first)

    def leave(self, waiter: Waiter) -> None:
        """Go, granted or not, and wake whoever is first now."""
        lane = waiter._lane  # noqa: SLF001 - of this module
        if self._lanes.get(lane.loop) is not lane:
            return
        if is_closed(lane.loop):  # what was abandoned with its loop is collected at last
            self._drop(lane)
            return
        lane.remove(waiter)
        self.waiting -= 1
        if not lane:
            del self._lanes[lane.loop]

    def wake_first(self, now_due: float) -> None:
        """Wake those who are first and sleep for longer than until `now_due`."""
        for lane in self._lanes.values():
            first = lane.first
            if first is not None and first.until > now_due:
                _call_soon(lane.loop, first.wake)

    def wake_all(self) -> None:
        """Wake all, to look again whether their deadline can be kept."""
        for lane in self._lanes.values():
            _call_soon(lane.loop, lane.wake_all)
