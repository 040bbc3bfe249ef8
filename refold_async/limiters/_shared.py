"""Rate limiters that share one limit with other processes."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, NoReturn

import anyio

from .._logging import logger
from .._types.errors import ClientClosedError, ConfigurationError, PacingTimeoutError
from .._types.values import RateLimit
from ..policies.pacing import FRESH_FOR, LONGEST_PAUSE
from ..policies.shared_pacing import MOST_A_SECOND, Question, pause_of
from ._link import ANSWER_WITHIN, Link, Ready, Store
from ._protocol import Grant
from ._queue import Waiter, WaitQueue, current_loop, is_closed

OnOutage = Literal["local", "refuse"]
"""What a process does while the server of a shared limit does not answer."""


class SharedGrant:
    """A slot of a limit shared with other processes; see `Grant`."""

    __slots__ = ("_alone", "_at", "_limiter", "_link", "_pauses", "_ready", "waited")

    def __init__(self, limiter: SharedRateLimiter, link: Link, ready: Ready | None, at: float, waited: float) -> None:
        self.waited = waited
        self._limiter = limiter
        self._link: Link | None = link
        self._ready = ready
        self._alone = link.alone if ready is None else None
        self._at = at
        self._pauses = link.pauses

    def is_fresh(self) -> bool:
        """Whether the request may be written now: not once 20 ms have passed, or a 429 has paused the limiter."""
        link = self._link
        return link is not None and link.pauses == self._pauses and link.clock() <= self._at + FRESH_FOR

    def sent(self) -> None:
        """Report that the request is being written now; what is told after the first time changes nothing."""
        link, self._link = self._link, None
        if link is not None:
            now = link.clock()
            link.spent.append(now)
            if self._alone is not None:
                self._alone.sent(self._at, now)

    def dropped(self) -> None:
        """Report that the request will not be written with this grant: the slot goes to the next."""
        link, is_fresh = self._link, self.is_fresh()
        self._link = None
        if link is None:
            return
        if self._ready is None:
            if self._alone is not None:
                self._alone.dropped()
        elif is_fresh:
            link.ready.appendleft(self._ready)
        else:
            link.give_back(self._ready)
        self._limiter.wake_first()

    def __del__(self) -> None:
        self.sent()  # it may have been used


class SharedRateLimiter:
    """Paces this process by a limit that others share. The subclasses say where it is kept.

    In each process callers wait in arrival order, and only the first of them asks the server: for a slot, which may
    lie in the future, and once more when it is due. So a process that dies loses one slot.

    :param limit: the rate and burst of all together. Where processes differ, the lowest holds.
    :param name: what the limit is for. Needed with a session token or a callable credential; by default the client
        derives it from its base URL and API key, as a digest.
    :param on_outage: what to do while the server does not answer: go on at this process's share of the rate and a
        burst of 1 ("local"), or end calls with `PacingTimeoutError` ("refuse").
    :param instances: how many processes share the limit, for that share; by default those heard of half a minute
        before the outage.
    :param max_retry_after: the longest pause a 429 can cause, in seconds.
    :raises ConfigurationError: for values that cannot be.
    """

    name: str | None = None
    """What the limit is for."""

    _place = "its server"
    """What to call the server in messages, without credentials."""

    def __init__(
        self,
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        name: str | None = None,
        on_outage: OnOutage = "local",
        instances: int | None = None,
        max_retry_after: float = LONGEST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.limit = limit
        if limit.rate > MOST_A_SECOND:
            raise ConfigurationError(f"a shared rate limit is at most {MOST_A_SECOND} a second, not {limit.rate:g}")
        if on_outage not in ("local", "refuse"):
            raise ConfigurationError(f'on_outage must be "local" or "refuse", not {on_outage!r}')
        if instances is not None and (isinstance(instances, bool) or not isinstance(instances, int) or instances < 1):
            raise ConfigurationError(f"instances must be a whole number from 1, not {instances!r}")
        if name is not None:
            _check_name(name)
        self.name = name
        self._is_own_name = name is not None
        self._on_outage = on_outage
        self._instances = instances
        self._max_retry_after = max_retry_after
        self._clock = clock
        self._sleep = sleep
        self._queue = WaitQueue()
        self._lock = threading.RLock()  # a grant may be collected in the middle of anything
        self._links: dict[Any, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._process = os.getpid()
        self._left_behind: list[Link] = []
        self._warned_of: RateLimit | None = None
        self._closed = False

    def _connect(self, name: str) -> Store:
        """Return what asks the server, for the running event loop."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """How many callers of this process are waiting for a slot."""
        return self._queue.waiting

    def bind(self, default_name: str | None) -> None:
        """Take a name from a client, unless one was given. Called by the client.

        :param default_name: see `default_name`; None if the client has nothing to derive it from.
        :raises ConfigurationError: where it is needed and None, or another client has a different one.
        """
        if self._is_own_name:
            return
        if default_name is None:
            raise ConfigurationError(
                f"{type(self).__name__} needs name= with a session token or a callable credential: say which limit "
                "it is, so that all processes that share it use the same name"
            )
        if self.name not in (None, default_name):
            raise ConfigurationError(
                f"a {type(self).__name__} without name= serves clients of one base URL and one API key. Give it a "
                "name, if they share one limit, or make one for each"
            )
        self.name = default_name

    def try_take(self) -> bool:
        """Return False: a look at the server takes a while."""
        return False

    def try_reserve(self, *, first: bool = False) -> Grant | None:
        """Take a slot if one is free at this very moment and nobody waits for it; else return None."""
        with self._lock:
            if not self._links or (self._queue.waiting and self._queue.ahead(first=first)):
                return None
            link = self._links.get(current_loop())
            return None if link is None or self._process != os.getpid() else self._take(link, link.clock(), None)

    def _take(self, link: Link, now: float, started: float | None) -> SharedGrant | None:
        waited = 0.0 if started is None else now - started
        link.settle(now)
        if link.alone is not None:
            if self._on_outage == "local" and link.alone.grant(now):
                return SharedGrant(self, link, None, now, waited)
            return None
        ready = link.take(now)
        return None if ready is None else SharedGrant(self, link, ready, ready.at, waited)

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Grant:
        """Wait for a slot, then take it. The grant must be told when its request is written, or that it will not be.

        Slots are granted in arrival order in each process. A waiter that is cancelled costs nothing.

        :param deadline: absolute seconds on the clock; when the wait would pass it, no slot is taken.
        :param first: go before all of this process who wait. For a request that had a grant, and could not be written
            in time.
        :raises PacingTimeoutError: at once, rather than after the wait; also in an outage, with `on_outage="refuse"`.
        """
        link = self._link()
        started = self._clock()
        with self._lock:
            self._queue.sweep()
            ahead = self._queue.ahead(first=first)
            self._check(started + ahead / self.limit.rate, deadline, started)
            waiter = self._queue.join(first=first)
        try:
            while True:
                grant = await self._next_step(link, waiter, deadline, started)
                if grant is not None:
                    return grant
        finally:
            with self._lock:
                self._queue.leave(waiter)
            if self._closed and not self._queue.waiting:
                self._spawn(link.store.aclose)  # the last who waited may have opened it again

    async def _next_step(
        self, link: Link, waiter: Waiter, deadline: float | None, started: float
    ) -> SharedGrant | None:
        """Return the grant, or wait for what is next: a turn, an answer, or the time of a slot."""
        now = self._clock()
        if not waiter.is_first:
            self._check(now, deadline, now)
            with anyio.move_on_after(None if deadline is None else deadline - now):
                await waiter.turn()
            return None
        link.settle(now)
        if link.probes(now):
            self._ask(link, now, longest=None)
            link.probed(now)
        grant = self._take(link, now, started)
        if grant is not None:
            return grant
        if link.alone is not None:
            await self._wait_alone(link, waiter, deadline, now)
        elif link.asking(now):
            await waiter.sleep(now, link.answer_by, self._sleep)
        elif link.overdue(now):
            self._lost(link, "no answer in time")
        elif link.ready:
            await waiter.sleep(now, link.ready[0].at, self._sleep)
        elif link.too_far is not None and deadline is not None and link.too_far > deadline:
            at, link.too_far = link.too_far, None
            self._check(at, deadline, now)
        elif link.held and now < link.ask_at:
            self._check(link.ask_at, deadline, now)
            await waiter.sleep(now, link.ask_at, self._sleep)
        else:
            self._ask(link, now, longest=None if deadline is None else deadline - now)
        return None

    async def _wait_alone(self, link: Link, waiter: Waiter, deadline: float | None, now: float) -> None:
        if self._on_outage == "refuse":
            raise PacingTimeoutError(
                f'{self._place}, which keeps the rate limit, does not answer, and on_outage is "refuse"; '
                "nothing was sent"
            )
        assert link.alone is not None
        at = link.alone.earliest(now)
        self._check(at if link.joins_at is None else min(at, link.joins_at), deadline, now)
        await waiter.sleep(now, min(at, link.looks_at(now)), self._sleep)

    def _check(self, at: float, deadline: float | None, now: float) -> float:
        if deadline is not None and at > deadline:
            raise PacingTimeoutError(
                f"the shared rate limit of {self.limit.rate:g} a second has no slot for {at - now:.1f} s, past the "
                "deadline; nothing was sent. Raise deadline=, or send less at once"
            )
        return at

    def _ask(self, link: Link, now: float, longest: float | None) -> None:
        """Ask for a slot in a task of its own, so that a caller who is cancelled loses none."""
        wants = not link.held or self._queue.waiting > 1 or link.alone is not None
        question = link.question(now, wants=wants, longest=longest)
        link.begin(now)
        self._spawn(lambda: self._exchange(link, question, now))

    async def _exchange(self, link: Link, question: Question, asked_at: float | None) -> None:
        """Ask, and take the answer in.

        :param asked_at: None for a question that nobody waits for here.
        """
        try:
            with anyio.fail_after(10 * ANSWER_WITHIN):  # nobody waits that long; it only ends what hangs
                answer = await link.store.ask(question)
        except Exception as error:  # noqa: BLE001 - a server can fail in any way
            if asked_at is None or link.asked_at == asked_at:
                self._lost(link, type(error).__name__)
        else:
            was_alone, was_joining = link.alone is not None, link.joins_at is not None
            now = self._clock()
            link.answered(question, answer, asked_at, now)
            if link.joins_at is not None and not was_joining:
                what = "answers again" if was_alone else "has lost its state"
                logger.info("%s %s: the rate limit is shared again in %.2g s", self._place, what, link.joins_at - now)
            elif was_alone and link.alone is None:
                logger.info("%s answers again: the rate limit is shared again", self._place)
            lowest = link.lowest
            if lowest is not None and lowest != self.limit and lowest != self._warned_of:
                self._warned_of = lowest
                logger.warning(
                    "processes share the rate limit %s but not its settings; the lowest hold: %g a second, burst %d",
                    self.name, lowest.rate, lowest.burst,
                )  # fmt: skip
        finally:
            self.wake_first()

    def _lost(self, link: Link, why: str) -> None:
        """Go on without the server."""
        now = self._clock()
        if link.alone is not None and link.joins_at is None:
            link.missed(now)
            return
        share = link.go_alone(now)
        how = (
            f"this process goes on alone at {share.rate:.3g} a second"
            if self._on_outage == "local"
            else "calls are refused"
        )
        logger.warning("%s, which keeps the rate limit, does not answer (%s); %s", self._place, why, how)

    def wake_first(self) -> None:
        """Let the first who waits on this event loop look again."""
        with self._lock:
            self._queue.wake_first(float("-inf"))

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start work that nobody's cancellation ends, but the event loop's own end."""
        loop = current_loop()
        if isinstance(loop, asyncio.AbstractEventLoop):
            task = loop.create_task(work(), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            import trio

            trio.lowlevel.spawn_system_task(work, context=contextvars.Context())

    def _link(self) -> Link:
        if self._closed:
            raise ClientClosedError("the rate limiter is closed; nothing was sent")
        loop = current_loop()
        if self._process != os.getpid():  # closing what the parent uses would disturb it
            self._left_behind += self._links.values()
            self._links.clear()
            self._process = os.getpid()
        link = self._links.get(loop)
        if link is None:
            for old in [old for old in self._links if is_closed(old)]:
                del self._links[old]
            if self.name is None:
                raise ConfigurationError(
                    f"{type(self).__name__} needs name=, as no client has named it: which limit is shared?"
                )
            store = self._connect(self.name)
            link = Link(
                store, self.limit, self._max_retry_after, self._clock, self._on_outage == "local", self._instances
            )
            self._links[loop] = link
        return link

    async def throttled(self, retry_after: float | None) -> None:
        """Pause all processes for `retry_after` seconds, at most `max_retry_after`, and slow them down after it.

        Waits for the server at most 250 ms; this process pauses in any case.
        """
        link = self._link()
        now = self._clock()
        link.void()
        link.settle(now)
        if link.alone is None or link.joins_at is not None:
            question = link.question(now, wants=False, longest=None, pause=pause_of(retry_after, self._max_retry_after))
            told = anyio.Event()

            async def tell() -> None:
                try:
                    await self._exchange(link, question, None)
                finally:
                    told.set()

            self._spawn(tell)
            with anyio.move_on_after(ANSWER_WITHIN) as scope:
                await told.wait()
            if scope.cancelled_caught:
                self._lost(link, "no answer in time")
        if link.alone is not None:
            link.alone.throttled(self._clock(), retry_after)
        with self._lock:
            self._queue.wake_all()

    async def aclose(self) -> None:
        """Close the connections of its own. Idempotent; what waits goes on waiting, and what comes is refused."""
        self._closed = True
        link = self._links.pop(current_loop(), None) if self._process == os.getpid() else None
        if link is not None:
            await link.store.aclose()

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name}"
        limit = self.limit
        return f"<{type(self).__name__}{name} {limit.rate:g}/s, burst {limit.burst}, at {self._place}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} does not pickle: it holds connections. Make one in each process")


def _check_name(name: object) -> None:
    if (
        not isinstance(name, str)
        or not name.strip()
        or len(name) > 200
        or not name.isprintable()
        or set(name) & set("{}")
    ):
        raise ConfigurationError(f"name must be up to 200 printable characters without braces, not {name!r}")
