"""Writing the attempt of a call at once, where nothing has to be waited for but a slot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx

from .._wire.flight import Flight
from .._wire.loops import ends_program
from .call import Call, CallState

if TYPE_CHECKING:
    from .._wire.pool import Pool
    from ..limiters import PriorityRateLimiter
    from .gate import Gate
    from .lifecycle import Lifecycle
    from .slots import FairSemaphore

_, _, _PREPARING, _ON_WIRE, _, _ = CallState  # looked up once, as in `call`


class Launcher:
    """Writes attempts in the frame at hand: the caller's, or that of the callback that frees a slot.

    It holds no state of its own. What it cannot do so is left to `Attempt`, which does the same in steps.

    :param limiter: paces the writes; None for no limit.
    :param gate: of the circuit breaker, if there is one.
    :param window: seconds of the declared window; None where none was declared.
    :param goes_in_steps: whether each attempt needs more: a credential that is asked for, or `before_send`.
    """

    def __init__(
        self,
        life: Lifecycle,
        limiter: PriorityRateLimiter | None,
        gate: Gate | None,
        window: float | None,
        *,
        goes_in_steps: bool,
    ) -> None:
        self._life = life
        self._limiter = limiter
        self._gate = gate
        self._window = window
        self._goes_in_steps = goes_in_steps
        self._on_slot = self._launch_queued  # bound once, and not for each call that waits

    def at_once(self, call: Call) -> asyncio.Future[Any] | None:
        """Write the attempt of a call that holds no slot here and now, or let it wait for a slot.

        Returns the future of its evidence, which is None where there is more to do; or None, and nothing was written.
        In both cases the call may hold a slot now.
        """
        if self._goes_in_steps or call.before_send is not None:
            return None
        pool = self._life.own_pool()
        if pool is None:
            return None
        slots = self._life.slots
        if slots is not None:
            if not slots.available:
                return self._queue(call, pool, slots)
            slots.available -= 1
            call.slots = slots
        flight = self._launch(call, pool, None)
        return None if flight is None else flight.future

    def _queue(self, call: Call, pool: Pool, slots: FairSemaphore) -> asyncio.Future[Any]:
        """Let a call wait for a slot. It is sent in the callback that frees one, if all else is at hand then."""
        future: asyncio.Future[Any] = pool.loop.create_future()
        timer = self._life.timer
        assert timer is not None
        call.queue(slots, timer, future, self._on_slot)
        return future

    def _launch_queued(self, call: Call) -> None:
        """Send a call that has just been handed a slot, or wake it to prepare what cannot be done here."""
        future = call.future
        assert future is not None
        try:
            pool = self._life.own_pool()
            if pool is None or self._launch(call, pool, future) is None:
                future.set_result(None)
        except BaseException as error:  # in the callback of another call's, which it must not end
            if not future.done():
                future.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _launch(self, call: Call, pool: Pool, future: asyncio.Future[Any] | None) -> Flight | None:
        """Write the request of a call that holds a slot, if a grant and a connection are at hand."""
        if self._gate is not None and not self._gate.lets(call):
            return None
        life = self._life
        now = life.clock.now()
        connection = pool.take_idle(life.origin, now)
        if connection is None:
            return None
        if self._limiter is not None and not _is_taken(self._limiter):
            pool.release(connection, reusable=True)
            return None
        before = call.first_sent
        if call.is_patient or self._window is not None:
            self.mark_sent(call, now)
        elif call.first_sent is None:  # the same, for most calls
            call.first_sent = time.time()
        timer, request = life.timer, call.request
        assert timer is not None and request is not None  # noqa: PT018 - both narrow a type
        flight = Flight(future or asyncio.Future(loop=pool.loop), timer, call.timeout, call.deadline, call)
        call.exchange = flight
        call.state = _ON_WIRE
        try:
            flight.launch(connection, request, now)
        except httpx.WriteError:  # it had just been closed; nothing was written
            call.exchange = None
            call.state = _PREPARING
            call.first_sent = before
            return None
        return flight

    def mark_sent(self, call: Call, now: float) -> None:
        """Note that a request is about to be written: the deadline runs from now, and so does the window.

        :param now: loop time.
        """
        if call.is_patient:
            call.resume_deadline(now)
        if call.first_sent is None:
            call.first_sent = time.time()
            if self._window is not None:
                call.cap_deadline(now + self._window)


def _is_taken(limiter: PriorityRateLimiter) -> bool:
    """Take a slot of the limiter that is free now. One of the user's own that raises is asked again, in steps."""
    try:
        return limiter.try_take() is True
    except BaseException as error:  # this may run in the callback of another call
        if ends_program(error):
            raise
        return False
