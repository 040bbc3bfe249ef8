"""Rate limiters of a user's own, with the parts that they leave out."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ..policies.pacing import FRESH_FOR
from ._protocol import Grant, PriorityRateLimiter, RateLimiter


def is_limiter(value: object) -> bool:
    """Whether something can stand in for a `RateLimiter`: it has `reserve` or `acquire`, and `throttled`."""
    return not isinstance(value, type) and (
        callable(getattr(value, "throttled", None))
        and (callable(getattr(value, "reserve", None)) or callable(getattr(value, "acquire", None)))
    )


def adapt(limiter: RateLimiter | Any) -> PriorityRateLimiter:
    """Return a limiter with the whole protocol, which is the one given where that has it.

    What a user's own may leave out: `first=` and `try_reserve`; `reserve`, where it has `acquire(*, deadline=None)`,
    which waits for a slot and charges it; and `aclose`. Its `throttled` may be a plain function.
    """
    reserve = getattr(limiter, "reserve", None)
    if (
        callable(getattr(limiter, "try_take", None))
        and callable(getattr(limiter, "try_reserve", None))
        and reserve is not None
        and _takes_first(reserve)
    ):
        return cast("PriorityRateLimiter", limiter)
    return _Adapted(limiter)


def _takes_first(reserve: Callable[..., Any]) -> bool:
    parameters = inspect.signature(reserve).parameters
    return "first" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


class _Adapted:
    """A user's own limiter with the whole protocol."""

    def __init__(self, limiter: Any) -> None:
        self._limiter = limiter
        self._reserve: Callable[..., Awaitable[Grant]] | None = getattr(limiter, "reserve", None)
        self._takes_first = self._reserve is not None and _takes_first(self._reserve)

    def try_reserve(self, *, first: bool = False) -> Grant | None:
        return None

    def try_take(self) -> bool:
        return False

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Grant:
        if self._reserve is None:
            started = time.monotonic()
            await self._limiter.acquire(deadline=deadline)
            return _Acquired(time.monotonic(), started)
        if self._takes_first:
            return await self._reserve(deadline=deadline, first=first)
        return await self._reserve(deadline=deadline)

    async def throttled(self, retry_after: float | None) -> None:
        told = self._limiter.throttled(retry_after)
        if inspect.isawaitable(told):
            await told

    async def aclose(self) -> None:
        aclose = getattr(self._limiter, "aclose", None)
        if aclose is not None:
            closed = aclose()
            if inspect.isawaitable(closed):
                await closed

    def __repr__(self) -> str:
        return repr(self._limiter)


class _Acquired:
    """A slot of a limiter that charges it at once; one that is not used in time is lost."""

    __slots__ = ("_granted", "waited")

    def __init__(self, granted: float, started: float) -> None:
        self._granted = granted
        self.waited = granted - started

    def is_fresh(self) -> bool:
        return time.monotonic() - self._granted <= FRESH_FOR

    def sent(self) -> None:
        pass

    def dropped(self) -> None:
        pass
