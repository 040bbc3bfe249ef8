"""Taking a slot without waiting: only where one is free now, and nobody waits for it."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from benchmarks.fleet.virtual import run as run_virtual
from benchmarks.fleet.world import Server, SimulatedRateLimiter
from refold_async import ConfigurationError, RateLimit
from refold_async.limiters import MemoryRateLimiter
from refold_async.limiters._shared import SharedRateLimiter
from tests.fakes.clock import BACKENDS, run


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["take", "reserve", "mixed"])
def test_as_many_as_the_burst_and_then_one_with_each_interval(backend: str, how: str) -> None:
    async def main() -> None:
        limiter = MemoryRateLimiter(RateLimit(4, 3), clock=anyio.current_time)

        def takes(number: int) -> bool:
            if how == "take" or (how == "mixed" and number % 2):
                return limiter.try_take() is True
            grant = limiter.try_reserve()
            if grant is not None:
                grant.sent()
            return grant is not None

        assert [takes(number) for number in range(6)] == [True] * 3 + [False] * 3
        await anyio.sleep(0.25)
        assert [takes(number) for number in range(2)] == [True, False]
        await anyio.sleep(0.8)
        assert takes(0)

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_taken_from_those_who_wait_but_by_who_goes_first(backend: str) -> None:
    async def main() -> None:
        limiter = MemoryRateLimiter(RateLimit(1, 1), clock=anyio.current_time)
        order: list[str] = []
        assert limiter.try_take()

        async def wait(name: str, *, first: bool = False) -> None:
            grant = await limiter.reserve(first=first)
            order.append(name)
            grant.sent()

        async with anyio.create_task_group() as group:
            for name in "ab":
                group.start_soon(wait, name)
                await anyio.wait_all_tasks_blocked() if backend == "trio" else await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.5)
            assert limiter.waiting == 2
            assert not limiter.try_take()
            assert limiter.try_reserve() is None
            assert limiter.try_reserve(first=True) is None, "none is free yet"
            group.start_soon(lambda: wait("urgent", first=True))
        assert order == ["urgent", "a", "b"]
        assert limiter.waiting == 0

    run(backend, main)


def test_a_grant_says_how_long_it_was_waited_for() -> None:
    async def main() -> None:
        limiter = MemoryRateLimiter(RateLimit(2, 1), clock=anyio.current_time)
        assert await limiter.acquire() == 0
        assert await limiter.acquire() == pytest.approx(0.5)
        grant = await limiter.reserve()
        assert grant.waited == pytest.approx(0.5, abs=0.03)
        grant.dropped()
        assert await limiter.acquire() == 0, "a dropped grant costs nothing"

    run("asyncio", main)


@pytest.mark.parametrize("mode", ["cut off", "frozen", "refusing"])
def test_a_429_is_taken_in_at_once_by_one_that_goes_alone(mode: str) -> None:
    """The server does not answer, as is known: nobody waits for it once more."""

    async def main() -> None:
        server = Server(Random(1))
        limiter = SimulatedRateLimiter(server, RateLimit(20, 5))
        (await limiter.reserve()).sent()
        server.mode = mode  # type: ignore[assignment]
        (await limiter.reserve()).sent()
        began = anyio.current_time()
        await limiter.throttled(7.0)
        assert anyio.current_time() == began
        (await limiter.reserve()).sent()
        assert anyio.current_time() - began >= 7

    run_virtual(main())


def test_one_who_waits_alone_takes_no_slot_beside_its_own() -> None:
    async def main() -> None:
        server = Server(Random(1))
        limiter = SimulatedRateLimiter(server, RateLimit(2, 1))
        for count in range(1, 5):
            (await limiter.reserve()).sent()
            assert server.state is not None
            assert len(server.state.slots) <= 3, "more slots are taken than a window holds"
            assert server.state.slots[-1] <= round((1_800_000_000 + anyio.current_time()) * 1e6), count
            await anyio.sleep(0.1)

    run_virtual(main())


@pytest.mark.parametrize("name", ["a", "x" * 200, "Größe 7", "a b"])
def test_a_name_for_a_shared_limit_is_up_to_200_printable_characters(name: str) -> None:
    assert SharedRateLimiter(name=name).name == name


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "a\x00", "{a", "a}", 7, b"a"])
def test_any_other_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name must be up to 200 printable characters"):
        SharedRateLimiter(name=name)


@pytest.mark.parametrize("instances", [None, 1, 2, 500])
def test_a_fleet_has_any_number_of_processes_from_1(instances: int | None) -> None:
    assert SharedRateLimiter(instances=instances)
    for wrong in (0, -1, True, 1.0, "2"):
        with pytest.raises(ConfigurationError, match="instances must be a whole number from 1"):
            SharedRateLimiter(instances=wrong)  # type: ignore[arg-type]
