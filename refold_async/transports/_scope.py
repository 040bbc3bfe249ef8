"""A scope that a call runs in, so that its deadline or its owner can end it where it stands."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

import anyio


class TaskScope:
    """Does for one call what `anyio.CancelScope` does, at a fifth of the cost: on asyncio, without nesting or shields.

    A cancellation from outside goes through as it came, also when it comes together with ours.

    :ivar deadline: loop time at which the scope is cancelled; inf for never.
    :ivar cancelled_caught: whether the block was ended by this scope.
    """

    __slots__ = ("_before", "_deadline", "_handle", "_task", "cancel_called", "cancelled_caught")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._deadline = math.inf
        self._before = 0
        self.cancel_called = False
        self.cancelled_caught = False

    @property
    def deadline(self) -> float:
        """Loop time at which the scope is cancelled; inf for never."""
        return self._deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        self._deadline = value
        if self._task is not None:
            self._arm(self._task.get_loop())

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if self._deadline == math.inf else loop.call_at(self._deadline, self.cancel)

    def cancel(self) -> None:
        """End the block where it awaits, now or as soon as it is entered."""
        if not self.cancel_called:
            self.cancel_called = True
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._before = task.cancelling()
        if self.cancel_called:
            task.cancel()
        elif self._deadline != math.inf:
            self._arm(task.get_loop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self.cancel_called and task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError):
            self.cancelled_caught = True
        return self.cancelled_caught


Scope = TaskScope | anyio.CancelScope


def on_asyncio() -> bool:
    """Whether an asyncio task is running, and not one of trio's."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def new_scope() -> Scope:
    """Make a scope for whatever event loop runs."""
    return TaskScope() if on_asyncio() else anyio.CancelScope()
