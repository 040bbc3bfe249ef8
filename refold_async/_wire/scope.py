"""The scope that part of a call runs in, so that its deadline or its owner can end it where it stands."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Protocol, Self

import anyio

from .._types.evidence import Cut
from .loops import cancellations
from .timer import LoopTimer


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

    A cancellation from outside passes as it came, also when it comes together with ours.
    """

    __slots__ = ("_before", "_task", "_timer", "cut", "until", "was_cut")

    def __init__(self, timer: LoopTimer) -> None:
        self._timer = timer
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self.until = math.inf
        self.cut: Cut | None = None
        self.was_cut = False

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
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._before = cancellations(task)
        self._timer.timed.add(self)
        if self.until != math.inf:
            self._timer.note(self.until)
        if self.cut is not None:
            task.cancel()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._timer.timed.discard(self)
        if self.cut is not None and task is not None:
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
