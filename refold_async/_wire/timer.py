"""One timer for everything on an event loop that may take too long."""

from __future__ import annotations

import asyncio
import contextvars
import math
from typing import Protocol

LATE = 0.05
"""Seconds by which a timer may go off late before the process is taken to have been stopped meanwhile."""

SECOND_LOOK = 0.05
"""Seconds after such a late timer in which the event loop reads what its sockets hold by now."""


no_context = contextvars.Context
"""Make a context for a callback that outlives the request which causes it: it must not hold on to its variables.

Each needs its own: event loops in two threads cannot be in one context at the same time, and a callback that cannot
enter its context is never called.
"""


class Timed(Protocol):
    """Something with a time limit.

    :ivar until: loop time at which `expire` is to be called; inf for never.
    """

    until: float

    def expire(self, now: float) -> None:
        """End it, or move `until`; it is asked again when that has passed."""
        ...


class LoopTimer:
    """Watches the time limits of many things with a single timer of the event loop.

    Nearly all of them end long before their limit, and a timer for each would cost more than the rest of their
    bookkeeping. So there is one, set for the earliest limit that was known when it was set. When it goes off, what is
    past its limit is ended, and the timer is set again.

    A timer that goes off says nothing about the network: the process may have been stopped until now (Ctrl-Z, a paused
    container), and the responses may be in the sockets, although the loop has seen nothing yet. So it looks at them
    first, and has some time for it if the timer is late. What was past its limit when the look began is ended after it;
    what has passed its limit meanwhile has a look of its own.

    States: at rest; *set*, for `due`; *looking*, when nothing can be noted. What always holds at rest and when set: no
    limit that was noted is before `due`.

    :ivar timed: what is watched. Add to it and call `note`; discard from it when done.
    :ivar due: loop time at which it goes off; inf at rest, minus infinity while it looks.
    """

    __slots__ = ("_handle", "due", "loop", "timed")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timed: set[Timed] = set()
        self._handle: asyncio.Handle | None = None
        self.due = math.inf

    def note(self, until: float) -> None:
        """Make sure that the timer goes off by then."""
        if until < self.due:
            self._set(until)

    def _set(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self.due = at
        self._handle = self.loop.call_at(at, self._go_off, at, context=no_context())

    def _go_off(self, due: float) -> None:
        now = self.loop.time()
        if self._earliest() > now:
            self._rest()
            return
        self.due = -math.inf
        if now - due > LATE:
            self._handle = self.loop.call_at(now + SECOND_LOOK, self._expire, now, context=no_context())
        else:  # the loop asks its sockets in the next turn, and has read them by the one after it
            self._handle = self.loop.call_soon(self._pass_a_turn, now, context=no_context())

    def _pass_a_turn(self, since: float) -> None:
        self._handle = self.loop.call_soon(self._expire, since, context=no_context())

    def _expire(self, since: float) -> None:
        for timed in sorted((timed for timed in self.timed if timed.until <= since), key=lambda timed: timed.until):
            if timed in self.timed and timed.until <= since:  # unless ending one of the others has ended it
                timed.expire(self.loop.time())
        self._rest()

    def _rest(self) -> None:
        """Be at rest, or set for whatever is next."""
        self._handle = None
        self.due = math.inf
        self.note(self._earliest())

    def _earliest(self) -> float:
        return min((timed.until for timed in self.timed), default=math.inf)

    def abandon(self) -> None:
        """Let go of what is watched, as the event loop is closed and nothing will expire."""
        self.timed.clear()
        self.close()

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self.due = math.inf
