"""The slots that bound how many requests are in flight: in order of arrival, and none is ever lost."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from refold_async._core.slots import FairSemaphore

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})], ids=["asyncio", "uvloop", "trio"]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_they_are_handed_over_in_order_of_arrival() -> None:
    slots = FairSemaphore(2)
    order: list[int] = []

    async def use(number: int) -> None:
        await slots.acquire()
        order.append(number)
        await anyio.lowlevel.checkpoint()
        slots.release()

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(use, number)
            await anyio.lowlevel.checkpoint()
    assert order == sorted(order)
    assert slots.available == 2


async def test_a_new_waiter_does_not_overtake_one_that_was_handed_a_slot() -> None:
    slots = FairSemaphore(1)
    await slots.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(slots.acquire)
        await anyio.wait_all_tasks_blocked()
        assert "1 waiting" in repr(slots)
        slots.release()
        assert not slots.try_acquire()
    slots.release()
    assert slots.try_acquire()


@pytest.mark.parametrize("handed_over", [False, True])
async def test_a_cancelled_waiter_gives_its_slot_back(handed_over: bool) -> None:
    slots = FairSemaphore(1)
    await slots.acquire()
    reached = []

    async def wait() -> None:
        await slots.acquire()
        reached.append(1)
        slots.release()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                if handed_over:
                    slots.release()
                scope.cancel()
        if not handed_over:
            slots.release()
    assert slots.available == 1
    assert 1 in reached, "the one behind got its turn"
