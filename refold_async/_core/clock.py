"""The clocks of the core: one for deadlines, one for dates."""

from __future__ import annotations

import asyncio
import time

from .._wire.loops import clock_of

monotonic = time.monotonic
"""Bound once, as the limiters' and budgets' clocks are, so that all of them agree where a test freezes `time`."""


def _trio_time() -> float:
    import anyio

    return anyio.current_time()


class LoopClock:
    """The time of the running event loop, on which the deadlines of calls are.

    asyncio's loops go by `time.monotonic`, uvloop with a little delay; one made for tests may have a pace of its own.
    Deadlines are handed to limiters on `monotonic`, which is theirs.
    """

    __slots__ = ("_is_own", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.now = _trio_time if loop is None else clock_of(loop)
        self._is_own = abs(self.now() - monotonic()) > 1.0

    def to_monotonic(self, at: float) -> float:
        """Convert a time of the loop's to one of `monotonic`."""
        return at + (monotonic() - self.now()) if self._is_own else at
