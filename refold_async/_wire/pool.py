"""The connections of one event loop: who may have one, who waits, and which are kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

import httpx
from attrs import frozen

from .connect import Connector, Target
from .connection import Connection, ConnectionState
from .limits import READ_BUFFER_BYTES
from .loops import clock_of
from .timer import LoopTimer, no_context


@frozen
class PoolState:
    """How many connections there are, and what they do.

    :param connections: open ones: `idle` plus `active`.
    :param idle: kept for the next request.
    :param active: in use by a request.
    :param connecting: being opened.
    :param waiting: requests that wait for a connection.
    """

    connections: int = 0
    idle: int = 0
    active: int = 0
    connecting: int = 0
    waiting: int = 0


class _Waiter:
    """A request that waits for a connection, or for leave to open one (None)."""

    __slots__ = ("future", "origin")

    def __init__(self, origin: Target, future: asyncio.Future[Connection | None]) -> None:
        self.origin = origin
        self.future = future


class Pool:
    """Keeps idle connections by origin, the last one used on top, and lets requests wait in order of arrival.

    A connection counts against the limit from before it is opened until its socket is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connector: Connector,
        *,
        max_connections: int | None,
        max_keepalive: int | None,
        keepalive_expiry: float | None,
    ) -> None:
        self.loop = loop
        self.timer = LoopTimer(loop)
        self._now = clock_of(loop)
        self.read_buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._connector = connector
        self._max = float("inf") if max_connections is None else max_connections
        self._max_idle = float("inf") if max_keepalive is None else max_keepalive
        self._expiry = float("inf") if keepalive_expiry is None else keepalive_expiry
        self._open: set[Connection] = set()
        self._idle: dict[Target, list[Connection]] = {}
        self._idle_count = 0
        self._connecting = 0
        self._waiters: deque[_Waiter] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def state(self) -> PoolState:
        """How many connections there are, and what they do."""
        waiting = sum(not waiter.future.done() for waiter in self._waiters)
        active = len(self._open) - self._idle_count
        return PoolState(len(self._open), self._idle_count, active, self._connecting, waiting)

    async def acquire(self, origin: Target, timeout: Mapping[str, float | None]) -> Connection:
        """Give a connection that is fit for a request, a kept one if there is one.

        :raises httpx.PoolTimeout: when none became free within the pool timeout.
        :raises httpx.ConnectError: when none could be opened, `httpx.ConnectTimeout` when that took too long.
        """
        first = True
        while True:
            kept = self.take_idle(origin)
            if kept is not None:
                return kept
            if len(self._open) + self._connecting < self._max:
                self._connecting += 1
                return await self._connect(origin, timeout.get("connect"))
            granted = await self._wait(origin, timeout.get("pool"), in_front=not first)
            if granted is None:
                return await self._connect(origin, timeout.get("connect"))
            if granted.is_usable():
                return granted
            granted.abort()
            first = False

    def take_idle(self, origin: Target, now: float | None = None) -> Connection | None:
        """Give the idle connection that was used last, if it is still good; close those that are not."""
        stack = self._idle.get(origin)
        while stack:
            connection = stack.pop()
            self._idle_count -= 1
            if (self._now() if now is None else now) - connection.idle_since < self._expiry and connection.is_usable():
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Target, timeout: float | None) -> Connection:
        """Open a connection; its place is taken already."""
        connection = Connection(self, origin)
        try:
            await self._connector.connect(connection, origin, timeout, self.timer)
        except BaseException:
            self._connecting -= 1
            connection.abort()
            self._serve_waiters()
            raise
        self._connecting -= 1
        self._open.add(connection)
        if connection.state is ConnectionState.CLOSED:  # between the handshake and here
            self.on_connection_lost(connection)
        return connection

    async def _wait(self, origin: Target, timeout: float | None, *, in_front: bool) -> Connection | None:
        """Wait for a connection, or for leave to open one: then None, and the place is taken.

        :param in_front: it was this one's turn before, and what it was given was no good.
        """
        self._evict_other(origin)
        waiter = _Waiter(origin, self.loop.create_future())
        (self._waiters.appendleft if in_front else self._waiters.append)(waiter)
        timer = None if timeout is None else self.loop.call_later(timeout, _expire, waiter.future)
        try:
            return await waiter.future
        except BaseException:
            if waiter in self._waiters:  # gone by itself: while nothing is given back, nobody else would clear it away
                self._waiters.remove(waiter)
            elif not waiter.future.cancelled() and waiter.future.exception() is None:
                self._give_back(waiter.future.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _give_back(self, granted: Connection | None) -> None:
        """Take back what a waiter was given and can no longer use."""
        if granted is None:
            self._connecting -= 1
            self._serve_waiters()
        else:
            self.release(granted, reusable=not granted.is_closed)

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Take a connection back: for whoever waits, or to keep, or to close."""
        if not reusable or self._closed:
            connection.abort()
            return
        waiter = self._first_waiter() if self._waiters else None
        if waiter is not None:
            if waiter.origin == connection.origin:
                self._waiters.popleft()
                waiter.future.set_result(connection)
            else:
                connection.abort()  # its place goes to the one who waits, once the socket is closed
        elif self._idle_count >= self._max_idle:
            connection.abort()
        else:
            connection.idle_since = self._now()
            stack = self._idle.get(connection.origin)
            if stack is None:
                stack = self._idle[connection.origin] = []
            stack.append(connection)
            self._idle_count += 1
            if self._sweeper is None and self._expiry != float("inf"):
                self._sweeper = self.loop.call_later(self._expiry, self._sweep, context=no_context())

    def on_connection_lost(self, connection: Connection) -> None:
        """Note that a connection's socket is closed; its place is free."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        stack = self._idle.get(connection.origin, [])
        if connection in stack:
            stack.remove(connection)
            self._idle_count -= 1
        if not stack:
            self._idle.pop(connection.origin, None)
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Let those who wait open connections, as far as there are places."""
        while len(self._open) + self._connecting < self._max:
            waiter = self._first_waiter()
            if waiter is None:
                return
            self._waiters.popleft()
            self._connecting += 1
            waiter.future.set_result(None)

    def _first_waiter(self) -> _Waiter | None:
        while self._waiters:
            if not self._waiters[0].future.done():
                return self._waiters[0]
            self._waiters.popleft()
        return None

    def _evict_other(self, origin: Target) -> None:
        """Close the idle connection that was used longest ago, so that another origin gets its place."""
        idle = [stack[0] for other, stack in self._idle.items() if other != origin and stack]
        if idle:
            self._discard(min(idle, key=lambda connection: connection.idle_since))

    def _discard(self, connection: Connection) -> None:
        self._idle[connection.origin].remove(connection)
        self._idle_count -= 1
        connection.abort()

    def _sweep(self) -> None:
        """Close what was idle for too long, and look again when the next one will have been."""
        self._sweeper = None
        now = self._now()
        idle = [connection for stack in self._idle.values() for connection in stack]
        for connection in idle:
            if now - connection.idle_since >= self._expiry:
                self._discard(connection)
        left = [connection.idle_since for stack in self._idle.values() for connection in stack]
        if left:
            self._sweeper = self.loop.call_at(min(left) + self._expiry, self._sweep, context=no_context())

    def abandon(self) -> None:
        """Let go of everything, as the event loop is closed.

        Tasks that ended with the loop may be held for ever (anyio holds those in its scopes), and they hold the pool.
        """
        self._closed = True
        self._waiters.clear()
        self._idle.clear()
        self._idle_count = 0
        for connection in self._open:
            connection.abandon()
        self._open.clear()
        self.timer.abandon()

    async def aclose(self) -> None:
        """Close every connection and turn away who waits; then wait until the sockets are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while (waiter := self._first_waiter()) is not None:
            self._waiters.popleft()
            waiter.future.set_exception(httpx.PoolTimeout("the pool was closed"))
        self._idle.clear()
        self._idle_count = 0
        connections = list(self._open)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()
        self.timer.close()


def _expire(future: asyncio.Future[Connection | None]) -> None:
    if not future.done():
        future.set_exception(httpx.PoolTimeout("no connection became free within the pool timeout"))
