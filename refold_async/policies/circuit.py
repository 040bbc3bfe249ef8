"""When to stop sending because Refold cannot be reached, and when to look whether it can be again."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import define, field


class CircuitState(enum.Enum):
    """What a `CircuitBreaker` allows."""

    CLOSED = "closed"
    """Everything may be sent."""
    OPEN = "open"
    """Nothing may be sent. A probe may begin once it is due."""
    PROBING = "probing"
    """Nothing may be sent but the one probe that is under way."""


class _Event(enum.Enum):
    OPENED = "so many failures in a row"
    ANSWERED = "an answer"
    PROBE_BEGUN = "a probe was begun"
    PROBE_FAILED = "the probe met the outage"
    PROBE_DROPPED = "the probe ended without an answer to its question"


_TRANSITIONS: Final[Mapping[CircuitState, Mapping[_Event, CircuitState]]] = MappingProxyType(
    {
        CircuitState.CLOSED: {
            _Event.OPENED: CircuitState.OPEN,
            _Event.ANSWERED: CircuitState.CLOSED,
        },
        CircuitState.OPEN: {
            _Event.ANSWERED: CircuitState.CLOSED,  # to an attempt that was under way when it opened
            _Event.PROBE_BEGUN: CircuitState.PROBING,
        },
        CircuitState.PROBING: {
            _Event.ANSWERED: CircuitState.CLOSED,
            _Event.PROBE_FAILED: CircuitState.OPEN,
            _Event.PROBE_DROPPED: CircuitState.OPEN,
        },
    }
)


def is_outage(*, status_code: int | None, is_refold: bool = True) -> bool:
    """Whether an attempt that ended like this counts as a failure of the service, and not of what was sent.

    :param status_code: of the response; None where there was none: it could not connect, timed out or broke off.
    :param is_refold: False for a success that is not Refold's, such as a maintenance page.
    """
    if status_code is None or not is_refold:
        return True
    return status_code >= 500 and status_code != 501


@define(eq=False)
class Probe:
    """The permission to make one request while the circuit is open. Its holder must end it, in one of three ways.

    A probe that is no longer the current one, because the circuit was closed meanwhile, changes nothing by failing.
    """

    _breaker: CircuitBreaker

    def succeeded(self) -> None:
        """Close the circuit: the service answered."""
        self._breaker.record_answer()

    def failed(self) -> None:
        """Leave it open; the next probe is due `probe_every` seconds from now."""
        self._breaker._end_probe(self, _Event.PROBE_FAILED)  # noqa: SLF001 - a part of the breaker

    def dropped(self) -> None:
        """Leave it open, and let another probe begin at once: this one was cancelled, or never sent."""
        self._breaker._end_probe(self, _Event.PROBE_DROPPED)  # noqa: SLF001 - a part of the breaker


@define(eq=False, repr=False)
class CircuitBreaker:
    """Opens after `failures` attempts in a row that met an outage, and closes at the first answer.

    One breaker may serve several clients of the same service on one event loop; it has no lock.

    | state | `record_outage` | `record_answer` | `begin_probe` | probe failed | probe dropped |
    | --- | --- | --- | --- | --- | --- |
    | CLOSED | OPEN at the `failures`-th in a row | CLOSED | refused | – | – |
    | OPEN | OPEN | CLOSED | PROBING once it is due | – | – |
    | PROBING | PROBING | CLOSED | refused | OPEN | OPEN, due at once |

    Who moves it: the sender tells it of each attempt (`record_outage`, `record_answer`), and callers that wait at the
    open circuit begin the probes. What always holds: at most one probe is under way; two probes begin at least
    `probe_every` seconds apart unless the first was dropped; only an answer closes it.

    :param failures: how many attempts in a row must meet an outage; 1 or more.
    :param probe_every: seconds from the opening, or from a failed probe, to the next probe.
    :param clock: seconds, monotonic.
    :raises ValueError: for numbers that make no sense.
    """

    failures: int = field(default=5)
    probe_every: float = field(default=5.0)
    _clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _state: CircuitState = field(default=CircuitState.CLOSED, init=False)
    _in_a_row: int = field(default=0, init=False)
    _due: float = field(default=-math.inf, init=False)
    _probe: Probe | None = field(default=None, init=False)

    @failures.validator
    def _check_failures(self, _: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"failures must be a whole number, 1 or more, not {value!r}")

    @probe_every.validator
    def _check_probe_every(self, _: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"probe_every must be a number of seconds above 0, not {value!r}")

    @property
    def state(self) -> CircuitState:
        """What it allows now."""
        return self._state

    @property
    def is_closed(self) -> bool:
        """Whether everything may be sent."""
        return self._state is CircuitState.CLOSED

    def record_outage(self) -> bool:
        """Count an attempt that met an outage (see `is_outage`). Returns True if this one opened the circuit."""
        if self._state is not CircuitState.CLOSED:
            return False  # it was under way when the circuit opened, and says nothing new
        self._in_a_row += 1
        if self._in_a_row < self.failures:
            return False
        self._due = self._clock() + self.probe_every
        self._move(_Event.OPENED)
        return True

    def record_answer(self) -> bool:
        """Count an attempt that the service answered, with whatever. Returns True if this one closed the circuit."""
        closed = self._state is not CircuitState.CLOSED
        self._in_a_row = 0
        self._probe = None
        self._move(_Event.ANSWERED)
        return closed

    def seconds_to_probe(self) -> float:
        """Return how long until a probe may begin: 0 if it may now, infinity while one is under way or none is needed.

        Whoever waits for that long asks again: the circuit may have closed, or the probe may be somebody else's.
        """
        if self._state is not CircuitState.OPEN:
            return math.inf
        return max(0.0, self._due - self._clock())

    def begin_probe(self) -> Probe | None:
        """Return the permission to make one request, or None if none is due."""
        if self._state is not CircuitState.OPEN or self._clock() < self._due:
            return None
        self._probe = Probe(self)
        self._move(_Event.PROBE_BEGUN)
        return self._probe

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self._state.value}, failures={self.failures}, probe_every={self.probe_every}>"

    def _end_probe(self, probe: Probe, event: _Event) -> None:
        if probe is not self._probe:
            return
        self._probe = None
        if event is _Event.PROBE_FAILED:
            self._due = self._clock() + self.probe_every
        self._move(event)

    def _move(self, event: _Event) -> None:
        self._state = _TRANSITIONS[self._state][event]
