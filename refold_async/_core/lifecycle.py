"""What a client and its views share: the session, the loop it belongs to, and the calls under way."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from .._types.errors import ClientClosedError, ConfigurationError, RefoldError
from .._types.evidence import Cut
from .._types.values import Idempotency, RateLimit
from .._wire import httpx_internals
from .._wire.connect import Target
from .._wire.loops import is_loop_closed, running_loop
from .._wire.pool import Pool
from .._wire.scope import AnyioScope, CallScope, TaskScope
from .._wire.session import SessionPlan
from .._wire.timer import LoopTimer
from ..policies.budget import RetryBudget
from .call import Call
from .clock import LoopClock
from .slots import FairSemaphore

if TYPE_CHECKING:
    from ..limiters import PriorityRateLimiter
    from ..transports.pool import PoolTransport

_running_asyncio_loop = asyncio._get_running_loop  # noqa: SLF001 - documented, and returns None where none runs
_CLEANUP_GRACE = 2.0
"""Seconds for calls that were cut off to tidy up: closing a socket takes a few loop turns."""


OTHER_RATE = 10.0
"""Requests a second that are not triggers. Refold documents no limit for them; a self-hosted install reads 105/s."""

OTHER_CONNECTIONS = 10
"""How many of them may be under way at once, besides the triggers."""


class _Forks:
    """How often this process has come about by a fork since the module was loaded; spares a system call each time."""

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.count += 1


_forks = _Forks()


class Lane:
    """What bounds the requests that are not triggers, so that those who poll never hold up events.

    :ivar limiter: their pace.
    :ivar slots: how many may be under way, on the loop that the client is bound to.
    :ivar budget: limits their retries.
    """

    def __init__(self) -> None:
        from ..limiters import MemoryRateLimiter

        self.limiter = MemoryRateLimiter(RateLimit(OTHER_RATE, 1))
        self.slots = FairSemaphore(OTHER_CONNECTIONS)
        self.budget = RetryBudget()


class Lifecycle:
    """The shared part of a client: made once, bound to the process and the event loop of its first use.

    States: unbound, bound to a loop (and bound again once that is closed), closed. `check` binds, `aclose` closes.
    What always holds: calls under way belong to the bound loop, and so do the slots, the timer and the connections.

    :param plan: what the session is made of.
    :param max_connections: how many requests may be in flight; None for no limit.
    :ivar origin: the host, port and TLS name of Refold.
    :ivar calls: those under way.
    :ivar probe: makes one read with a sender for an account, and returns whether it was answered.
    :ivar bindings: how often it was bound to a loop.
    """

    def __init__(self, plan: SessionPlan, origin: Target, max_connections: int | None) -> None:
        self.plan = plan
        self.is_closed = False
        self.bindings = 0
        self._binding = threading.Lock()
        self.calls: set[Call] = set()
        self.probe: Callable[[Any, str | None], Awaitable[bool | None]] | None = None
        self.slots: FairSemaphore | None = None
        self.clock: LoopClock
        self.timer: LoopTimer | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.origin = origin
        self._max_connections = max_connections
        self._bound: object | None = None
        self._forks = 0
        self._idle: anyio.Event | None = None
        self._pool_transport: PoolTransport | None = None
        self._session: httpx.AsyncClient | None = None
        self._pool: Pool | None = None
        self._client_class = httpx.AsyncClient
        self._guard = httpx_internals.Guard(httpx.AsyncClient)
        self._limiter: PriorityRateLimiter | None = None
        self._raised: weakref.WeakKeyDictionary[RefoldError, Idempotency | None] = weakref.WeakKeyDictionary()
        self._lane: Lane | None = None
        if not plan.uses_pool:
            self._session = plan.make(self.pool_transport)  # what is wrong with it shows now

    def close_with(self, limiter: PriorityRateLimiter) -> None:
        """Close this limiter when the client is closed: it was made for the client."""
        self._limiter = limiter

    @property
    def lane(self) -> Lane:
        """What bounds the requests that are not triggers; made at first use."""
        if self._lane is None:
            self._lane = Lane()
        return self._lane

    # The session and the wire.

    @property
    def pool_transport(self) -> PoolTransport | None:
        """Our own wire, where it was chosen; made at first use."""
        if self._pool_transport is None and self.plan.is_owned and self.plan.transport == "pool":
            from ..transports.pool import PoolTransport

            self._pool_transport = PoolTransport(verify=self.plan.verify, limits=self.plan.limits)
        return self._pool_transport

    @property
    def session(self) -> httpx.AsyncClient:
        """The session; made at first use."""
        if self._session is None:
            self._session = self.plan.make(self.pool_transport)
        return self._session

    def own_pool(self) -> Pool | None:
        """Return the connection pool of our own wire, if nothing stands between it and the client here and now.

        What may stand there: hooks or auth on the session, a proxy, and whatever tests and tracers have replaced in
        httpx or httpcore, before or after the client was made. This is asked before each attempt.
        """
        if self.loop is None:
            return None
        transport = self._pool_transport or self.pool_transport
        if transport is None or not transport.is_own_wire or not self._guard.is_original():
            return None
        session = self._session
        if session is None:
            if httpx.AsyncClient is not self._client_class:  # somebody has put a class of theirs there
                return None
        elif (
            not httpx_internals.has_no_middleware(session)
            or not httpx_internals.is_unpatched(session)
            or not transport.is_untouched
            or httpx_internals.transport_of(session, self.plan.base_url) is not transport
        ):
            return None
        return self._pool or self._bind_pool(transport)

    def _bind_pool(self, transport: PoolTransport) -> Pool:
        self._pool = transport.wire.here()
        return self._pool

    # The loop.

    def check(self) -> None:
        """Make sure that a call can be made here and now, and bind to the running loop.

        :raises ClientClosedError: after `aclose`.
        :raises ConfigurationError: in a forked child, or on a second loop while the first is still open.
        """
        if self.is_closed:
            raise ClientClosedError("this client is closed: make another, or keep it open for longer")
        loop = _running_asyncio_loop() or running_loop()  # a frame less, where it is asyncio's
        if loop is self._bound and self._forks == _forks.count:
            return
        with self._binding:  # of two threads that use it first at the same time, one is refused
            self._bind_anew(loop)

    def _bind_anew(self, loop: object) -> None:
        self._check_owner(loop)
        if self._bound is not None:
            if self.plan.is_foreign:
                raise ConfigurationError(
                    "this client's http_client= or transport= belongs to an event loop that is closed, and cannot be "
                    "made again here: make a client for each loop"
                )
            self._abandon()
            self._session = self._pool_transport = self._pool = None
            if not self.plan.uses_pool:
                self._session = self.plan.make(self.pool_transport)
        self._bind(loop)

    def _abandon(self) -> None:
        """Let go of what belonged to an event loop that is closed now."""
        self.calls.clear()
        if self.timer is not None:
            self.timer.abandon()
        if self._pool_transport is not None:
            self._pool_transport.wire.abandon()

    def _check_owner(self, loop: object) -> None:
        """Refuse a loop, thread or process that the connections do not belong to.

        :raises ConfigurationError: saying which.
        """
        if self._bound is None or (loop is self._bound and self._forks == _forks.count):
            return
        if self._forks != _forks.count:
            raise ConfigurationError(
                "this client was used before the process forked, and connections cannot be shared with the parent: "
                "make a client in each process, or use it only after the fork"
            )
        if not is_loop_closed(self._bound):
            raise ConfigurationError(
                "this client belongs to another event loop that is still open: make one client for each loop"
            )

    def _bind(self, loop: object) -> None:
        self._bound = loop
        self.bindings += 1
        self._forks = _forks.count
        self._idle = None
        if self._lane is not None:
            self._lane.slots = FairSemaphore(OTHER_CONNECTIONS)
        self.loop = loop if isinstance(loop, asyncio.AbstractEventLoop) else None
        self.timer = None if self.loop is None else LoopTimer(self.loop)
        self.clock = LoopClock(self.loop)
        self.slots = None if self._max_connections is None else FairSemaphore(self._max_connections)

    @contextmanager
    def scope_of(self, call: Call) -> Iterator[CallScope]:
        """Run part of a call so that its deadline, `aclose` or a batch can end it where it stands."""
        scope: CallScope = AnyioScope() if self.timer is None else TaskScope(self.timer)
        scope.end_at(call.deadline)
        if call.interrupted is not None:
            scope.end(call.interrupted)
        call.scope = scope
        try:
            with scope:
                yield scope
        finally:
            call.scope = None
            if scope.cut is not None and call.interrupted is None:
                call.interrupted = scope.cut

    def proxy(self) -> str | None:
        """Return the proxy between here and Refold, without its password; None if there is none."""
        if self._session is None:
            return None
        return httpx_internals.proxy_of(httpx_internals.transport_of(self._session, self.plan.base_url))

    # The calls under way, and the end.

    def raised(self, error: RefoldError, idempotency: Idempotency | None) -> None:
        """Remember an error for as long as it lives, and which window was declared for its call."""
        self._raised[error] = idempotency

    def has_raised(self, error: RefoldError, idempotency: Idempotency) -> bool:
        """Whether it is an error of a call of this client or a view of it, under the same declaration."""
        return self._raised.get(error) == idempotency

    def finished(self, call: Call) -> None:
        """Note that a call is over, however it ended."""
        self.calls.discard(call)
        if self._idle is not None and not self.calls:
            self._idle.set()

    async def aclose(self, grace: float) -> None:
        """Fail what waits, let what is on the wire finish within `grace` seconds, then close the session.

        :raises ConfigurationError: on another loop than the one that the connections belong to, while that is open.
        """
        if self._bound is not None and not is_loop_closed(self._bound) and self._forks == _forks.count:
            self._check_owner(running_loop())
        self.is_closed = True
        if self._bound is None:
            await self._close_session()
            return
        if self._forks != _forks.count:
            return  # the connections are the parent's
        if is_loop_closed(self._bound):
            self._abandon()
            return
        try:
            for call in list(self.calls):
                if not call.is_on_wire:
                    call.interrupt(Cut.CLOSED)
            with anyio.move_on_after(grace):
                await self._drained()
        finally:
            with anyio.CancelScope(shield=True):
                for call in list(self.calls):
                    call.interrupt(Cut.CLOSED)
                with anyio.move_on_after(_CLEANUP_GRACE):
                    await self._drained()
                if self.timer is not None and not self.calls:
                    self.timer.close()
                await self._close_session()

    async def _close_session(self) -> None:
        if self._limiter is not None:
            await self._limiter.aclose()
        if not self.plan.is_owned:
            return
        try:
            await self.session.aclose()  # made now if nobody has looked at it yet, so that it says it is closed
        finally:
            if self._pool_transport is not None:
                await self._pool_transport.aclose()

    async def _drained(self) -> None:
        if self.calls:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
