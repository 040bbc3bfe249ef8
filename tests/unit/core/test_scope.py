"""The light scope of a call: its deadline, its owner and cancellations from outside."""

from __future__ import annotations

import asyncio
import math

import anyio
import pytest

from refold_async._types.evidence import Cut
from refold_async._wire.scope import TaskScope
from refold_async._wire.timer import LoopTimer

pytestmark = pytest.mark.asyncio


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def new_watch() -> LoopTimer:
    return LoopTimer(asyncio.get_running_loop())


async def test_a_deadline_ends_the_block_and_nothing_else() -> None:
    watch = new_watch()
    scope = TaskScope(watch)
    scope.end_at(asyncio.get_running_loop().time() + 0.01)
    with scope:
        await for_ever()
    assert scope.was_cut
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # which would raise, were a cancellation left over
    assert not watch.timed


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    watch = new_watch()
    scope = TaskScope(watch)
    scope.end_at(asyncio.get_running_loop().time() + 60)
    with scope:
        await asyncio.sleep(0)
    assert not scope.was_cut
    assert not watch.timed
    watch.close()


async def test_an_owner_ends_the_block() -> None:
    scope = TaskScope(new_watch())
    asyncio.get_running_loop().call_soon(scope.end, Cut.CLOSED)
    with scope:
        await for_ever()
    assert scope.was_cut


async def test_a_scope_that_was_ended_before_it_is_entered_ends_at_the_first_await() -> None:
    scope = TaskScope(new_watch())
    scope.end(Cut.CLOSED)
    reached = []
    with scope:
        reached.append(1)
        await asyncio.sleep(0)
        reached.append(2)
    assert scope.was_cut
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
    assert not scope.was_cut


async def test_a_cancellation_from_outside_goes_through_also_together_with_ours() -> None:
    scope = TaskScope(new_watch())

    async def run() -> None:
        with scope:
            await for_ever()

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    scope.end(Cut.CLOSED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scope.was_cut
    assert task.cancelled()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_scope_of_anyio_around_it_is_what_ends_when_both_are_cancelled(ours_first: bool) -> None:
    scope = TaskScope(new_watch())
    loop = asyncio.get_running_loop()

    def end() -> None:
        scope.end(Cut.CLOSED)

    with anyio.CancelScope() as outer:
        for cancel in (end, outer.cancel) if ours_first else (outer.cancel, end):
            loop.call_soon(cancel)
        with scope:
            await for_ever()
        await asyncio.sleep(0)
        pytest.fail("the outer scope was cancelled")
    assert outer.cancelled_caught
    await asyncio.sleep(0)


async def test_an_error_in_the_block_comes_out_even_as_it_is_cancelled() -> None:
    scope = TaskScope(new_watch())
    asyncio.get_running_loop().call_soon(scope.end, Cut.CLOSED)

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
        assert scope.was_cut
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in (3, 1, 4, 2):
            group.create_task(run(number))
    assert ended == [1, 2, 3, 4]
    assert not watch.timed
    assert watch._handle is None, "with nothing left to watch, no timer is left"


async def test_a_deadline_can_be_put_off() -> None:
    loop = asyncio.get_running_loop()
    scope = TaskScope(new_watch())
    scope.end_at(loop.time() + 0.01)
    loop.call_soon(scope.end_at, math.inf)
    with scope:
        await asyncio.sleep(0.03)
    assert not scope.was_cut


async def test_a_block_that_is_ended_while_it_runs_and_awaits_nothing_leaves_no_cancellation_behind() -> None:
    """Up to Python 3.12 `uncancel` does not take back a cancellation that was not thrown yet."""

    async def run(*, before: bool) -> TaskScope:
        scope = TaskScope(new_watch())
        if before:
            scope.end(Cut.CLOSED)
        with scope:
            scope.end(Cut.CLOSED)
        for _ in range(3):
            await asyncio.sleep(0)
        return scope

    for before in (False, True):
        scope = await asyncio.ensure_future(run(before=before))
        assert (scope.cut, scope.was_cut) == (Cut.CLOSED, False)


async def test_a_block_that_is_ended_while_it_runs_ends_at_its_next_await() -> None:
    scope = TaskScope(new_watch())
    with scope:
        scope.end(Cut.CLOSED)
        await for_ever()
    assert scope.was_cut
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
