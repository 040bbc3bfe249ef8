"""The light scope of a call: its deadline, its owner and cancellations from outside."""

from __future__ import annotations

import asyncio
import math

import anyio
import pytest

from refold_async.transports._scope import DeadlineWatch, TaskScope

pytestmark = pytest.mark.asyncio


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def new_watch() -> DeadlineWatch:
    return DeadlineWatch(asyncio.get_running_loop())


async def test_a_deadline_ends_the_block_and_nothing_else() -> None:
    watch = new_watch()
    scope = TaskScope(watch)
    scope.end_at(asyncio.get_running_loop().time() + 0.01)
    with scope:
        await for_ever()
    assert scope.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # which would raise, were a cancellation left over
    assert not watch.scopes


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    watch = new_watch()
    scope = TaskScope(watch)
    scope.end_at(asyncio.get_running_loop().time() + 60)
    with scope:
        await asyncio.sleep(0)
    assert not scope.cancelled_caught
    assert not watch.scopes
    watch.close()


async def test_an_owner_ends_the_block() -> None:
    scope = TaskScope(new_watch())
    asyncio.get_running_loop().call_soon(scope.cancel)
    with scope:
        await for_ever()
    assert scope.cancelled_caught


async def test_a_scope_that_was_ended_before_it_is_entered_ends_at_the_first_await() -> None:
    scope = TaskScope(new_watch())
    scope.cancel()
    reached = []
    with scope:
        reached.append(1)
        await asyncio.sleep(0)
        reached.append(2)
    assert scope.cancelled_caught
    assert reached == [1]


async def test_a_cancellation_from_outside_goes_through() -> None:
    scope = TaskScope(new_watch())

    async def run() -> None:
        with scope:
            await for_ever()

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scope.cancelled_caught


async def test_a_cancellation_from_outside_goes_through_also_together_with_ours() -> None:
    scope = TaskScope(new_watch())

    async def run() -> None:
        with scope:
            await for_ever()

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    scope.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scope.cancelled_caught
    assert task.cancelled()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_scope_of_anyio_around_it_is_what_ends_when_both_are_cancelled(ours_first: bool) -> None:
    scope = TaskScope(new_watch())
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as outer:
        for cancel in (scope.cancel, outer.cancel) if ours_first else (outer.cancel, scope.cancel):
            loop.call_soon(cancel)
        with scope:
            await for_ever()
        await asyncio.sleep(0)
        pytest.fail("the outer scope was cancelled")
    assert outer.cancelled_caught
    await asyncio.sleep(0)


async def test_an_error_in_the_block_comes_out_even_as_it_is_cancelled() -> None:
    scope = TaskScope(new_watch())
    asyncio.get_running_loop().call_soon(scope.cancel)

    async def fail() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(KeyError), scope:
        await fail()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_one_timer_serves_all_deadlines() -> None:
    loop = asyncio.get_running_loop()
    watch = new_watch()
    now = loop.time()
    ended: list[int] = []

    async def run(number: int) -> None:
        scope = TaskScope(watch)
        scope.end_at(now + 0.005 * number)
        with scope:
            await for_ever()
        assert scope.cancelled_caught
        assert loop.time() >= now + 0.005 * number - 0.002
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in (3, 1, 4, 2):
            group.create_task(run(number))
    assert ended == [1, 2, 3, 4]
    assert not watch.scopes
    assert watch._handle is None, "with nothing left to watch, no timer is left"


async def test_a_deadline_can_be_put_off() -> None:
    loop = asyncio.get_running_loop()
    scope = TaskScope(new_watch())
    scope.end_at(loop.time() + 0.01)
    loop.call_soon(scope.end_at, math.inf)
    with scope:
        await asyncio.sleep(0.03)
    assert not scope.cancelled_caught


async def test_a_loop_with_a_time_of_its_own_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + 1000)
    scope = TaskScope(new_watch())
    scope.end_at(real() + 5)
    assert scope.deadline == pytest.approx(real() + 1005, abs=1)
