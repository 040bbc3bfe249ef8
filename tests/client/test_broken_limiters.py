"""A limiter of one's own, of which any method fails or returns nonsense: no call hangs, and nothing leaks."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest

from refold_async import Delivery, RateLimit, RefoldClient, RefoldError, RetryPolicy, Trigger
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import Fault, MockRefold
from tests.support import ending

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

CALLS = 6
ACCEPTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


async def _never_awaited() -> None:
    pass


def cancelling() -> Any:
    """Cancel the task that asks, as a limiter with a lock of its own may do on its way out."""
    raise asyncio.CancelledError("of the limiter's own")


AMISS: dict[str, Callable[[], Any]] = {
    "KeyError": raising(KeyError("mine")),
    "CancelledError": cancelling,
    "None": lambda: None,
    "number": lambda: 7,
    "coroutine": lambda: _never_awaited(),
}
METHODS = ("try_take", "try_reserve", "reserve", "throttled", "waited", "is_fresh", "sent", "dropped")


class Amiss:
    """Goes wrong in one method, from the call with that number on, for so many calls."""

    def __init__(self, method: str, act: Callable[[], Any], after: int, times: int) -> None:
        self._method, self._act, self._after, self._left = method, act, after, times

    def __call__(self, method: str, usual: Callable[[], Any]) -> Any:
        if method != self._method:
            return usual()
        self._after -= 1
        if self._after >= 0 or self._left <= 0:
            return usual()
        self._left -= 1
        return self._act()


class BrokenGrant:
    def __init__(self, grant: Any, amiss: Amiss) -> None:
        self._grant, self._amiss = grant, amiss

    @property
    def waited(self) -> Any:
        return self._amiss("waited", lambda: self._grant.waited)

    def is_fresh(self) -> Any:
        return self._amiss("is_fresh", self._grant.is_fresh)

    def sent(self) -> Any:
        return self._amiss("sent", self._grant.sent)

    def dropped(self) -> Any:
        return self._amiss("dropped", self._grant.dropped)


class BrokenLimiter:
    """The whole protocol, around a limiter that works."""

    def __init__(self, amiss: Amiss) -> None:
        self._inner = MemoryRateLimiter(RateLimit(10_000, 10_000))
        self._amiss = amiss

    def try_take(self) -> Any:
        return self._amiss("try_take", self._inner.try_take)

    def try_reserve(self, *, first: bool = False) -> Any:
        grant = self._amiss("try_reserve", lambda: self._inner.try_reserve(first=first))
        return BrokenGrant(grant, self._amiss) if type(grant).__name__ == "MemoryGrant" else grant

    async def reserve(self, *, deadline: float | None = None, first: bool = False) -> Any:
        grant = await self._inner.reserve(deadline=deadline, first=first)
        given = self._amiss("reserve", lambda: BrokenGrant(grant, self._amiss))
        if not isinstance(given, BrokenGrant):
            grant.dropped()
        return given

    async def throttled(self, retry_after: float | None) -> Any:
        return self._amiss("throttled", lambda: None)

    async def aclose(self) -> None:
        pass


class BrokenMinimum:
    """No more than the protocol asks for."""

    def __init__(self, amiss: Amiss) -> None:
        self._whole = BrokenLimiter(amiss)

    async def reserve(self, *, deadline: float | None = None) -> Any:
        return await self._whole.reserve(deadline=deadline)

    async def throttled(self, retry_after: float | None) -> Any:
        return await self._whole.throttled(retry_after)


async def fire_one_by_one(client: RefoldClient) -> list[Delivery]:
    async def fire(n: int) -> Delivery:
        got = await ending(client.trigger("slack", "E", {"id": n}))
        assert got.delivery is not None
        return got.delivery

    tasks = [asyncio.create_task(fire(n)) for n in range(CALLS)]
    return await asyncio.gather(*tasks)


async def fire_as_rows(client: RefoldClient) -> list[Delivery]:
    result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(CALLS)])
    return [outcome.delivery for outcome in result]


def every_third_is_throttled() -> Callable[[object], Fault | None]:
    numbers = itertools.count()
    return lambda entry: Fault.throttle("0") if next(numbers) % 3 == 1 else None


WAYS = {"calls": fire_one_by_one, "rows": fire_as_rows}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one connection": {"max_connections": 1},
    "hooked": {"max_connections": 2, "hooks": [lambda event: None]},
    "before_send": {"max_connections": 2, "before_send": lambda sending: None},
    "httpx": {"max_connections": 2, "transport": "httpx"},
    "minimum": {"max_connections": 2},
}
CASES = [
    (method, settings)
    for method in METHODS
    for settings in SETTINGS
    if settings != "minimum" or not method.startswith("try_")
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("method", "settings"), CASES)
async def test_whatever_a_limiter_does_each_call_ends_with_a_true_verdict_and_leaves_nothing(
    server: MockRefold, method: str, way: str, settings: str, caplog: pytest.LogCaptureFixture
) -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    caplog.set_level(logging.CRITICAL)
    for name, act in AMISS.items():
        for after, times in ((2, 1), (0, 1000)):
            case = (name, after, times)
            if method == "is_fresh" and name == "None" and times == 1000:
                continue  # never fresh: see the next test
            server.ledger.clear()
            server.plan(every_third_is_throttled())
            limiter = (BrokenMinimum if settings == "minimum" else BrokenLimiter)(Amiss(method, act, after, times))
            options: dict[str, Any] = {
                "retry": RetryPolicy(base_delay=0.001, throttled_base_delay=0.001),
                **SETTINGS[settings],
            }
            async with server.client(rate_limit=limiter, deadline=20, **options) as client:
                verdicts = await asyncio.wait_for(WAYS[way](client), 10)
                life = client._sender.life
                assert life.calls == set(), case
                if life.slots is not None:
                    assert (life.slots.available, life.slots.waiting) == (options.get("max_connections", 50), 0), case
                pool = life.own_pool()
                if pool is not None:
                    assert (pool.state.active, pool.state.connecting, pool.state.waiting) == (0, 0, 0), case
            for n, verdict in enumerate(verdicts):
                fired = server.ledger.fired_count(id=n)
                assert fired <= 1, case
                if verdict is not AMBIGUOUS:
                    assert (verdict is ACCEPTED) == (fired == 1), (case, n, verdict)
            assert problems == [], case


@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_grants_that_are_never_fresh_do_not_stop_the_event_loop(server: MockRefold, wire: Any) -> None:
    limiter = BrokenLimiter(Amiss("is_fresh", lambda: False, 0, 10**9))
    async with server.client(rate_limit=limiter, retry=None, deadline=0.05, transport=wire) as client:
        with pytest.raises(RefoldError) as caught:
            await client.trigger("slack", "E")
        assert caught.value.delivery is NOT_SENT
    assert server.ledger.requests == 0
