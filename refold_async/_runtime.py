"""What a client and its views share: the session, the loop it belongs to, and the calls under way."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx

from ._credentials import Credential
from ._types.errors import ClientClosedError, ConfigurationError
from .transports._call import Call
from .transports._scope import DeadlineWatch, Scope, TaskScope
from .transports._session import SessionTransport
from .transports._slots import Slots

_CLEANUP_GRACE = 2.0
"""Seconds for calls that were cut off to tidy up: closing a socket takes a few loop turns."""


class _Forks:
    """How often this process has come about by a fork since the module was loaded; spares a system call each time."""

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.count += 1


_forks = _Forks()


class Runtime:
    """The shared part of a client: made once, bound to an event loop at first use.

    :param make_session: makes the session, anew for each loop.
    :param credential: goes with each request.
    :param owned: whether the session is ours to close.
    :ivar calls: those under way.
    """

    def __init__(self, make_session: Callable[[], httpx.AsyncClient], credential: Credential, *, owned: bool) -> None:
        self._make_session = make_session
        self._credential = credential
        self.owned = owned
        self._loop: object | None = None
        self._forks = _forks.count
        self._closed = False
        self.calls: set[Call] = set()
        self._idle: anyio.Event | None = None
        self.session = make_session()
        self.wire = SessionTransport(self.session, credential, owned=owned)
        self.generation = 0
        self._slots: Slots | None = None
        self._watch: DeadlineWatch | None = None

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    def check(self) -> None:
        """Make sure that a call can be made here and now, and bind to the running loop.

        :raises ClientClosedError: after `aclose`.
        :raises ConfigurationError: in a forked child, or on a second loop while the first is still open.
        """
        if self._closed:
            raise ClientClosedError("this client is closed: make another, or keep it open for longer")
        if self._forks != _forks.count:
            raise ConfigurationError(
                "this client was made before the process forked, and connections cannot be shared with the parent: "
                "make a client in each process"
            )
        loop = running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            if not is_closed(self._loop):
                raise ConfigurationError(
                    "this client belongs to another event loop that is still open: make one client for each loop"
                )
            self.calls.clear()
            self._slots = None
            self._watch = None
            if self.owned:
                self.session = self._make_session()
            self.wire = SessionTransport(self.session, self._credential, owned=self.owned)
            self.generation += 1
        self._loop = loop

    def new_scope(self) -> Scope:
        """Make the scope of one call, on the loop that runs."""
        if self._watch is None:
            if not isinstance(self._loop, asyncio.AbstractEventLoop):
                return anyio.CancelScope()
            self._watch = DeadlineWatch(self._loop)
        return TaskScope(self._watch)

    def slots(self, max_connections: int | None) -> Slots | None:
        """Give the slots that the client and its views share; None for no limit."""
        if self._slots is None and max_connections is not None:
            self._slots = Slots(max_connections)
        return self._slots

    def ended(self, call: Call) -> None:
        """Note that a call is over, however it ended."""
        self.calls.discard(call)
        if self._idle is not None and not self.calls:
            self._idle.set()

    async def aclose(self, grace: float) -> None:
        """Fail what waits, let what is on the wire finish within `grace` seconds, then close the session."""
        self._closed = True
        if self._forks != _forks.count or (self._loop is not None and is_closed(self._loop)):
            return  # the connections are the parent's, or went with their loop
        try:
            for call in list(self.calls):
                call.interrupted = call.interrupted or "closed"
                if not call.on_wire:
                    call.cancel()
            with anyio.move_on_after(grace):
                await self._drained()
        finally:
            with anyio.CancelScope(shield=True):
                for call in list(self.calls):
                    call.cancel()
                with anyio.move_on_after(_CLEANUP_GRACE):
                    await self._drained()
                if self._watch is not None:
                    self._watch.close()
                await self.wire.aclose()

    async def _drained(self) -> None:
        if self.calls:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()


def running_loop() -> object:
    """Give what stands for the running event loop: asyncio's loop, or trio's token."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return sys.modules["trio"].lowlevel.current_trio_token()


def is_closed(loop: Any) -> bool:
    """Whether a loop that `running_loop` gave has ended."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_closed()
    try:
        loop.run_sync_soon(lambda: None)
    except sys.modules["trio"].RunFinishedError:
        return True
    return False
