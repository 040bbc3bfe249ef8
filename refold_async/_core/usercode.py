"""Calling code of the user's own, so that nothing it does can change what is true of an event."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .._logging import logger
from .._types.errors import CallbackError, RefoldError
from .._wire.loops import cancellations, ends_program, is_cancellation

T = TypeVar("T")


def call_logged(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something whose failure changes nothing. Returns None when it raised, which is logged.

    A cancellation that it raises is its own: nothing is awaited here. KeyboardInterrupt and SystemExit pass. A
    coroutine that it returns is closed and logged: nothing can be awaited here.

    :param what: its name in the log.
    """
    try:
        result = function(*arguments)
        if result is None or not inspect.isawaitable(result):
            return result
    except BaseException as error:
        if ends_program(error):
            raise
        kind = "a cancellation of its own" if is_cancellation(error) else type(error).__name__
        logger.warning("%s (%s) raised %s; the call goes on", what, name_of(function), kind, exc_info=error)
        return None
    drop_awaitable(f"{what} ({name_of(function)})", result)
    return None


def name_of(function: object) -> str:
    """Return the name of a callable, for the log."""
    try:
        name = getattr(function, "__qualname__", None)
    except Exception:  # noqa: BLE001 - an object whose attributes are made by code of the user's own
        name = None
    return name if isinstance(name, str) else type(function).__qualname__


def drop_awaitable(what: str, awaitable: object) -> None:
    """Log that something returned an awaitable where none can be awaited.

    A coroutine that was not begun is closed, so that Python does not warn of it a second time. One that was begun
    belongs to a task.
    """
    logger.warning("%s returned %s, which is not awaited: it must be a plain function", what, _kind_of(awaitable))
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()


def _kind_of(value: object) -> str:
    return "a coroutine" if inspect.iscoroutine(value) else f"a {type(value).__name__}"


async def call_async(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something, sync or async, whose failure ends the call before anything is sent.

    :param what: its name in the error.
    :raises CallbackError: when it raised, or cancelled itself; a `RefoldError` of its own passes as it is.
    """
    result = call_now(what, function, *arguments)
    return await wait_for_result(what, result) if inspect.isawaitable(result) else result


def call_now(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Make the call of `call_async`, and return what it returns: a value, or something to be awaited.

    :raises CallbackError: when it raised. Nothing is awaited here, so that a cancellation is its own.
    """
    try:
        return function(*arguments)
    except BaseException as error:
        if ends_program(error):
            raise
        raise as_refusal(what, error)  # noqa: B904 - which has its cause, or is the error itself


async def wait_for_result(what: str, awaitable: Awaitable[Any]) -> Any:
    """Wait for what `call_now` returned.

    :raises CallbackError: when it raised, or cancelled itself; a `RefoldError` of its own passes as it is.
    """
    task = _current_task()
    cancelling = cancellations(task)
    try:
        return await awaitable
    except BaseException as error:
        if ends_program(error) or isinstance(error, GeneratorExit):  # the latter closes the coroutine that awaits
            raise
        # On asyncio a task that is being cancelled says so. A cancellation without that is the callable's own.
        if is_cancellation(error) and (task is None or task.cancelling() > cancelling):
            raise
        raise as_refusal(what, error)  # noqa: B904 - which has its cause, or is the error itself


def as_refusal(what: str, error: BaseException) -> RefoldError:
    """Return the error of a call that code of the user's own has ended, before anything was sent, by raising.

    A `RefoldError` passes as it is, so that a fence can raise one that its callers know. One that is another call's
    already (they share it, or its call was made in the callback) is copied, so that each call has its own facts; and
    if that other call has sent something, then its error cannot speak for this one.
    """
    if isinstance(error, RefoldError):
        passed = _own(error)
        if passed is not None:
            return passed
    kind = "a cancellation of its own" if is_cancellation(error) else type(error).__name__
    failure = CallbackError(f"{what} raised {kind}; nothing was sent")
    failure.__cause__ = error
    return failure


def _own(error: RefoldError) -> RefoldError | None:
    """Return an error that a call can put its facts on; None if there is none in this one."""
    try:
        if error.call_id is not None:
            if error.sent is not None or error.attempts or isinstance(error, CallbackError):
                return None
            cause, error = error, copy.copy(error)
            if type(error) is not type(cause) or error is cause:
                return None
            error.__cause__ = cause
            error.__notes__ = []
        hash(error)
        error.attempts = 0  # a frozen one refuses
    except Exception:  # noqa: BLE001 - a class of the user's own
        return None
    return error


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
