"""The workers of a batch as tasks: made as they are needed, parked while there is no room, and ended in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

GRACE = 5.0
"""Seconds that what is on the wire has to finish, when a batch is left early or stopped."""

CANCELLED_GRACE = 1.0
"""Likewise when the caller is cancelled or interrupted, who wants to be gone."""


class Crew:
    """At most `limit` workers, and what else runs beside them.

    Workers are shielded from cancellation, because it is `leave` that ends them, once they had time to finish.

    :param work: what a worker does until there is nothing more to do.
    :param fatal: is given what escapes from a worker, such as a KeyboardInterrupt; it is raised again by `leave`.
    :ivar has_more: whether a worker is parked, or another may be made.
    :param last: is called when the last of them has gone, just before `ended` is set.
    """

    def __init__(
        self,
        limit: int,
        work: Callable[[], Awaitable[None]],
        *,
        fatal: Callable[[BaseException], None],
        last: Callable[[], None],
    ) -> None:
        self.ended = anyio.Event()
        self._limit = limit
        self._work = work
        self._fatal_seen = fatal
        self._last = last
        self._group: anyio.abc.TaskGroup
        self._parked: list[anyio.Event] = []
        self._workers = 0
        self._running = 0
        self._called = False
        self.has_more = True
        self._fatal: BaseException | None = None

    async def enter(self) -> None:
        """Make a place for tasks to run in."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()

    def start(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the workers; the end waits for it too."""
        self._running += 1
        self._group.start_soon(self._guarded, run)

    async def _guarded(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except BaseException as error:  # noqa: BLE001 - raised again by `leave`
            if self._fatal is None:
                self._fatal = error
                self._fatal_seen(error)
        finally:
            self._running -= 1
            if not self._running:
                self._last()
                self.ended.set()

    def wake_or_make(self) -> bool:
        """Get a free worker to work; False if all are at it."""
        if self._parked:
            self._parked.pop().set()
            self.has_more = bool(self._parked) or self._workers < self._limit
        elif self._workers < self._limit:
            self._workers += 1
            self.has_more = self._workers < self._limit
            self.start(self._shielded)
        else:
            return False
        return True

    def call(self) -> None:
        """Likewise, unless one was called already and has not come yet: it will call the next, if there is need."""
        if not self._called:
            self._called = True  # before it is: a task factory may start it at once
            self._called = self.wake_or_make() and self._called

    async def _shielded(self) -> None:
        self._called = False
        with anyio.CancelScope(shield=True):
            await self._work()

    async def park(self) -> None:
        """Wait to be called, as a worker."""
        turn = anyio.Event()
        self._parked.append(turn)
        self.has_more = True
        await turn.wait()
        self._called = False

    def wake_all(self) -> None:
        """Call all that are parked, because there will be no more to do."""
        for turn in self._parked:
            turn.set()
        self._parked.clear()

    def cut_off_after(self, seconds: float, cut_off: Callable[[], None]) -> None:
        """Let them have so many seconds to end by themselves."""

        async def wait() -> None:
            await self._finish_within(seconds, shield=True)
            cut_off()

        self._group.start_soon(wait)

    async def leave(self, error: BaseException | None, cut_off: Callable[[], None]) -> BaseException | None:
        """Wait until all have ended, however often that is cancelled or interrupted.

        :param error: what the block raised. Cancelled or interrupted, there is less time.
        :param cut_off: ends what has not ended in time.
        :return: what is to be raised in its place, if anything.
        """
        errors = [] if error is None else [error]
        for seconds in (GRACE, CANCELLED_GRACE):
            unhurried = all(isinstance(each, Exception) for each in errors)
            if seconds == GRACE and not unhurried:
                continue
            try:
                await self._finish_within(seconds, shield=not unhurried)
                break
            except BaseException as late:  # noqa: BLE001 - the worst of them is raised
                errors.append(late)
        cut_off()
        try:
            await self._group.__aexit__(None, None, None)  # not given the block's error, which it would wrap
        except BaseException as late:  # noqa: BLE001 - likewise
            errors.append(_bare(late))
        if self._fatal is not None:
            errors.append(self._fatal)
        worst = min(errors, key=_harmlessness, default=None)
        return None if worst is error else worst

    async def _finish_within(self, seconds: float, *, shield: bool) -> None:
        if not self.ended.is_set():
            with anyio.move_on_after(seconds, shield=shield):
                await self.ended.wait()


def _harmlessness(error: BaseException) -> int:
    """Put what ends a program before a cancellation, and that before what was raised in the block."""
    if isinstance(error, Exception):
        return 2
    return 1 if isinstance(error, anyio.get_cancelled_exc_class()) else 0


def _bare(error: BaseException) -> BaseException:
    """Take an interrupt out of the groups that trio wraps it in."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
