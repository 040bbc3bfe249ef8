"""What a rate limiter must do, wherever it keeps its state."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class RateLimiter(Protocol):
    """Paces requests; one may be shared by several clients, or stand for one shared by several processes."""

    async def acquire(self, *, deadline: float | None = None) -> float:
        """Wait for a slot, then charge it; give the seconds waited.

        A waiter that is cancelled before its turn costs nothing; one cancelled after it was granted has spent its
        slot, because the server may already have counted it.

        :param deadline: absolute `time.monotonic()` seconds; when the wait would pass it, no slot is taken.
        :raises PacingTimeoutError: at once, rather than after the wait.
        """
        ...

    def throttled(self, retry_after: float | None) -> None:
        """Take a 429 in: pause for `retry_after` seconds, where the server said so, and slow down."""
        ...
