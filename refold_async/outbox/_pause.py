"""When a relay stands still, and when one event goes first to see whether it may go on."""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
from attrs import define

from .._core.plain import was_answered
from .._types.errors import (
    APIError,
    AuthenticationError,
    CallbackError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    InvalidTriggerError,
    OutboxError,
    PacingTimeoutError,
    PermissionDeniedError,
    RefoldError,
    UnexpectedResponseError,
)
from .._types.values import Receipt
from ..policies.circuit import is_outage

_NOT_OF_THE_SERVICE = (
    CallbackError, CircuitOpenError, ClientClosedError, ConfigurationError, InvalidTriggerError, OutboxError,
    PacingTimeoutError,
)  # fmt: skip

_LONGEST = 300.0
"""Seconds between two events that go first, at most. Each may cost a held one, while only reads are answered."""


class ReadingClient(Protocol):
    """What probing needs of a `RefoldClient`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        retry: Any = None,
        timeout: Any = None,
        deadline: float | None = None,
    ) -> Any:
        """Make one request."""


class PauseState(enum.Enum):
    """What a relay may do."""

    RUNNING = "running"
    """All may be sent."""
    PAUSED = "paused"
    """Nothing may be sent. Once the pause is over a read probes, or one event goes first."""
    TRYING = "trying"
    """One event goes first; nothing else."""


@define(eq=False)
class Pause:
    """Five failures in a row to reach Refold, or one refused key, pause the relay.

    | state | five outages in a row, all places in doubt, or 401 or 403 | an answer | its time is over |
    | --- | --- | --- | --- |
    | RUNNING | PAUSED | RUNNING | – |
    | PAUSED | PAUSED | PAUSED | TRYING, in an outage once a read was answered |
    | TRYING | PAUSED, twice as long, by any outage | RUNNING | – |

    An answer to a call that began before the last failure says nothing of the time after it. So it ends no pause, and
    gives no place back.

    Reads probe an outage, because an event that goes first may end up held. A key that is refused costs nothing, so
    one event goes first without a read.

    :ivar doubts: the failures since which no call began and was answered. Each keeps a place empty: what took it
        might be held as well.
    :param read: makes one read, and returns whether it was answered.
    :param places: how many calls are under way at most.
    :param probe_every: seconds from the pause to the first probe, and between reads.
    """

    read: Callable[[], Awaitable[bool]]
    places: int
    probe_every: float = 5.0
    failures: int = 5
    state: PauseState = PauseState.RUNNING
    since: float = 0.0
    doubts: int = 0
    _in_a_row: int = 0
    _failed_at: float = -math.inf
    _hold: float = 0.0
    _not_before: float = 0.0
    _is_outage: bool = False

    def record(self, ending: Receipt | RefoldError | None, began: float) -> PauseState:
        """Learn from the end of a call: its receipt or its own error. Returns the state as it is now.

        :param began: when the call began.
        """
        meaning = _meaning(ending)
        if meaning is None:
            if self.state is PauseState.TRYING:  # it told nothing: another one goes first
                self._pause(1.0)
        elif meaning == "answer":
            if began >= self._failed_at:
                self._in_a_row, self._hold, self.doubts, self.state = 0, 0.0, 0, PauseState.RUNNING
            elif self.state is PauseState.RUNNING:
                self._in_a_row = 0
        else:
            self._in_a_row += 1
            self.doubts += 1
            self._failed_at = anyio.current_time()
            is_key = meaning == "key"
            is_enough = self._in_a_row >= self.failures or self.doubts >= max(self.places, self.failures)
            if self.state is PauseState.TRYING or is_key or is_enough:
                if self.state is PauseState.RUNNING:
                    self.since = anyio.current_time()
                    self._hold = 0.0
                if self.state is not PauseState.PAUSED:
                    self._hold = min(_LONGEST, 2 * self._hold or self.probe_every)
                    self._is_outage = not is_key
                    self._pause(self._hold)
        return self.state

    def seconds(self) -> float:
        """Return how long to wait before `go_on`; infinity while there is nothing to wait for."""
        if self.state is not PauseState.PAUSED:
            return math.inf
        return max(0.0, self._not_before - anyio.current_time())

    async def go_on(self) -> None:
        """Once the time of the pause is over: probe, and let one event go first if that was answered."""
        if self.state is not PauseState.PAUSED or self.seconds() > 0:
            return
        if self._is_outage and not await self.read():
            self._pause(self.probe_every)
        elif self.state is PauseState.PAUSED:
            self.state = PauseState.TRYING

    def _pause(self, seconds: float) -> None:
        self.state = PauseState.PAUSED
        self._not_before = anyio.current_time() + seconds


async def read_once(client: ReadingClient) -> bool:
    """Make one read; return whether Refold answered it, with whatever, or it could not be made at all."""
    try:
        await client.request(
            "GET", "/api/v2/public/execution", params={"limit": "1"}, retry=None, timeout=10.0, deadline=10.0
        )
    except RefoldError as error:
        return was_answered(error) is not False
    return True


def _meaning(ending: Receipt | RefoldError | None) -> str | None:
    """Return what an ending says of the service: "answer", "key", "outage"; None for nothing."""
    if isinstance(ending, Receipt):
        return "answer"
    if ending is None or isinstance(ending, _NOT_OF_THE_SERVICE):
        return None
    if isinstance(ending, AuthenticationError | PermissionDeniedError):
        return "key"
    status = ending.status_code if isinstance(ending, APIError | UnexpectedResponseError) else None
    is_refold = not isinstance(ending, UnexpectedResponseError)
    return "outage" if is_outage(status_code=status or None, is_refold=is_refold) else "answer"
