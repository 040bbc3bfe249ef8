"""A limiter that processes share, in virtual time: all of it is real but the server, which is the rule itself."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fleet.simulation import Scenario, fresh_grant, jain, simulate
from benchmarks.fleet.virtual import run
from benchmarks.fleet.world import Network, Server, SimulatedRateLimiter
from refold_async import ClientClosedError, ConfigurationError, Delivery, PacingTimeoutError, RateLimit
from tests.unit.policies.test_pacing import check_pace

from .fleet import Fleet, in_virtual_time, now

QUIET = "refold_async"


@pytest.mark.parametrize("limit", [RateLimit(), RateLimit(1.9), RateLimit(0.5, 2), RateLimit(100, 10)], ids=str)
def test_a_fleet_uses_the_rate_meets_no_429_and_shares_fairly(limit: RateLimit) -> None:
    seconds = 20 if limit.rate > 5 else 200
    measured = simulate(Scenario(limit=limit, seconds=seconds))
    assert measured.share >= 0.95
    assert measured.throttled == 0
    assert measured.fairness >= 0.98
    assert measured.longest_wait <= 2 * measured.fair_wait
    assert measured.calls_per_grant <= 2.3


def test_a_fleet_whose_event_loops_stall_loses_little() -> None:
    measured = simulate(Scenario(stalls=(0.02, 0.15, 1.0)))
    assert measured.share >= 0.88
    assert measured.throttled <= 3


def test_skewed_clocks_of_the_processes_change_nothing() -> None:
    assert simulate(Scenario(clock_skew=10.0)) == simulate(Scenario())


def test_a_server_that_is_far_away_costs_a_fleet_nothing() -> None:
    measured = simulate(Scenario(network=Network(delay=0.04, jitter=0.002)))
    assert (measured.share >= 0.95, measured.throttled) == (True, 0)


@in_virtual_time
async def test_a_429_in_one_process_pauses_all() -> None:
    async with Fleet() as fleet:
        await asyncio.sleep(3)
        at = now()
        await fleet.limiters[0].throttled(2.0)
        await asyncio.sleep(2)
        assert fleet.between(at + 0.1, at + 2.0) <= 1
        await asyncio.sleep(10)
        assert fleet.between(at + 2, at + 12) >= 0.8 * 200
    assert not fleet.refold.refused


@in_virtual_time
async def test_the_servers_clock_set_back_stalls_nobody() -> None:
    async with Fleet() as fleet:
        await asyncio.sleep(3)
        fleet.server.skew -= 30
        at = now()
        await asyncio.sleep(10)
        assert fleet.between(at, at + 2) > 0
        assert fleet.between(at, at + 10) >= 0.9 * 200
    assert not fleet.refold.refused


async def out_for(fleet: Fleet, seconds: float, restarted_empty: bool) -> tuple[float, float]:
    await asyncio.sleep(5)
    began = now()
    fleet.server.mode = "cut off"
    await asyncio.sleep(seconds)
    fleet.server.mode = "up"
    if restarted_empty:
        fleet.server.state = None
    ended = now()
    await asyncio.sleep(10)
    return began, ended


@pytest.mark.parametrize("restarted_empty", [False, True])
def test_without_the_server_each_goes_on_at_its_share_and_comes_back(
    restarted_empty: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, QUIET)

    async def main() -> None:
        async with Fleet() as fleet:
            began, ended = await out_for(fleet, 10, restarted_empty)
            assert fleet.between(began, ended) >= 0.7 * 20 * 10
            assert all(limiter._links[asyncio.get_running_loop()].alone is None for limiter in fleet.limiters)
            assert fleet.between(ended + 2, ended + 10) >= 0.9 * 20 * 8
            assert len(fleet.refold.refused) <= 5

    run(main())
    lost = [record for record in caplog.records if "does not answer" in record.getMessage()]
    back = [record for record in caplog.records if "shared again" in record.getMessage()]
    assert (len(lost), len(back)) == (8, 8), "one of each for each process"
    assert "alone at 2 a second" in lost[0].getMessage()


@in_virtual_time
async def test_no_call_waits_longer_for_a_server_that_hangs_than_a_quarter_of_a_second() -> None:
    server = Server(Random(1))
    server.mode = "cut off"
    limiter = SimulatedRateLimiter(server)
    began = now()
    (await limiter.reserve()).sent()
    assert now() - began <= 0.3
    for _again in range(3):
        began = now()
        (await limiter.reserve()).sent()
        assert now() - began <= 1.1, "1 a second, as nobody knows how many there are"


@in_virtual_time
async def test_a_flushed_server_is_told_what_was_just_sent() -> None:
    async with Fleet() as fleet:
        for _round in range(5):
            await asyncio.sleep(2.3)
            fleet.server.state = None
    assert len(fleet.refold.refused) <= 5


@in_virtual_time
async def test_calls_can_be_refused_while_the_server_is_away() -> None:
    server = Server(Random(1))
    limiter = SimulatedRateLimiter(server, on_outage="refuse")
    (await limiter.reserve()).sent()
    server.mode = "cut off"
    for _again in range(3):
        began = now()
        with pytest.raises(PacingTimeoutError, match='on_outage is "refuse"') as caught:
            await limiter.reserve()
        assert caught.value.delivery is Delivery.NOT_SENT
        assert now() - began <= 0.3
        await asyncio.sleep(0.1)
    server.mode = "up"
    await asyncio.sleep(1)
    with pytest.raises(PacingTimeoutError):
        await limiter.reserve()  # which is the probe
    await asyncio.sleep(0.1)
    (await limiter.reserve()).sent()


@in_virtual_time
async def test_a_process_that_is_killed_loses_one_slot() -> None:
    async with Fleet(limit=RateLimit(20, 1)) as fleet:
        for number in range(6):
            await asyncio.sleep(2)
            for task in fleet.tasks[number]:
                task.cancel()
            fleet.limiters[number]._connect = lambda name: (_ for _ in ()).throw(OSError())  # type: ignore[method-assign]
        at = now()
        await asyncio.sleep(5)
        assert fleet.between(at, at + 5) >= 0.95 * 100
        counts = [sum(1 for when, who in fleet.sent if when >= at and who == number) for number in (6, 7)]
        assert jain(counts) >= 0.98
    assert not fleet.refold.refused


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1.5), st.none() | st.floats(0, 2), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 3),
    st.sampled_from([RateLimit(), RateLimit(3, 2), RateLimit(7.5, 4)]),
)
def test_whoever_is_cancelled_the_others_are_granted_at_their_pace(
    arrivals: list[tuple[float, float | None, bool]], processes: int, limit: RateLimit
) -> None:
    """Callers come, and some are cancelled or drop their grant; those who stay are all granted, in order."""
    granted: list[tuple[int, int]] = []
    times: list[float] = []

    async def main() -> None:
        server = Server(Random(5), Network(0.001, 0.0))
        limiters = [SimulatedRateLimiter(server, limit) for _ in range(processes)]

        async def ask(number: int, drops: bool) -> None:
            grant, _ = await fresh_grant(limiters[number % processes])
            if drops:
                grant.dropped()
                return
            grant.sent()
            times.append(now())
            granted.append((number % processes, number))

        async def come(number: int, at: float, gives_up: float | None, drops: bool) -> None:
            await asyncio.sleep(at)
            task = asyncio.ensure_future(ask(number, drops))
            if gives_up is not None:
                await asyncio.sleep(gives_up)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*(come(number, *arrival) for number, arrival in enumerate(sorted(arrivals, key=_at))))
        assert [limiter.waiting for limiter in limiters] == [0] * processes

    run(main())
    check_pace(times, limit, tolerance=0.001)  # an answer is on its way for as long, and late by as much
    stayed = {
        number
        for number, (_, gives_up, drops) in enumerate(sorted(arrivals, key=_at))
        if gives_up is None and not drops
    }
    assert stayed <= {number for _, number in granted}


def _at(arrival: tuple[float, float | None, bool]) -> float:
    return arrival[0]


@in_virtual_time
async def test_cancelled_at_any_turn_a_waiter_loses_no_slot() -> None:
    """The next one in the same process takes what was reserved for it."""
    for turns in range(40):
        server = Server(Random(1), Network(0.001, 0))
        limiter = SimulatedRateLimiter(server, RateLimit(1, 1))
        (await limiter.reserve()).sent()
        first = asyncio.ensure_future(limiter.reserve())
        second = asyncio.ensure_future(limiter.reserve())
        began = now()
        for _turn in range(turns):
            await asyncio.sleep(0.06)
        first.cancel()
        (await second).sent()
        await asyncio.gather(first, return_exceptions=True)
        assert now() - began <= max(turns * 0.06, 1.05 if turns <= 17 else 2.1) + 0.01


@in_virtual_time
async def test_a_wait_past_the_deadline_fails_at_once() -> None:
    limiter = SimulatedRateLimiter(Server(Random(1)), RateLimit(1, 1))
    (await limiter.reserve()).sent()
    began = now()
    with pytest.raises(PacingTimeoutError, match="no slot for"):
        await limiter.reserve(deadline=began + 0.5)
    assert now() - began <= 0.01
    patient = asyncio.ensure_future(limiter.reserve(deadline=began + 2))
    await asyncio.sleep(0.01)
    with pytest.raises(PacingTimeoutError):
        await limiter.reserve(deadline=began + 0.9)  # behind the other
    (await patient).sent()


@in_virtual_time
async def test_who_goes_first_is_granted_before_those_who_wait() -> None:
    limiter = SimulatedRateLimiter(Server(Random(1)), RateLimit(1, 1))
    (await limiter.reserve()).sent()
    order: list[str] = []

    async def ask(name: str, first: bool) -> None:
        (await limiter.reserve(first=first)).sent()
        order.append(name)

    usual = [asyncio.ensure_future(ask(f"usual {n}", False)) for n in range(2)]
    await asyncio.sleep(0.1)
    await asyncio.gather(ask("first", True), *usual)
    assert order == ["first", "usual 0", "usual 1"]


def test_different_limits_go_by_the_lowest_and_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = Server(Random(1))
        low, high = SimulatedRateLimiter(server, RateLimit(5, 2)), SimulatedRateLimiter(server)
        (await low.reserve()).sent()
        for _ in range(5):
            (await high.reserve()).sent()

    run(main())
    told = [record.getMessage() for record in caplog.records if "the lowest hold" in record.getMessage()]
    assert len(told) == 1
    assert "5 a second, burst 2" in told[0]


@in_virtual_time
async def test_a_closed_limiter_refuses() -> None:
    limiter = SimulatedRateLimiter(Server(Random(1)))
    (await limiter.reserve()).sent()
    await limiter.aclose()
    await limiter.aclose()
    with pytest.raises(ClientClosedError):
        await limiter.reserve()


@in_virtual_time
async def test_the_name_comes_from_the_client_or_has_to_be_given() -> None:
    limiter = SimulatedRateLimiter(Server(Random(1)))
    limiter.bind("digest")
    assert limiter.name == "fleet", "the name that was given holds"
    limiter.name, limiter._is_own_name = None, False
    with pytest.raises(ConfigurationError, match="needs name="):
        await limiter.reserve()
    with pytest.raises(ConfigurationError, match="session token"):
        limiter.bind(None)
    limiter.bind("digest")
    limiter.bind("digest")
    assert str(limiter.name) == "digest"
    with pytest.raises(ConfigurationError, match="one API key"):
        limiter.bind("another")
    for bad in ({"name": "a{b}"}, {"name": " "}, {"on_outage": "wait"}, {"instances": 0}, {"instances": True}):
        with pytest.raises(ConfigurationError):
            limiter_with(bad)


def limiter_with(options: dict[str, Any]) -> None:
    from refold_async.limiters import SQLiteRateLimiter

    SQLiteRateLimiter("limit.db", **options)
