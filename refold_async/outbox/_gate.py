"""Where events wait while Refold cannot be reached: one gate for each relay, and for each worker process."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

import anyio
from attrs import define, field

from .._logging import logger
from .._types.errors import CircuitOpenError, RefoldError, RetryLater
from .._types.values import Receipt
from ._delivery import Pass
from ._events import RelayHook, RelayPaused, RelayResumed
from ._pause import Pause, PauseState
from ._telling import tell

_SHORTEST, _LONGEST = 10.0, 60.0
"""Seconds until an event that was turned away is tried again; in between, as long as the pause has been."""

PATIENCE: Final = 5.0
"""Seconds that a worker's job waits at a closed gate. So a worker turns away a few jobs a second, however many there
are, and its other tasks get their turn."""


@define(eq=False)
class Gate:
    """Lets events through while `pause` allows it, and tells it how they end.

    Each event enters before its call and leaves after it. What always holds: while the pause tries, one event is
    through; the first byte of an event is not written in a pause, however long it has waited for its slot of the rate
    limit; and no more events are through than ever were at once, less one for each failure since the last answer.

    :param name: who pauses, in the log.
    :param hooks: are told of the pause and of its end.
    :param patience: seconds that an event waits here. Whoever waits probes, one at a time.
    :param resumed: is called when the pause is over.
    """

    pause: Pause
    name: str
    hooks: Iterable[RelayHook] = ()
    patience: float = 0.0
    resumed: Callable[[], None] = lambda: None
    _first: Pass | None = None
    """The call that goes first."""
    _inside: int = 0
    """How many have entered, and not left."""
    _is_probing: bool = False
    _moved: anyio.Event = field(factory=anyio.Event)

    async def enter(self) -> Pass:
        """Wait until one more event may go; then it must `leave`.

        :raises RetryLater: when it may not within the gate's patience.
        """
        until, has_probed = anyio.current_time() + self.patience, False
        while not self._may_go():
            left, wait, moved = until - anyio.current_time(), self.pause.seconds(), self._moved
            if wait <= 0 and not self._is_probing and (left > 0 or not has_probed):
                await self._probe()
                has_probed = True
            elif left <= 0:
                raise self._later()
            else:
                with anyio.move_on_after(left if self._is_probing else min(left, wait)):
                    await moved.wait()
        one = Pass(anyio.current_time())
        if self.pause.state is PauseState.TRYING:
            self._first = one
        self._inside += 1
        self.pause.places = max(self.pause.places, self._inside)
        return one

    def check(self, one: Pass) -> None:
        """Check that an event that has entered may still go.

        :raises CircuitOpenError: if the pause has begun since.
        """
        if self.pause.state is not PauseState.RUNNING and one is not self._first:
            raise CircuitOpenError("Refold could not be reached several times in a row; the event waits")

    def leave(self, one: Pass, ending: Receipt | RefoldError | None) -> None:
        """Learn from the end of an event's call: its receipt or its own error; None if it says nothing of Refold."""
        self._inside -= 1
        is_first, before = one is self._first, self.pause.state
        if is_first:
            self._first = None
        elif ending is None and before is PauseState.TRYING:
            return  # another one goes first, and will tell
        after = self.pause.record(ending, one.began)
        if before is PauseState.RUNNING and after is PauseState.PAUSED and isinstance(ending, RefoldError):
            logger.error("%s pauses, and the events wait: %s", self.name, ending)
            tell(self.hooks, RelayPaused(ending))
        elif before is not PauseState.RUNNING and after is PauseState.RUNNING:
            seconds = anyio.current_time() - self.pause.since
            logger.warning("%s goes on after %.0f s", self.name, seconds)
            self.resumed()
            tell(self.hooks, RelayResumed(seconds))
        self._move()

    def _may_go(self) -> bool:
        if self.pause.state is PauseState.RUNNING:
            return not self.pause.doubts or self._inside < max(1, self.pause.places - self.pause.doubts)
        return self.pause.state is PauseState.TRYING and self._first is None

    async def _probe(self) -> None:
        self._is_probing = True
        try:
            await self.pause.go_on()
        finally:
            self._is_probing = False
            self._move()

    def _later(self) -> RetryLater:
        age = 0.0 if self.pause.state is PauseState.RUNNING else anyio.current_time() - self.pause.since
        age = min(_LONGEST, max(_SHORTEST, age))
        return RetryLater("Refold cannot be reached; the event waits", delay=age * random.uniform(0.5, 1.0))

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
