"""Waiting while Refold cannot be reached: rows wait, reads probe, and one row goes first."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from attrs import define, field

from ... import CircuitBreaker, CircuitOpenError, Delivery, RefoldClient
from ...hooks import AttemptFinished, HookEvent
from ...policies.circuit import Probe, is_outage
from ...policies.verdict import causes
from ..console.words import duration, spelled

_LONGEST_HOLD: Final = 300.0
"""Seconds between two rows that go first, at most. Each may cost a row while only reads are answered."""

_READ_TIMEOUT: Final = 10.0
"""Seconds for a read that probes."""

_PERMANENT_LOOKUP_ERRORS: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

_NOT_OF_THE_SERVICE: Final = frozenset(
    {
        "CallbackError", "CircuitOpenError", "ClientClosedError", "JournalError", "PacingTimeoutError", "RowHeldError",
        "WindowPassedError",
    }
)  # fmt: skip
"""Errors of attempts that never went out."""


@define(eq=False)
class Outage:
    """The circuit breaker of a batch, and whoever probes it.

    While the circuit is open no row is handed out, and an attempt that has not begun is not made. After each
    `probe_every` seconds one read is made. Once a read was answered one row goes first, because reads and triggers may
    be served by different machines; the answer to it closes the circuit. If that row meets the outage as well, the next
    one goes first after twice the time.

    :param host: what is named when it cannot be reached.
    :param read: makes one read, and returns the status that answered it, or raises.
    :param say: prints a line.
    :param changed: is called when rows may go that could not before.
    :param on_unreachable: is told why the first read of an outage was not answered.
    :ivar answered: whether the service ever answered in this run.
    """

    breaker: CircuitBreaker
    host: str
    read: Callable[[], Awaitable[int]]
    say: Callable[[str], None]
    changed: Callable[[], None]
    on_unreachable: Callable[[Exception], None]
    answered: bool = False
    _since: float = 0.0
    _hold: float = 0.0
    _not_before: float = 0.0
    _has_read: bool = False
    _probe: Probe | None = None
    _first: int | None = None
    """The line of the row that goes first; 0 while none was taken yet."""
    _moved: anyio.Event = field(factory=anyio.Event)

    def watch(self, event: HookEvent) -> None:
        """Learn from an attempt of any row; a hook of the client."""
        if not isinstance(event, AttemptFinished) or event.error in _NOT_OF_THE_SERVICE:
            return
        status = event.status_code
        if status is None and event.error is None:
            return  # it was cut short from here; of a deadline that passed `record_deadline` is told
        is_refold = not (status is not None and 200 <= status < 300 and event.delivery is Delivery.AMBIGUOUS)
        if not is_outage(status_code=status, is_refold=is_refold):
            self.answered = True
            if self.breaker.record_answer():
                self._close()
        else:
            self._record(
                f"answered {status}" if event.error is None else f"could not be reached ({spelled(event.error)})"
            )

    def record_deadline(self) -> None:
        """Learn from a row whose deadline passed without an answer."""
        self._record("could not be reached (no answer within --deadline)")

    def _record(self, how: str) -> None:
        if self.breaker.record_outage():
            self.say(
                f"{self.host} {how}, {self.breaker.failures} times in a row: pausing. The rows wait, and a read tries "
                f"every {duration(self.breaker.probe_every)} whether it works again."
            )
            self._since = anyio.current_time()
            self._move()

    @property
    def seconds(self) -> float | None:
        """How long the circuit has been open; None while it is closed."""
        return None if self.breaker.is_closed else anyio.current_time() - self._since

    def may_go(self) -> bool:
        """Whether a row may be handed out now."""
        return self.breaker.is_closed or self._first == 0

    def goes(self, line: int) -> None:
        """Record that a row was handed out."""
        if not self.breaker.is_closed and self._first == 0:
            self._first = line

    def check(self, line: int) -> None:
        """Check whether an attempt of a row may be made now.

        :raises CircuitOpenError: while the circuit is open, unless it is the row that goes first.
        """
        if not self.breaker.is_closed and self._first != line:
            raise CircuitOpenError("Refold could not be reached several times in a row; the row waits")

    def ended(self, line: int) -> None:
        """Record that a row has ended, after `watch` was told of its attempts."""
        if line == self._first and self._probe is not None:
            self._hold = min(_LONGEST_HOLD, 2 * (self._hold or self.breaker.probe_every))
            self._not_before = anyio.current_time() + self._hold
            self._probe.failed()
            self._probe = self._first = None
            self._move()

    async def run(self) -> None:
        """Probe whenever the circuit is open, until cancelled."""
        while True:
            moved = self._moved
            wait = max(self.breaker.seconds_to_probe(), self._not_before - anyio.current_time())
            if wait <= 0:
                await self._try()
            else:
                with anyio.move_on_after(wait):
                    await moved.wait()

    async def _try(self) -> None:
        probe = self.breaker.begin_probe()
        if probe is None:
            return
        try:
            status = await self.read()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing answered
            probe.failed()
            if not self._has_read:
                self.on_unreachable(error)
        except BaseException:
            probe.dropped()
            raise
        else:
            if is_outage(status_code=status):
                probe.failed()
            elif not self.breaker.is_closed:
                self._probe, self._first = probe, 0
                self.changed()
        self._has_read = True

    def _close(self) -> None:
        self.say(f"{self.host} answers again after {duration(anyio.current_time() - self._since)}: going on.")
        self._hold, self._not_before, self._probe, self._first, self._has_read = 0.0, 0.0, None, None, False
        self._move()
        self.changed()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


def reader(client: RefoldClient) -> Callable[[], Awaitable[int]]:
    """Return a function that makes one read, and returns the status that answered it, or raises what kept it from that.

    It carries no credential: any answer but 5xx will do.
    """

    async def read() -> int:
        session = client.session
        url = session.base_url.copy_with(path=session.base_url.path.rstrip("/") + "/api/v2/public/execution")
        with anyio.fail_after(_READ_TIMEOUT):
            response = await session.get(url, params={"limit": "1"}, timeout=_READ_TIMEOUT)
        return response.status_code

    return read


def is_permanent(error: BaseException) -> bool:
    """Whether it could not connect for a reason that does not pass by itself: the host's name, or its certificate."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError)
        or (isinstance(cause, socket.gaierror) and cause.errno in _PERMANENT_LOOKUP_ERRORS)
        for cause in causes(error)
    )
