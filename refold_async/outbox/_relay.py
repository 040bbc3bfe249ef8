"""What sends the events of a SQLite outbox: one relay a file, beside the app that puts them."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import anyio
from anyio.abc import TaskGroup

from .._core.filelock import try_lock
from .._logging import logger
from .._types.errors import HeldError, OutboxError, RefoldError, RetryLater
from .._wire.loops import running_loop
from ._claim import Pace
from ._delivery import deliver_row
from ._events import EventHeld, RelayHook
from ._gate import Gate
from ._pause import Pause, PauseState, read_once
from ._row import Row
from ._status import EventStatus
from ._store import DeliveryStore
from ._telling import tell, tell_held

if TYPE_CHECKING:
    from ..client import RefoldClient

_RETRY_LOCK: Final = 1.0
"""Seconds between two looks whether the file's other relay has ended."""

_PRUNE_EVERY: Final = 600.0

_LONGEST_REST: Final = 60.0
"""Seconds that an event rests at most whose row was left as it is, such as when the client was closed."""


class RelayStore(DeliveryStore, Protocol):
    """What a relay needs beside delivering."""

    path: Path

    async def due_rows(self, limit: int) -> tuple[list[Row], float | None]:
        """Return what is due, and the seconds until the next row is; None for never."""

    async def has_changed(self) -> bool:
        """Whether another connection has written since this was last asked."""

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this after each write of this process, on whatever thread. Returns what ends that."""

    async def held(self, *, limit: int = 1000) -> list[EventStatus]:
        """Return the events that wait for somebody, the oldest first."""

    async def prune(self, older_than: float) -> int:
        """Delete what ended a while ago."""


class Relay:
    """Sends the events of an outbox for as long as its block runs. Made by `SQLiteOutbox.relay`.

    Who may send: the process that holds the lock of the file. Others wait, and take over when it ends or dies.
    What always holds: one event of an ordering key is under way at a time, the oldest that has neither fired nor was
    rejected; and what is under way when the block ends gets `grace` seconds to finish.

    :ivar is_active: whether this relay holds the lock, and sends.
    """

    def __init__(
        self,
        store: RelayStore,
        client: RefoldClient,
        *,
        max_concurrency: int = 20,
        poll: float = 0.25,
        prune_after: float | None = 7 * 86_400.0,
        hooks: Iterable[RelayHook] = (),
        pace: Pace | None = None,
        grace: float = 5.0,
        probe_every: float = 5.0,
    ) -> None:
        self._store = store
        self._client = client
        self._most = max_concurrency
        self._poll = poll
        self._prune_after = prune_after
        self._hooks = tuple(hooks)
        self._pace = pace or Pace()
        self._grace = grace
        self._pause = Pause(lambda: read_once(client), max_concurrency, probe_every)
        self._gate = Gate(self._pause, "the relay", self._hooks, resumed=lambda: self._resting.clear())
        self._under_way: dict[str, Row] = {}
        self._resting: dict[str, float] = {}
        self._wake = anyio.Event()
        self._stops = False
        self._group: TaskGroup | None = None
        self._loop: object = None
        self._ends_listening: Callable[[], None] = lambda: None
        self.is_active = False

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._loop = running_loop()
        self._ends_listening = self._store.listen(self._awake)
        self._group.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group = self._group
        assert group is not None
        self._stops = True
        self._awake()
        try:
            with anyio.move_on_after(self._grace):
                while self._under_way:
                    await self._next(math.inf)
        finally:
            self._ends_listening()
            group.cancel_scope.cancel()
            # Its tasks raise nothing of their own, so the block's exception passes as it is.
            await group.__aexit__(None, None, None)

    def _awake(self) -> None:
        loop = self._loop
        try:
            is_here = running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._wake.set()
        elif isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed():  # a put on another event loop
            loop.call_soon_threadsafe(self._awake)

    async def _next(self, seconds: float) -> None:
        """Wait until something happens, or so many seconds."""
        with anyio.move_on_after(None if math.isinf(seconds) else seconds):
            await self._wake.wait()
        self._wake = anyio.Event()

    async def _run(self) -> None:
        descriptor = await self._lock()
        self.is_active = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._prune)
                await self._tell_held_before()
                await self._dispatch(group)
        finally:
            self.is_active = False
            os.close(descriptor)

    async def _lock(self) -> int:
        """Wait until this process is the one that sends."""
        path = f"{self._store.path}-relay"
        while True:
            descriptor = -1
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                if try_lock(descriptor):
                    return descriptor
            except OSError as error:
                logger.warning("the relay cannot lock %s: %s; it tries again", path, error.strerror)
            if descriptor >= 0:
                os.close(descriptor)
            await anyio.sleep(_RETRY_LOCK)

    async def _dispatch(self, group: TaskGroup) -> None:
        """Start deliveries, until the block ends."""
        seconds, looks = 0.0, True
        while not self._stops:
            state = self._pause.state
            await self._pause.go_on()
            looks = looks or self._pause.state is not state
            room = self._room()
            try:
                if room and (looks or seconds <= 0 or await self._store.has_changed()):
                    seconds = await self._start(group, room)
            except OutboxError as error:
                logger.warning("the relay cannot read its outbox, and tries again: %s", error)
                seconds = _RETRY_LOCK
            wait = min(self._poll if room else math.inf, seconds if room else math.inf, self._pause.seconds())
            before = anyio.current_time()
            wake = self._wake
            await self._next(wait)
            looks = wake.is_set() or not room
            seconds -= anyio.current_time() - before

    def _room(self) -> int:
        if self._pause.state is PauseState.RUNNING:
            return max(1, self._most - self._pause.doubts) - len(self._under_way)
        return int(self._pause.state is PauseState.TRYING and not self._under_way)

    async def _start(self, group: TaskGroup, room: int) -> float:
        """Start what is due; return the seconds until there may be more."""
        now = anyio.current_time()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        others = len(self._under_way) + len(self._resting)
        rows, seconds = await self._store.due_rows(room + others)
        started = 0
        for row in rows:
            if row.key not in self._under_way and row.key not in self._resting and started < room:
                self._under_way[row.key] = row
                group.start_soon(self._deliver, row)
                started += 1
        soonest = min(self._resting.values(), default=math.inf) - now
        return min(math.inf if seconds is None else seconds, soonest)

    async def _deliver(self, row: Row) -> None:
        try:
            await deliver_row(self._store, self._client, row, pace=self._pace, gate=self._gate)
        except RetryLater as error:
            self._resting[row.key] = anyio.current_time() + min(error.delay, _LONGEST_REST)
        except HeldError:
            await tell_held(self._store, row.key, self._hooks)
        except OutboxError as error:
            logger.warning("the event %r: %s", row.key, error)
            self._resting[row.key] = anyio.current_time() + _RETRY_LOCK
        except RefoldError as error:
            logger.warning("the event %r was rejected: %s", row.key, error)
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the relay: the other events go on
            logger.exception("the event %r could not be delivered", row.key)
            self._resting[row.key] = anyio.current_time() + _LONGEST_REST
        finally:
            del self._under_way[row.key]
            self._awake()

    async def _tell_held_before(self) -> None:
        """Tell of what is held already: whoever held it may have died before it could tell."""
        try:
            found = await self._store.held()
        except OutboxError as error:
            logger.warning("the relay cannot read which events are held: %s", error)
            return
        if found:
            logger.error("%d events may have fired, and are held: `refold-async outbox held` lists them", len(found))
        for status in found:
            tell(self._hooks, EventHeld(status))

    async def _prune(self) -> None:
        while self._prune_after is not None:
            try:
                await self._store.prune(self._prune_after)
            except OutboxError as error:
                logger.warning("the relay cannot prune its outbox, and tries again: %s", error)
            await anyio.sleep(_PRUNE_EVERY)
