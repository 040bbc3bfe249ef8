"""The scope that part of a call runs in, so that its deadline or its owner can end it where it stands."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Protocol, Self

import anyio

from .._types.evidence import Cut
from .loops import cancellations
from .timer import LoopTimer, no_context


class CallScope(Protocol):
    """Ends a block from outside.

    :ivar cut: why it was ended; None while it was not.
    :ivar was_cut: whether the block was left because of that. A cancellation from outside passes as it came.
    """

    cut: Cut | None

    @property
    def was_cut(self) -> bool: ...

    def end_at(self, until: float) -> None:
        """End the block at that loop time; inf for never."""
        ...

    def end(self, cut: Cut) -> None:
        """End the block now, or as soon as it is entered."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None: ...


class TaskScope:
    """What `anyio.CancelScope` does, at a fifth of the cost: on asyncio, without nesting or shields.

    A cancellation from outside passes as it came, also when it comes together with ours. Only a task that waits is
    cancelled: up to Python 3.12 one that runs would keep the cancellation after it has left the block, and end at some
    later await of its own. Whoever runs in the block and awaits nothing has to look at `cut`.
    """

    __slots__ = ("_before", "_is_cancelled", "_task", "_timer", "cut", "until", "was_cut")

    def __init__(self, timer: LoopTimer) -> None:
        self._timer = timer
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self.until = math.inf
        self.cut: Cut | None = None
        self.was_cut = False
        self._is_cancelled = False

    def end_at(self, until: float) -> None:
        """End the block at that loop time; inf for never."""
        self.until = until
        if until != math.inf and self._task is not None:
            self._timer.note(until)

    def expire(self, now: float) -> None:
        """End the block: its time is up."""
        self.end(Cut.DEADLINE)

    def end(self, cut: Cut) -> None:
        """End the block where it awaits, now or as soon as it is entered."""
        if self.cut is None:
            self.cut = cut
            self.until = math.inf
            self._cancel()

    def _cancel(self) -> None:
        task = self._task
        if task is None or self._is_cancelled:
            return
        if getattr(task, "_fut_waiter", None) is None:  # it runs, or will in this turn
            self._timer.loop.call_soon(self._cancel_waiting, context=no_context())
        else:
            self._cancel_waiting()

    def _cancel_waiting(self) -> None:
        if self._task is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._before = cancellations(task)
        self._timer.timed.add(self)
        if self.until != math.inf:
            self._timer.note(self.until)
        if self.cut is not None:
            self._cancel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._timer.timed.discard(self)
        if self._is_cancelled and task is not None:
            self.was_cut = task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError)
        return self.was_cut


class AnyioScope:
    """The same on trio, over `anyio.CancelScope`."""

    def __init__(self) -> None:
        self.cut: Cut | None = None
        self._scope = anyio.CancelScope()

    @property
    def was_cut(self) -> bool:
        """Whether the block was left because it was ended."""
        return self._scope.cancelled_caught

    def end_at(self, until: float) -> None:
        """End the block at that loop time; inf for never."""
        self._scope.deadline = until

    def end(self, cut: Cut) -> None:
        """End the block now, or as soon as it is entered."""
        if self.cut is None:
            self.cut = cut
            self._scope.cancel()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        left = bool(self._scope.__exit__(kind, error, traceback))
        if self._scope.cancelled_caught and self.cut is None:
            self.cut = Cut.DEADLINE
        return left
