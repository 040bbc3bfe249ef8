"""One attempt in steps: credential, slot, pace, connection, `before_send`, and then the write."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import httpx

from .._types.errors import CallbackError, RefoldError
from .._types.evidence import NOT_REACHED, Cut, Evidence
from .._types.filling import filled
from .._wire.connection import Connection
from .._wire.flight import Flight
from .._wire.httpx_wire import HttpxExchange
from .._wire.loops import cancellations, ends_program, is_cancellation
from ..limiters import Grant, PriorityRateLimiter
from .call import Call, CallState
from .settings import BeforeSend, Sending
from .slots import FairSemaphore
from .usercode import call_logged, call_now, wait_for_result

if TYPE_CHECKING:
    from .._wire.pool import Pool
    from .gate import Gate
    from .sender import Sender

_, _, _PREPARING, _ON_WIRE, _, _ = CallState  # looked up once, as in `call`


class Attempt:
    """One attempt of a call, as a sequence of steps, each of which may have to wait.

    What always holds: a connection and a grant that are in hand are given back, whatever ends the attempt before its
    write; and nothing is written without a grant that is fresh, where there is a limiter.

    The steps of the pace: connection in hand, then a slot of the limiter, `before_send`, one look at the grant, write.
    An idle connection counts as in hand. Where one has to be opened, the grant is returned meanwhile, so that a slow
    handshake holds up nobody else.
    """

    __slots__ = (
        "_call", "_connection", "_goes_first", "_grant", "_has_credential", "_has_slot", "_pool", "_sender", "_untold",
        "_waited",
    )  # fmt: skip

    def __init__(self, sender: Sender, call: Call) -> None:
        self._sender = sender
        self._call = call
        self._has_credential = not sender.credential.rotates
        self._has_slot = call.slots is not None
        self._goes_first = False
        self._untold = self._callbacks()
        self._pool: Pool | None = None
        self._connection: Connection | None = None
        self._grant: Grant | None = None
        self._waited = 0.0

    async def run(self) -> Evidence:
        """Make the attempt, and return its evidence.

        :raises BaseException: only cancellation from outside, and what ends a program.
        """
        call, life = self._call, self._sender.life
        if call.state is not _PREPARING:
            call.move(_PREPARING)
        call.exchange = None
        task: asyncio.Task[Any] | None = None
        cancelling = 0
        has_awaited = False
        evidence: Evidence | None = None
        flight: Flight | None = None
        try:
            waiting = self._step()
            if waiting is None and self._pool is not None and call.interrupted is None:  # all was at hand
                flight = self._launch()
            else:
                has_awaited = True
                if life.loop is not None:
                    task = asyncio.current_task()
                    cancelling = cancellations(task)
                flight, evidence = await self._go_on(waiting)
        except RefoldError as error:
            evidence = NOT_REACHED._replace(error=error)
        except httpx.HTTPError as error:  # of opening the connection, or of its write: nothing left
            evidence = Evidence(written=False, error=error)
            call.exchange = None
        except BaseException as error:
            if ends_program(error) or isinstance(error, GeneratorExit):
                raise
            # On asyncio a task that is being cancelled says so; a cancellation without that came from foreign code,
            # and so did one before anything was awaited.
            if is_cancellation(error) and has_awaited and (task is None or task.cancelling() > cancelling):
                raise
            evidence = self._foreign_failure(error)
        finally:
            if self._grant is not None or self._connection is not None:
                self._give_back()
            if flight is None and (evidence is None or evidence.status != 429):
                call.release_slot()
        if flight is not None:
            evidence = await flight.future
        assert evidence is not None
        return evidence

    async def _go_on(self, waiting: Coroutine[Any, Any, None] | None) -> tuple[Flight, None] | tuple[None, Evidence]:
        """Take the steps that have to be awaited, where the call's deadline and owner can end them; then write."""
        flight: Flight | None = None
        evidence: Evidence | None = None
        with self._sender.life.scope_of(self._call) as scope:
            while waiting is not None:
                await waiting
                if scope.cut is not None:  # and code of the user's own has swallowed the cancellation
                    return None, self._cut(scope.cut)
                waiting = self._step()
            cut = scope.cut
            if cut is not None:  # while code of the caller's own ran, or held a cancellation back
                evidence = self._cut(cut)
            elif self._pool is not None:
                flight = self._launch()
            else:
                evidence = await self._send_by_httpx()
        if flight is not None:
            return flight, None
        return None, evidence or self._cut(scope.cut or Cut.CANCELLED)  # None if the scope was ended from outside

    def _foreign_failure(self, error: BaseException) -> Evidence:
        """Return the evidence of an attempt that was ended by a failure of code of the caller's own."""
        exchange = self._call.exchange
        if exchange is not None:
            failed = RuntimeError(f"{type(error).__name__} was raised during the attempt")
            failed.__cause__ = error
            return exchange.abandon(Cut.CANCELLED)._replace(cut=None, error=failed)
        failure = CallbackError(f"the rate limiter raised {type(error).__name__}; nothing was sent")
        failure.__cause__ = error
        return NOT_REACHED._replace(error=failure)

    def _cut(self, cut: Cut) -> Evidence:
        exchange = self._call.exchange
        return NOT_REACHED._replace(cut=cut) if exchange is None else exchange.abandon(cut)

    def _step(self) -> Coroutine[Any, Any, None] | None:
        """Do what can be done towards the write. Returns what has to be awaited before the next step; None if ready."""
        sender, call = self._sender, self._call
        life, limiter, gate = sender.life, sender.limiter, sender.gate
        if gate is not None and not gate.lets(call):
            self._give_back()
            call.release_slot()
            self._has_slot = False
            return self._wait_at(gate)
        if not self._has_credential:  # before anything is held: the answer may take a while
            self._has_credential = True
            return self._refresh()
        if not self._has_slot:
            slots = sender.slots
            if slots is not None and not slots.try_acquire():
                return self._acquire(slots)
            self._has_slot = True
            call.slots = slots
        if self._pool is None:
            self._pool = life.own_pool()
        while True:
            waiting = self._take_in_hand(limiter)
            if waiting is not None:
                return waiting
            while self._untold:
                result = call_now("before_send", self._untold.pop(0), self._sending())
                if result is not None and inspect.isawaitable(result):
                    return wait_for_result("before_send", result)
            if self._is_in_hand():
                self._tell_waited()
                return None
            if limiter is not None and self._grant is None:
                # Once around the event loop: a limiter whose grants are never fresh must not stop deadlines.
                return anyio.lowlevel.checkpoint()

    def _take_in_hand(self, limiter: PriorityRateLimiter | None) -> Coroutine[Any, Any, None] | None:
        """Take a grant and a connection. Returns what has to be awaited for one; None if both are in hand."""
        if limiter is None:
            self._call.resume_deadline(self._sender.life.clock.now())  # there is no pace to wait for
        elif self._grant is None:
            grant = limiter.try_reserve(first=self._goes_first)
            if grant is None:
                return self._reserve(limiter)
            self._take(grant)
        if self._pool is not None and self._connection is None:
            self._connection = self._pool.take_idle(self._sender.life.origin)
            if self._connection is None:
                self._drop_grant()
                return self._open(self._pool)
        return None

    def _tell_waited(self) -> None:
        if self._waited > 0 and (hooks := self._sender.settings.hooks):
            hooks.rate_limit_waited(self._call, self._waited)

    def _is_in_hand(self) -> bool:
        """Look whether grant and connection are still good, now that everybody was told; drop what is not."""
        if self._grant is not None and not self._grant.is_fresh():
            self._drop_grant()
            return False
        if self._connection is not None and not self._connection.is_usable():
            self._connection.abort()
            self._connection = None
            self._untold = self._callbacks()
            return False
        return True

    def _callbacks(self) -> list[BeforeSend]:
        """Return what is to be called before the write: the client's `before_send`, then the call's own."""
        first, then = self._sender.settings.before_send, self._call.before_send
        callbacks = [] if first is None else [first]
        if then is not None:
            callbacks.append(then)
        return callbacks

    async def _refresh(self) -> None:
        """Ask for the credential, while the deadline runs: it stands still for the rate limit alone."""
        call, clock = self._call, self._sender.life.clock
        call.resume_deadline(clock.now())
        await self._sender.credential.refresh()
        call.pause_deadline(clock.now())

    async def _wait_at(self, gate: Gate) -> None:
        call, clock = self._call, self._sender.life.clock
        call.pause_deadline(clock.now())
        await gate.enter(call)
        call.resume_deadline(clock.now())

    async def _acquire(self, slots: FairSemaphore) -> None:
        await slots.acquire()
        self._has_slot = True
        self._call.slots = slots

    async def _reserve(self, limiter: PriorityRateLimiter) -> None:
        call, clock = self._call, self._sender.life.clock
        call.pause_deadline(clock.now())
        deadline = None if call.deadline == math.inf else clock.to_monotonic(call.deadline)
        if self._goes_first:  # a grant went stale: should each one do so, then others have their turn all the same
            await anyio.lowlevel.checkpoint()
        self._take(await limiter.reserve(deadline=deadline, first=self._goes_first))

    def _take(self, grant: Grant) -> None:
        self._waited += grant.waited  # before it is held: what is no grant cannot be given back
        self._goes_first = True  # from now on: this one had its turn
        self._grant = grant
        if self._call.is_patient:
            self._call.resume_deadline(self._sender.life.clock.now())

    async def _open(self, pool: Pool) -> None:
        self._connection = await pool.acquire(self._sender.life.origin, self._call.timeout.as_dict())

    def _drop_grant(self) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            told: Any = getattr(grant, "dropped", None)
            call_logged("the grant's dropped()", told)

    def _sending(self) -> Sending:
        call = self._call
        request = call.request
        assert request is not None
        return filled(
            Sending,
            {
                "call_id": call.id,
                "trigger": call.trigger,
                "attempt": call.attempt,
                "idempotency_key": request.key,
                "linked_account_id": request.account,
                "config_id": request.config,
                "instance_tag": request.instance_tag,
                "token": request.token,
            },
        )

    def _launch(self) -> Flight:
        """Write the request on the connection in hand.

        :raises httpx.WriteError: when nothing was written.
        """
        sender, call = self._sender, self._call
        connection, pool, request, timer = self._connection, self._pool, call.request, sender.life.timer
        assert connection is not None and pool is not None  # noqa: PT018 - both narrow a type
        assert request is not None and timer is not None  # noqa: PT018
        now = sender.life.clock.now()
        before = call.first_sent
        sender.launcher.mark_sent(call, now)
        flight = Flight(asyncio.Future(loop=pool.loop), timer, call.timeout, call.deadline, call)
        self._connection = None
        call.exchange = flight
        call.move(_ON_WIRE)
        try:
            flight.launch(connection, request, now)
        except httpx.WriteError:
            call.first_sent = before
            raise
        self._tell_sent()
        return flight

    def _tell_sent(self) -> None:
        """Tell the limiter that the grant is used. A limiter that fails now changes nothing: the request is out."""
        grant, self._grant = self._grant, None
        if grant is not None:
            told: Any = getattr(grant, "sent", None)
            call_logged("the grant's sent()", told)

    async def _send_by_httpx(self) -> Evidence:
        sender, call = self._sender, self._call
        request = call.request
        assert request is not None
        exchange = HttpxExchange(
            sender.life.session,
            request,
            is_owned=sender.life.plan.is_owned,
            timeout=call.timeout.as_dict(),
            before_write=self._before_write,
            max_response_bytes=call.max_response_bytes,
        )
        call.exchange = exchange
        call.move(_ON_WIRE)
        return await exchange.run()

    def _before_write(self) -> None:
        self._sender.launcher.mark_sent(self._call, self._sender.life.clock.now())
        self._tell_sent()

    def _give_back(self) -> None:
        if self._grant is not None:
            self._drop_grant()
        connection, self._connection = self._connection, None
        if connection is not None and self._pool is not None:
            self._pool.release(connection, reusable=not connection.is_closed)
