"""Which event loop is running, on asyncio and trio."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any


def on_asyncio() -> bool:
    """Whether an asyncio task is running, and not one of trio's."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def running_loop() -> object:
    """Return what stands for the running event loop: asyncio's loop, or trio's token.

    :raises RuntimeError: where none is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        if trio is None:
            raise
        return trio.lowlevel.current_trio_token()


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return what tells a loop's time: for asyncio's own that is `time.monotonic`, without a frame in between."""
    is_plain = type(loop).time is asyncio.BaseEventLoop.time and "time" not in vars(loop)
    return time.monotonic if is_plain else loop.time


def is_loop_closed(loop: Any) -> bool:
    """Whether a loop that `running_loop` returned has ended."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_closed()
    try:
        loop.run_sync_soon(lambda: None)
    except sys.modules["trio"].RunFinishedError:
        return True
    return False


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception is a cancellation of asyncio's or trio's."""
    if isinstance(error, asyncio.CancelledError):
        return True
    trio = sys.modules.get("trio")
    return trio is not None and isinstance(error, trio.Cancelled)


def ends_program(error: BaseException) -> bool:
    """Whether an exception is to end the program, and passes whatever it was raised in.

    Python's own are KeyboardInterrupt and SystemExit, alone or in a group. Every other one, a class of the user's own
    below BaseException among them, is a failure of the code that raised it.
    """
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((KeyboardInterrupt, SystemExit)) is not None
    return isinstance(error, KeyboardInterrupt | SystemExit)


def as_exception(error: BaseException) -> Exception:
    """Return an exception that can be the cause of an error: itself, or one that has it as its cause."""
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} was raised")
    wrapped.__cause__ = error
    return wrapped


def cancellations(task: asyncio.Task[Any] | None) -> int:
    """Return how many cancellations of a task have reached it; 0 without one.

    One that was asked for while the task ran, by a signal or by itself, counts for `cancelling` at once, but is thrown
    at its next await only. Until then it is still to come: whoever compares counts before and after has to see it.
    """
    if task is None:
        return 0
    return task.cancelling() - bool(getattr(task, "_must_cancel", False))  # which anyio looks at for the same reason
