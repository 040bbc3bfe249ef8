"""What stands between the input and the stream of triggers: which row goes next, and when."""

from __future__ import annotations

import contextlib
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Callable

import anyio
from attrs import define, field

from ... import RefoldError, Trigger
from ..reading.input import InputError
from ..reading.records import origin_of
from .order import KeyOrder
from .outage import Outage
from .source import BadRow
from .trials import Trials

_MOST_READY = 256
"""Rows that are read ahead of the stream."""


class RowHeldError(RefoldError):
    """Another row of the same ordering key keeps this one from being sent."""


@define(eq=False)
class RowQueue:
    """Hands rows to the stream when their order, their trial and the outage allow; those that were put back go first.

    Filled by `fill`, in a task of its own, so that rows which were put back do not wait for an input that is slow.

    :param on_bad: is told of a row that cannot be sent; returns whether to go on.
    :param on_held: is told of a row that is kept back for good in this run.
    :ivar outage: set before the first row is asked for.
    :ivar error: what was wrong with the input as a whole.
    """

    order: KeyOrder
    trials: Trials
    on_bad: Callable[[BadRow], bool]
    on_held: Callable[[Trigger, str], None]
    outage: Outage = field(init=False)
    error: InputError | None = None
    _ready: deque[Trigger | BadRow] = field(factory=deque)
    _again: list[tuple[int, Trigger]] = field(factory=list)
    _under_way: int = 0
    _filled: bool = False
    _over: bool = False
    _changed: anyio.Event | None = None
    _has_room: anyio.Event | None = None

    async def fill(self, items: AsyncGenerator[Trigger | BadRow, None]) -> None:
        """Take over the rows of the input, no more than a few ahead."""
        try:
            async with contextlib.aclosing(items):
                async for item in items:
                    self._ready.append(item)
                    self.changed()
                    while len(self._ready) >= _MOST_READY:
                        self._has_room = anyio.Event()
                        await self._has_room.wait()
        except InputError as error:
            self.error = error
        self._filled = True
        self.changed()

    async def triggers(self) -> AsyncGenerator[Trigger, None]:
        """Yield each row when it may go, until there are no more, and none that was handed out can come back."""
        while not self._over:
            trigger = self._next()
            if trigger is not None:
                self._under_way += 1
                self.order.goes(origin_of(trigger).line)
                self.trials.goes(trigger)
                self.outage.goes(origin_of(trigger).line)
                yield trigger
            elif not self._over:
                self._changed = anyio.Event()
                await self._changed.wait()

    def changed(self) -> None:
        """Look again whether a row may go."""
        if self._changed is not None:
            self._changed.set()

    def put_back(self, trigger: Trigger) -> None:
        """Send a row again that was not sent, before the others."""
        line = origin_of(trigger).line
        self.order.waits(trigger.ordering_key, line)
        heapq.heappush(self._again, (line, trigger))

    def ended(self) -> None:
        """Record that a row which was handed out has ended, or was put back."""
        self._under_way -= 1
        self.changed()

    def _next(self) -> Trigger | None:
        """Return the row that goes now; None if none does, and then `_over` says whether one will."""
        if not self.outage.may_go():
            self._over = self._is_empty()
            return None
        if self._again:
            trigger = self._again[0][1]
            return heapq.heappop(self._again)[1] if self.trials.may_go(trigger) else None
        while self._ready:
            item = self._ready[0]
            if isinstance(item, BadRow):
                self._take()
                if self.on_bad(item):
                    continue
                self._over = True
                return None
            hold = self.order.hold_on(item.ordering_key, origin_of(item).line)
            if hold is not None and not hold.passes:
                self._take()
                self.on_held(item, hold.reason)
                continue
            if not self.trials.may_go(item):
                return None
            self._take()
            return item
        self._over = self._is_empty()
        return None

    def _take(self) -> None:
        self._ready.popleft()
        if self._has_room is not None and len(self._ready) < _MOST_READY // 2:
            self._has_room.set()

    def _is_empty(self) -> bool:
        return self._filled and not self._ready and not self._again and not self._under_way
