"""Pulling from an async source, all in one task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel

from .._logging import logger
from .._wire.loops import ends_program

SOURCE_GRACE = 1.0
"""Seconds that a source which was told to stop has for its own clean-up, before that is cut off too."""

CHECKPOINT_EVERY = 16
"""After so many items in a row the event loop gets its turn, unless something else has let it run."""


class Feeder:
    """Pulls from an async source for as long as there is room, and hands over what comes.

    An async generator may hold a task group, a timeout or a cancel scope across its items. Those belong to the task
    that entered them, so that there is one task that pulls, and also closes the generator. It is stopped as the
    event loop's own users would: on asyncio by one cancellation, after which its clean-up may await, and on trio by
    its scope.

    :param room: whether there is room for one more item.
    :param hand_over: is given each item.
    """

    def __init__(
        self, source: AsyncIterable[Any], *, room: Callable[[], bool], hand_over: Callable[[object], None]
    ) -> None:
        self._source = source
        self._room = room
        self._hand_over = hand_over
        self._stopped = False
        self._pulling = False
        self._parked: anyio.Event | None = None
        self._task: asyncio.Task[Any] | None = None
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> BaseException | None:
        """Pull until the source ends, raises or is told to stop; close it, and give what it raised."""
        self._task = _asyncio_task()
        error: BaseException | None = None
        try:
            with anyio.CancelScope(shield=True) as self._scope:
                error = await self._pull_all()
        except anyio.get_cancelled_exc_class() as cancelled:
            error = None if self._stopped else cancelled
        return error

    async def _pull_all(self) -> BaseException | None:
        error: BaseException | None = None
        items: AsyncIterator[Any] | None = None
        try:
            items = aiter(self._source)
            await self._pull(items)
        except anyio.get_cancelled_exc_class() as cancelled:  # by `stop`; or the source's own, such as a task group's
            error = None if self._stopped else cancelled
        except BaseException as raised:  # the caller's own source, which may raise anything
            if ends_program(raised):
                raise
            error = raised
        try:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        except Exception as raised:  # noqa: BLE001 - likewise
            error = self._raised_in_closing(raised) or error
        except BaseExceptionGroup as group:  # a task group that was open across the rows wraps the GeneratorExit
            _, rest = group.split(GeneratorExit)
            if rest is not None and not isinstance(rest, Exception):
                raise
            error = self._raised_in_closing(rest) or error
        return error

    def _raised_in_closing(self, error: Exception | None) -> Exception | None:
        """Give the error if the source was closed because it had failed; where it was told to stop, log it."""
        if error is not None and self._stopped:
            logger.warning("the source of the batch raised while it was closed", exc_info=error)
            return None
        return error

    async def _pull(self, items: AsyncIterator[Any]) -> None:
        pulled = 0
        while not self._stopped:
            if not self._room():
                self._parked = anyio.Event()
                await self._parked.wait()
                continue
            self._pulling = True
            try:
                given = await anext(items)
            except StopAsyncIteration:
                return
            finally:
                self._pulling = False
            self._hand_over(given)
            pulled += 1
            if pulled % CHECKPOINT_EVERY == 0:
                await anyio.lowlevel.checkpoint()

    def poke(self) -> None:
        """Say that there may be room."""
        if self._parked is not None and self._room():
            self._parked.set()
            self._parked = None

    def stop(self) -> None:
        """Pull nothing more; what the source is waiting for is cancelled."""
        if self._stopped:
            return
        self._stopped = True
        if self._parked is not None:
            self._parked.set()
        if self._scope is None:
            return
        self._scope.deadline = anyio.current_time() + SOURCE_GRACE
        if not self._pulling:
            return
        if self._task is None:
            self._scope.cancel()
        else:
            self._task.cancel()


def _asyncio_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # trio
        return None
