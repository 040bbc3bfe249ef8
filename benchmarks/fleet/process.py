"""One process of the fleet, as a program: says that it is ready, reads its orders, and writes its report; all JSON."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from attrs import asdict, define

from refold_async import DeadlineExceededError, RateLimit, RateLimitedError, RefoldClient, RefoldError
from refold_async.limiters import MemoryRateLimiter, RateLimiter, SharedRateLimiter, limiter_from_url
from refold_async.limiters._link import Store
from refold_async.policies.shared_pacing import MICRO, Answer, Question

Acquire = Callable[[], Awaitable[object]]


@define
class Orders:
    """What the process is to do.

    :ivar limiter: `memory`, `split`, `url` or the name of a library.
    :ivar url: of the limiter's server, and of the mock.
    :ivar begins, ends: seconds since the epoch.
    :ivar stalls: shortest and longest stall of the event loop, and how many a second.
    :ivar pauses_at: when this process meets a 429 that asks for two seconds.
    :ivar clock_off: seconds by which the wall clock of this process is off.
    :ivar back_at: when the clock of Redis is set back by 30 s.
    """

    number: int
    processes: int
    limiter: str
    url: str
    mock: str
    name: str
    begins: float
    ends: float
    waiters: int = 6
    stalls: tuple[float, float, float] | None = None
    pauses_at: float | None = None
    clock_off: float = 0.0
    back_at: float | None = None


@define
class Report:
    """What came of it: waits in seconds, and questions to the limiter's server.

    :ivar blocked: the longest that anyone waited for an answer of the server, rather than for a slot.
    :ivar alone_until: when the process was last seen to go on without the server, in seconds since the epoch.
    """

    number: int
    accepted: int = 0
    throttled: int = 0
    failed: int = 0
    longest_wait: float = 0.0
    calls: int = 0
    blocked: float = 0.0
    alone_until: float = 0.0


class CountingStore:
    """Counts the questions on their way to a store."""

    def __init__(self, store: Store, report: Report) -> None:
        self._store = store
        self._report = report

    async def ask(self, question: Question) -> Answer:
        self._report.calls += 1
        return await self._store.ask(question)

    async def aclose(self) -> None:
        await self._store.aclose()


def _ours(orders: Orders, report: Report) -> RateLimiter:
    if orders.limiter == "memory":
        return MemoryRateLimiter()
    if orders.limiter == "split":
        return MemoryRateLimiter(RateLimit(20 / orders.processes, 1))
    limiter: SharedRateLimiter = limiter_from_url(orders.url, name=orders.name)
    connect = limiter._connect  # noqa: SLF001 - to count what it asks

    def counting(name: str) -> Store:
        store = connect(name)
        if orders.back_at is not None:
            store._now = lambda: round((time.time() - 30 * (time.time() >= orders.back_at)) * MICRO)  # type: ignore[attr-defined] # noqa: SLF001
        return CountingStore(store, report)

    limiter._connect = counting  # type: ignore[method-assign] # noqa: SLF001
    return limiter


async def _watch(limiter: RateLimiter | None, report: Report) -> None:
    """Look again and again whether the process is without its server, or waits for it."""
    while isinstance(limiter, SharedRateLimiter):
        await asyncio.sleep(0.02)
        for link in limiter._links.values():  # noqa: SLF001 - only to look
            if link.alone is not None:
                report.alone_until = time.time()
            elif link.asked_at is not None:
                report.blocked = max(report.blocked, time.monotonic() - link.asked_at)


def _limits(orders: Orders, report: Report) -> Acquire:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    limiter = MovingWindowRateLimiter(RedisStorage(f"async+{orders.url}", implementation="redispy"))
    item = RateLimitItemPerSecond(20)

    async def acquire() -> None:
        while True:
            report.calls += 1
            if await limiter.hit(item, orders.name):
                return
            await asyncio.sleep(0.02)

    return acquire


def _throttled(orders: Orders, report: Report) -> Acquire:
    from throttled.asyncio import RateLimiterType, Throttled, per_sec, store

    throttle = Throttled(
        key=orders.name,
        using=RateLimiterType.GCRA.value,
        quota=per_sec(20, burst=5),
        store=store.RedisStore(server=orders.url),
    )

    async def acquire() -> None:
        while True:
            report.calls += 1
            result = await throttle.limit()
            if not result.limited:
                return
            await asyncio.sleep(max(0.001, result.state.retry_after))

    return acquire


def _pyrate(orders: Orders, report: Report) -> Acquire:
    from pyrate_limiter import GCRA, Duration, Limiter, Rate, RedisStateStore, StateBucket
    from redis.asyncio import Redis

    store = RedisStateStore(Redis.from_url(orders.url), orders.name)
    check: Any = store.check

    async def counted(*arguments: Any, **options: Any) -> Any:
        report.calls += 1
        return await check(*arguments, **options)

    setattr(store, "check", counted)  # noqa: B010 - its types are not known
    limiter = Limiter(StateBucket([Rate(20, Duration.SECOND, burst=5)], GCRA(), store))

    async def acquire() -> None:
        await limiter.try_acquire_async(orders.name)

    return acquire


OTHERS: dict[str, Callable[[Orders, Report], Acquire]] = {
    "limits": _limits,
    "throttled-py": _throttled,
    "pyrate-limiter": _pyrate,
}


async def _stall(stalls: tuple[float, float, float] | None, random: Random) -> None:
    while stalls is not None:
        shortest, longest, per_second = stalls
        await asyncio.sleep(random.expovariate(per_second))
        time.sleep(random.uniform(shortest, longest))  # noqa: ASYNC251 - it is meant to hold the event loop up


async def _warm_up(orders: Orders, client: RefoldClient, acquire: Acquire | None, limiter: RateLimiter | None) -> None:
    """Connect to the limiter's server, and to Refold one process after the other: none of it is measured."""
    if acquire is not None:
        await acquire()
    elif limiter is not None:
        (await limiter.reserve()).dropped()
    await asyncio.sleep(orders.number * 0.06)
    with contextlib.suppress(RefoldError):
        await client.request("GET", "/api/v1/is-not-there", deadline=1.0)


