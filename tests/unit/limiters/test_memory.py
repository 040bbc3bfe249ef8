"""The limiter of one process: grants that are held up, dropped or lost, on any number of event loops and threads."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fleet.virtual import run
from refold_async import PacingTimeoutError, RateLimit
from refold_async.limiters import Grant, MemoryRateLimiter, adapt, is_limiter
from refold_async.policies.pacing import FRESH_FOR
from tests.unit.policies.test_pacing import check_pace


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def play() -> None:
        run(test())

    play.__name__, play.__doc__ = test.__name__, test.__doc__
    return play


def now() -> float:
    return asyncio.get_running_loop().time()


def limited(rate: float = 20, burst: int = 5, **options: Any) -> MemoryRateLimiter:
    return MemoryRateLimiter(RateLimit(rate, burst), clock=asyncio.get_running_loop().time, **options)


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 2),  # comes
            st.sampled_from([0.0, 0.01, 0.02, 0.03, 0.3, 1.2]),  # is held up after its grant
            st.none() | st.floats(0, 3),  # is cancelled
            st.none() | st.just(0.0) | st.floats(0, 2),  # a 429 answers it
        ),
        min_size=1,
        max_size=50,
    ),
    st.sampled_from([RateLimit(), RateLimit(3, 5), RateLimit(1.9), RateLimit(20, 1)]),
)
def test_whatever_holds_callers_up_the_writes_keep_the_pace_and_nobody_is_lost(
    callers: list[tuple[float, float, float | None, float | None]], limit: RateLimit
) -> None:
    writes: list[float] = []
    done: set[int] = set()

    async def main() -> None:
        limiter = limited(limit.rate, limit.burst)

        async def call(number: int, held_up: float, throttled: float | None) -> None:
            grant = await limiter.reserve()
            try:
                await asyncio.sleep(held_up)
                while not grant.is_fresh():
                    grant.dropped()
                    grant = await limiter.reserve(first=True)
                grant.sent()
                writes.append(now())
                done.add(number)
            finally:
                grant.dropped()
            if throttled is not None:
                await limiter.throttled(throttled)

        async def come(
            number: int, at: float, held_up: float, cancelled: float | None, throttled: float | None
        ) -> None:
            await asyncio.sleep(at)
            task = asyncio.ensure_future(call(number, held_up, throttled))
            if cancelled is not None:
                await asyncio.sleep(cancelled)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*(come(number, *caller) for number, caller in enumerate(callers)))
        assert limiter.waiting == 0

    run(main())
    check_pace(writes, limit)
    assert {number for number, caller in enumerate(callers) if caller[2] is None} <= done


@in_virtual_time
async def test_slow_handshakes_before_the_write_never_bunch_up() -> None:
    """23 in one second is what four handshakes of 1.2 s once led to."""
    limiter = limited()
    writes: list[float] = []

    async def call(number: int) -> None:
        grant = await limiter.reserve()
        if number % 3 == 0:
            await asyncio.sleep(1.2)
        if not grant.is_fresh():
            grant.dropped()
            grant = await limiter.reserve(first=True)
        grant.sent()
        writes.append(now())

    await asyncio.gather(*(call(number) for number in range(60)))
    check_pace(writes, RateLimit())


@in_virtual_time
async def test_a_grant_is_fresh_for_20_ms_and_not_after_a_429() -> None:
    limiter = limited()
    first, second = await limiter.reserve(), await limiter.reserve()
    assert first.is_fresh()
    await asyncio.sleep(FRESH_FOR - 0.001)
    assert first.is_fresh()
    await asyncio.sleep(0.002)
    assert not first.is_fresh()
    assert not second.is_fresh()
    third = await limiter.reserve()
    await limiter.throttled(1.0)
    assert not third.is_fresh()
    for grant in (first, second, third):
        grant.dropped()
        assert not grant.is_fresh(), "it is used up"
        assert isinstance(grant, Grant)


@in_virtual_time
async def test_a_dropped_grant_wakes_the_one_that_waits_for_it() -> None:
    limiter = limited(1, 1)
    grant = await limiter.reserve()
    waiting = asyncio.ensure_future(limiter.reserve())
    await asyncio.sleep(0.4)
    began = now()
    grant.dropped()
    assert (await waiting).waited == pytest.approx(0.4)
    assert now() == pytest.approx(began)


@in_virtual_time
async def test_what_is_told_of_a_grant_after_the_first_time_changes_nothing() -> None:
    limiter = limited(1, 1)
    grant = await limiter.reserve()
    grant.sent()
    grant.dropped()
    grant.sent()
    assert limiter.try_reserve() is None
    await asyncio.sleep(1.021)
    other = limiter.try_reserve()
    assert other is not None
    other.dropped()
    other.sent()
    assert limiter.try_reserve() is not None


@in_virtual_time
async def test_a_grant_that_is_lost_counts_as_sent() -> None:
    limiter = limited(1, 1)
    began = now()
    await limiter.reserve()
    gc.collect()
    (await limiter.reserve()).sent()
    assert now() == pytest.approx(began + 1.02)


@in_virtual_time
async def test_who_goes_first_goes_before_those_who_wait_also_where_one_sleeps() -> None:
    limiter = limited(1, 1)
    (await limiter.reserve()).sent()
    order: list[str] = []

    async def ask(name: str, first: bool) -> None:
        (await limiter.reserve(first=first)).sent()
        order.append(name)

    usual = [asyncio.ensure_future(ask(f"usual {number}", False)) for number in range(2)]
    await asyncio.sleep(0.1)
    assert limiter.try_reserve(first=True) is None
    await asyncio.gather(ask("first", True), ask("second", True), *usual)
    assert order == ["first", "second", "usual 0", "usual 1"]


@in_virtual_time
async def test_a_429_fails_those_at_once_whose_deadline_is_in_the_pause() -> None:
    limiter = limited(1, 1)
    (await limiter.reserve()).sent()
    patient = asyncio.ensure_future(limiter.reserve())
    hurried = asyncio.ensure_future(limiter.reserve(deadline=now() + 20))
    await asyncio.sleep(0.1)
    began = now()
    await limiter.throttled(30.0)
    with pytest.raises(PacingTimeoutError):
        await hurried
    assert now() == pytest.approx(began)
    (await patient).sent()
    assert now() == pytest.approx(began + 30)


@pytest.mark.parametrize("hint", [0.0, -5.0, float("nan"), None])
def test_a_hint_that_asks_for_no_time_pauses_as_one_without(hint: float | None) -> None:
    async def main() -> None:
        limiter = limited()
        await limiter.throttled(hint)
        began = now()
        (await limiter.reserve()).sent()
        assert now() == pytest.approx(began + 1)

    run(main())


@in_virtual_time
async def test_a_hint_of_a_year_pauses_for_a_minute() -> None:
    limiter = limited()
    await limiter.throttled(365 * 86400.0)
    began = now()
    (await limiter.reserve()).sent()
    assert now() == pytest.approx(began + 60)


def test_those_whose_loop_was_closed_hold_nobody_up() -> None:
    limiter = MemoryRateLimiter(RateLimit(200, 1))

    async def abandon() -> None:
        (await limiter.reserve()).sent()
        for _ in range(3):
            task = asyncio.ensure_future(limiter.reserve())
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        assert limiter.waiting == 3

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    loop.close()

    async def again() -> None:
        for _ in range(3):
            (await limiter.reserve()).sent()

    asyncio.run(again())
    assert limiter.waiting == 0
    gc.collect()
    asyncio.run(again())


def test_a_loop_that_was_stopped_in_the_middle_of_a_wait_holds_nobody_up() -> None:
    limiter = MemoryRateLimiter(RateLimit(200, 1))
    stopped = asyncio.new_event_loop()
    waiting: list[asyncio.Task[Grant]] = []

    async def begin() -> None:
        (await limiter.reserve()).sent()
        waiting.append(asyncio.ensure_future(limiter.reserve()))
        await asyncio.sleep(0)

    async def elsewhere() -> None:
        for _ in range(3):
            (await limiter.reserve()).sent()

    stopped.run_until_complete(begin())
    asyncio.run(elsewhere())
    stopped.run_until_complete(waiting[0])
    stopped.close()
    assert limiter.waiting == 0


def test_threads_with_event_loops_of_their_own_share_it() -> None:
    limiter = MemoryRateLimiter(RateLimit(400, 5))
    writes: list[float] = []

    async def call(number: int) -> None:
        grant = await limiter.reserve()
        if number % 4 == 0:
            grant.dropped()
            grant = await limiter.reserve(first=True)
        grant.sent()
        writes.append(time.monotonic())

    async def calls() -> None:
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(call, number)

    def on_trio() -> None:
        trio.run(calls)

    threads = [threading.Thread(target=target) for target in (lambda: asyncio.run(calls()), on_trio, on_trio)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (len(writes), limiter.waiting) == (90, 0)
    assert writes[-1] - writes[0] >= 85 / 400, "one pace for all"


def test_it_works_on_trio() -> None:
    async def main() -> None:
        limiter = MemoryRateLimiter(RateLimit(1.9), clock=trio.current_time)
        writes: list[float] = []

        async def call() -> None:
            (await limiter.reserve()).sent()
            writes.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.5):
                await limiter.reserve()
                raise AssertionError("too early")
        check_pace(writes, RateLimit(1.9))
        assert writes[-1] - writes[0] <= 11 / 1.9 / 0.97

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_wait_behind_its_parents_callers() -> None:
    limiter = MemoryRateLimiter(RateLimit(200, 1))

    async def main() -> int:
        (await limiter.reserve()).sent()
        waiting = asyncio.ensure_future(limiter.reserve())
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:  # pragma: no cover - reports by its exit code
            try:
                asyncio.run(elsewhere())
            finally:
                os._exit(0 if limiter.waiting == 0 else 1)
        (await waiting).sent()
        return child

    async def elsewhere() -> None:
        (await limiter.reserve()).sent()

    child = asyncio.run(main())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Acquires:
    """What a user's own limiter may be: older, and with a plain `throttled`."""

    def __init__(self) -> None:
        self.acquired = 0
        self.told: list[float | None] = []

    async def acquire(self, *, deadline: float | None = None) -> float:
        self.acquired += 1
        return 0.0

    def throttled(self, retry_after: float | None) -> None:
        self.told.append(retry_after)


