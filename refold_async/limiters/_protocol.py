"""What a rate limiter must do, wherever it keeps its state."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Grant(Protocol):
    """A slot that was granted for one request, to be told once that it was `sent`, or `dropped`.

    What is told after the first time changes nothing. A grant that is garbage collected untold counts as sent then.
    """

    @property
    def waited(self) -> float:
        """Seconds from the call of `reserve` to the grant."""
        ...

    def is_fresh(self) -> bool:
        """Whether the request may be written now: not once 20 ms have passed, or a 429 has paused the limiter."""
        ...

    def sent(self) -> None:
        """Report that the request is being written now."""
        ...

    def dropped(self) -> None:
        """Report that the request will not be written with this grant: the slot goes to the next."""
        ...


@runtime_checkable
class RateLimiter(Protocol):
    """Paces requests; one may be shared by several clients, or stand for one shared by several processes."""

    async def reserve(self, *, deadline: float | None = None) -> Grant:
        """Wait for a slot, then take it.

        A waiter that is cancelled costs nothing.

        :param deadline: absolute `time.monotonic()` seconds; when the wait would pass it, no slot is taken.
        :raises PacingTimeoutError: at once, rather than after the wait.
        """
        ...

    async def throttled(self, retry_after: float | None) -> None:
        """Take a 429 in: pause for `retry_after` seconds, where the server said so, and slow down."""
        ...

    async def aclose(self) -> None:
        """Close connections of its own. Idempotent."""
        ...


class PriorityRateLimiter(RateLimiter, Protocol):
    """What this library's own limiters do beyond the protocol, and `adapt` adds to others."""

    def try_reserve(self, *, first: bool = False) -> Grant | None:
        """Take a slot if one is free at this very moment and nobody waits for it; else return None."""
        ...

    def try_take(self) -> bool:
        """Take a slot for a request that is written at this very moment; False if that takes more than a look."""
        ...

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Grant:
        """Wait for a slot, then take it.

        :param first: go before all who wait. For a request that had a grant, and could not be written in time.
        """
        ...
