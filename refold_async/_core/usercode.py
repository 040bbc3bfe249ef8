"""Calling code of the user's own, so that nothing it does can change what is true of an event."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .._types.errors import CallbackError, RefoldError
from .._wire.loops import cancellations, is_cancellation

T = TypeVar("T")
logger = logging.getLogger("refold_async")


def call_logged(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something whose failure changes nothing. Returns None when it raised, which is logged.

    A cancellation that it raises is its own: nothing is awaited here. KeyboardInterrupt and SystemExit pass. A
    coroutine that it returns is closed and logged: nothing can be awaited here.

    :param what: its name in the log.
    """
    try:
        result = function(*arguments)
    except Exception as error:
        logger.warning(
            "%s (%s) raised %s; the call goes on", what, name_of(function), type(error).__name__, exc_info=error
        )
        return None
    except BaseException as error:
        if not is_cancellation(error):
            raise
        logger.warning(
            "%s (%s) raised a cancellation of its own; the call goes on", what, name_of(function), exc_info=error
        )
        return None
    if result is not None and inspect.isawaitable(result):
        drop_awaitable(f"{what} ({name_of(function)})", result)
        return None
    return result


def name_of(function: object) -> str:
    """Return the name of a callable, for the log."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def drop_awaitable(what: str, awaitable: object) -> None:
    """Log that something returned an awaitable where none can be awaited, and close it if it is a coroutine."""
    logger.warning("%s returned %s, which is not awaited: it must be a plain function", what, _kind_of(awaitable))
    if inspect.iscoroutine(awaitable):
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
    except RefoldError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_cancellation(error):
            raise
        raise CallbackError(f"{what} raised {type(error).__name__}; nothing was sent") from error


async def wait_for_result(what: str, awaitable: Awaitable[Any]) -> Any:
    """Wait for what `call_now` returned.

    :raises CallbackError: when it raised, or cancelled itself; a `RefoldError` of its own passes as it is.
    """
    task = _current_task()
    cancelling = cancellations(task)
    try:
        return await awaitable
    except RefoldError:
        raise
    except Exception as error:
        raise CallbackError(f"{what} raised {type(error).__name__}; nothing was sent") from error
    except BaseException as error:
        # On asyncio a task that is being cancelled says so. A cancellation without that is the callable's own.
        if not is_cancellation(error) or task is None or task.cancelling() > cancelling:
            raise
        raise CallbackError(f"{what} raised a cancellation of its own; nothing was sent") from error


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
