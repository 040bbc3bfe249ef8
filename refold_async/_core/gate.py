"""Where calls wait, or end, while a circuit breaker is open."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from .._logging import logger
from .._types.errors import CircuitOpenError
from .._types.evidence import Cut, Evidence
from ..policies.circuit import is_outage

if TYPE_CHECKING:
    from ..policies.circuit import CircuitBreaker, Probe
    from .call import Call
    from .lifecycle import Lifecycle


class Gate:
    """Lets calls pass a circuit breaker: all of them while it is closed, and one at a time as the probe while not.

    Who moves it: attempts enter it before they hold anything, and the sender tells it how each has ended. What always
    holds: a call that was let through as the probe ends its probe when its attempt has ended, however that was.

    A probe begins with a read, which costs nothing where the outage goes on: a trigger that times out is ambiguous.
    Only when that was answered, or could not be made, one call goes first: other machines may serve the triggers.
    Calls of an event loop that was closed meanwhile are forgotten, and their probes are dropped.

    :param breaker: may be shared with other clients; their news is looked for every `probe_every` seconds.
    :param life: tells when the client was bound to another loop.
    :param read: makes one read for a call, and returns whether it was answered, with whatever; None if it could not
        be made.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        life: Lifecycle,
        read: Callable[[Call], Awaitable[bool | None]] | None = None,
    ) -> None:
        self._breaker = breaker
        self._life = life
        self._binding = life.bindings
        self._read = read
        self._probes: dict[Call, Probe] = {}
        self._news: anyio.Event | None = None

    def lets(self, call: Call) -> bool:
        """Whether the call may be sent now."""
        return self._breaker.is_closed or call in self._probes

    async def enter(self, call: Call) -> None:
        """Wait until the call may be sent, if it is patient.

        :raises CircuitOpenError: if it is not, and the circuit is open.
        """
        self._forget_closed_loops()
        while not self.lets(call):
            probe = self._breaker.begin_probe()
            if probe is not None and await self._is_answered(call, probe):
                self._probes[call] = probe
                return
            if not call.is_patient:
                raise CircuitOpenError("Refold could not be reached several times in a row: not sent, to spare it")
            self._news = self._news or anyio.Event()
            left = self._breaker.seconds_to_probe()
            with anyio.move_on_after(self._breaker.probe_every if math.isinf(left) else left):
                await self._news.wait()

    async def _is_answered(self, call: Call, probe: Probe) -> bool:
        """Make the read of a probe, and end the probe if that was not answered."""
        if self._read is None:
            return True
        answered: bool | None = None
        self._probes[call] = probe  # from here on, so that it can be forgotten with its loop
        try:
            answered = await self._read(call)
        except BaseException:  # cancelled: another may probe at once
            self._forget(call, probe)
            probe.dropped()
            self._wake()
            raise
        if answered is False:
            self._forget(call, probe)
            probe.failed()
            self._wake()
            return False
        return True

    def _forget(self, call: Call, probe: Probe) -> None:
        if self._probes.get(call) is probe:
            del self._probes[call]

    def _wake(self) -> None:
        """Let those who wait look again."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def tell(self, call: Call, evidence: Evidence, *, is_refold: bool) -> None:
        """Note how an attempt has ended.

        :param is_refold: False for a success that is not Refold's.
        """
        self._forget_closed_loops()
        breaker, probe = self._breaker, self._probes.pop(call, None)
        # Ended from here, it says nothing of Refold, unless the deadline passed while Refold was to answer.
        is_silent = not evidence.reached or (
            evidence.cut is not None
            and evidence.status is None
            and not (evidence.cut is Cut.DEADLINE and evidence.written)
        )
        if is_silent:
            if probe is not None:
                probe.dropped()
        elif not is_outage(status_code=evidence.status, is_refold=is_refold):
            if breaker.record_answer():
                logger.warning("Refold answers again: the circuit breaker closes")
        elif probe is not None:
            probe.failed()
        elif breaker.record_outage():
            logger.warning("Refold cannot be reached: the circuit breaker opens, and calls wait or end at once")
        if probe is not None or breaker.is_closed:
            self._wake()

    def _forget_closed_loops(self) -> None:
        if self._binding == self._life.bindings:
            return
        self._binding = self._life.bindings
        self._news = None
        for probe in self._probes.values():
            probe.dropped()
        self._probes.clear()

    def __repr__(self) -> str:
        return f"<Gate of {self._breaker!r}, probes={len(self._probes)}>"