class Reserves(Acquires):
    closed = False

    async def reserve(self, *, deadline: float | None = None) -> Grant:
        self.acquired += 1
        return await MemoryRateLimiter().reserve()

    async def throttled(self, retry_after: float | None) -> None:  # type: ignore[override]
        self.told.append(retry_after)

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [Acquires, Reserves])
async def test_a_limiter_of_ones_own_is_adapted(kind: type[Acquires]) -> None:
    own = kind()
    assert is_limiter(own)
    limiter = adapt(own)
    assert adapt(limiter) is limiter
    assert limiter.try_reserve() is None
    grant = await limiter.reserve(deadline=time.monotonic() + 10)
    assert grant.is_fresh()
    assert grant.waited >= 0
    grant.sent()
    (await limiter.reserve(first=True)).dropped()
    await limiter.throttled(2.0)
    await limiter.aclose()
    assert (own.acquired, own.told) == (2, [2.0])
    assert getattr(own, "closed", True)


def test_what_is_no_limiter_is_known() -> None:
    assert not any(is_limiter(value) for value in (None, 5, "x", RateLimit(), object(), Acquires, lambda: None))
    memory = MemoryRateLimiter()
    assert is_limiter(memory)
    assert adapt(memory) is memory


@pytest.mark.parametrize("told", ["never", "sent", "dropped", "collected"])
@pytest.mark.parametrize("grants", [1, 5, 8])
def test_grants_of_a_closed_loop_hold_nobody_up_although_something_holds_on_to_them(grants: int, told: str) -> None:
    clock = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        await asyncio.sleep(0)

    limiter = MemoryRateLimiter(RateLimit(20, 5), clock=lambda: clock, sleep=sleep)

    async def take(count: int) -> list[Grant]:
        return [await limiter.reserve() for _ in range(count)]

    async def take_and_send(count: int) -> None:
        for _ in range(count):
            (await limiter.reserve()).sent()

    kept = asyncio.run(take(min(grants, 5)))
    if grants > 5:
        kept += asyncio.run(take(grants - 5))  # which needs the first to be forgotten
    began = clock
    asyncio.run(take_and_send(5))
    for grant in kept:
        if told in ("sent", "dropped"):
            getattr(grant, told)()
    del grant
    if told == "collected":
        kept.clear()
        gc.collect()
    asyncio.run(take_and_send(15))
    assert clock - began <= 25 / 20 + 0.1 + (grants / 20 if told == "sent" else 0)
    assert clock - began >= (20 - 5) / 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_grants_that_stayed_behind_in_the_parent_hold_no_child_up() -> None:
    async def take(count: int) -> list[Grant]:
        return [await limiter.reserve() for _ in range(count)]

    async def take_one() -> None:
        async with asyncio.timeout(10):
            (await limiter.reserve()).sent()

    limiter = MemoryRateLimiter(RateLimit(200, 2))
    loop = asyncio.new_event_loop()
    kept = loop.run_until_complete(take(2))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(take_one())
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(kept) == 2
    loop.close()


@pytest.mark.parametrize("told", ["sent", "dropped", "collected", "forgotten"])
def test_a_limiter_lets_go_of_the_loops_that_its_grants_were_made_on(told: str) -> None:
    limiter = MemoryRateLimiter(RateLimit(1000, 50))

    async def use() -> None:
        grants = [await limiter.reserve() for _ in range(3)]
        if told == "forgotten":
            kept.extend(grants)
        elif told != "collected":
            for grant in grants:
                getattr(grant, told)()

    kept: list[Grant] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    loop.close()
    gone = weakref.ref(loop)
    del loop
    if told == "forgotten":
        asyncio.run(use_all(limiter, 60))  # so that somebody has to wait
    kept.clear()
    gc.collect()
    asyncio.run(use_all(limiter, 1))
    gc.collect()
    assert gone() is None


async def use_all(limiter: MemoryRateLimiter, count: int) -> None:
    for _ in range(count):
        (await limiter.reserve()).sent()
