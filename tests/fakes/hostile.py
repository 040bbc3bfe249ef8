"""What code of the user's own can raise and return that nobody would expect, and a limiter that does so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import httpx

from refold_async import Delivery


class Abort(BaseException):
    """What a framework raises to get through `except Exception`."""


class OddError(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise KeyError("str")

    __repr__ = __str__


class AwaitableThatYieldsJunk:
    def __await__(self) -> Generator[Any, Any, None]:
        yield 5


class AwaitableThatIsNone:
    def __await__(self) -> Any:
        return None


class NotEvenAClass:
    """Raises as soon as somebody asks what it is."""

    @property
    def __class__(self) -> Any:
        raise KeyError("class")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise KeyError("class")


async def raises(error: BaseException) -> None:
    raise error


def _generator() -> Generator[int, None, None]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


def _foreign_future() -> asyncio.Future[None]:
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


ERRORS: dict[str, Callable[[], BaseException]] = {
    "KeyError": lambda: KeyError("mine"),
    "StopIteration": lambda: StopIteration("mine"),
    "StopAsyncIteration": lambda: StopAsyncIteration("mine"),
    "RecursionError": lambda: RecursionError("mine"),
    "MemoryError": lambda: MemoryError("mine"),
    "CancelledError": lambda: asyncio.CancelledError("mine"),
    "TimeoutError": lambda: TimeoutError("mine"),
    "httpx.ReadTimeout": lambda: httpx.ReadTimeout("mine"),
    "ExceptionGroup": lambda: ExceptionGroup("mine", [KeyError("a"), ValueError("b")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("mine", [asyncio.CancelledError("a"), KeyError("b")]),
    "BaseException": lambda: Abort("mine"),
    "group of BaseException": lambda: BaseExceptionGroup("mine", [Abort("a")]),
    "unshowable": OddError,
}
VALUES: dict[str, Callable[[], Any]] = {
    "generator": _generator,
    "async generator": _async_generator,
    "coroutine that raises": lambda: raises(KeyError("later")),
    "coroutine that aborts": lambda: raises(Abort("later")),
    "coroutine that is cancelled": lambda: raises(asyncio.CancelledError("later")),
    "future of a closed loop": _foreign_future,
    "awaitable that yields junk": AwaitableThatYieldsJunk,
    "awaitable that is None": AwaitableThatIsNone,
    "no class": NotEvenAClass,
    "bytes": lambda: b"\xff",
    "nan": lambda: float("nan"),
    "the type": lambda: Delivery,
}


def made(name: str) -> BaseException:
    return ERRORS[name]()


def hostile(name: str) -> Callable[..., Any]:
    """Return a callable that takes anything, and raises or returns that."""

    def mine(*args: object, **kwargs: object) -> Any:
        if name in ERRORS:
            raise made(name)
        return VALUES[name]()

    return mine


class HostileLimiter:
    """A limiter with all of the protocol, of which one part is hostile."""

    def __init__(self, part: str, mine: Callable[..., Any]) -> None:
        self.part = part
        self.mine = mine
        self.waited = 0.0

    def _do(self, part: str, otherwise: Any) -> Any:
        return self.mine() if part == self.part else otherwise

    def try_take(self) -> Any:
        return self._do("try_take", False)

    def try_reserve(self, *, first: bool = False) -> Any:
        return self._do("try_reserve", None)

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Any:
        return self._do("reserve", self)

    async def throttled(self, retry_after: float | None) -> Any:
        return self._do("throttled", None)

    async def aclose(self) -> None: ...

    def is_fresh(self) -> Any:
        return self._do("is_fresh", True)

    def sent(self) -> Any:
        return self._do("sent", None)

    def dropped(self) -> Any:
        return self._do("dropped", None)