def _set_clock(orders: Orders) -> None:
    wall_clock = time.time
    time.time = lambda: wall_clock() + orders.clock_off
    orders.begins += orders.clock_off
    orders.ends += orders.clock_off


async def main(orders: Orders) -> Report:
    """Send without end from `begins` to `ends`."""
    report = Report(orders.number)
    _set_clock(orders)
    acquire = OTHERS[orders.limiter](orders, report) if orders.limiter in OTHERS else None
    limiter = None if acquire is not None else _ours(orders, report)

    async def work(client: RefoldClient) -> None:
        while time.time() < orders.ends:
            began = time.monotonic()
            try:
                if acquire is not None:
                    await asyncio.wait_for(acquire(), max(0.01, orders.ends - time.time()))
                await client.trigger("slack", "E", {"p": orders.number}, deadline=max(0.01, orders.ends - time.time()))
            except RateLimitedError:
                report.throttled += 1
            except (TimeoutError, DeadlineExceededError):
                return  # the time is over
            except RefoldError:
                report.failed += 1
                await asyncio.sleep(0.05)
            else:
                report.accepted += 1
                report.longest_wait = max(report.longest_wait, time.monotonic() - began)

    async def pause() -> None:
        assert orders.pauses_at is not None
        assert limiter is not None
        await asyncio.sleep(orders.pauses_at - time.time())
        await limiter.throttled(2.0)

    async with RefoldClient(
        api_key="tk_mock_0000", base_url=orders.mock, linked_account_id="a", rate_limit=limiter, retry=None
    ) as client:
        await _warm_up(orders, client, acquire, limiter)
        await asyncio.sleep(max(0.0, orders.begins - time.time()))
        beside = [asyncio.ensure_future(_watch(limiter, report))]
        beside.append(asyncio.ensure_future(_stall(orders.stalls, Random(orders.number))))
        if orders.pauses_at is not None:
            beside.append(asyncio.ensure_future(pause()))
        await asyncio.gather(*(work(client) for _ in range(orders.waiters)))
        for task in beside:
            task.cancel()
    if limiter is not None:
        await limiter.aclose()
    return report


def run(text: str) -> str:
    """Carry out orders that are written as JSON, and return the report as JSON."""
    values: dict[str, Any] = json.loads(text)
    if values.get("stalls"):
        values["stalls"] = tuple(values["stalls"])
    return json.dumps(asdict(asyncio.run(main(Orders(**values)))))


if __name__ == "__main__":
    asyncio.run(RefoldClient(api_key="tk_mock_0000", base_url="http://127.0.0.1").aclose())  # imports what it needs
    for name in ("redis.asyncio", "psycopg", "throttled.asyncio", "pyrate_limiter", "limits.aio"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)  # not on the way to the first request
    print("ready", flush=True)
    print(run(sys.stdin.readline()))
