"""A fleet whose server is killed, frozen, cut off, emptied, restarted or read-only, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest
from attrs import define
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from benchmarks.fleet.simulation import fresh_grant
from benchmarks.fleet.virtual import run
from benchmarks.fleet.world import Network, Server, SimulatedRateLimiter
from refold_async import RateLimit
from refold_async.limiters import _link
from refold_async.policies.shared_pacing import MICRO, REJOIN

from .fleet import Fleet, in_virtual_time, now

KINDS = ("killed", "frozen", "cut off", "flushed", "restarted empty", "read-only")

RESTART = 0.05
"""Seconds that a server takes to start."""


@define(frozen=True)
class Outage:
    """What happens to the server, for how many seconds, after how many in which it was well."""

    kind: str
    seconds: float
    after: float = 5.0


def begin(server: Server, kind: str) -> None:
    if kind == "flushed":
        server.state = None
    elif kind == "frozen":
        server.mode = "frozen"
    elif kind == "cut off":
        server.mode = "cut off"
    else:
        server.mode = "refusing"
        if kind != "read-only":
            server.state = None


def end(server: Server) -> None:
    if server.mode == "frozen":
        server.thaw()
    server.mode = "up"


async def watch(fleet: Fleet) -> None:
    """Look all the time how long anyone waits for an answer, rather than for a slot."""
    while True:
        await asyncio.sleep(0.01)
        for limiter in fleet.limiters:
            link = limiter._links.get(asyncio.get_running_loop())
            if link is not None and link.alone is None and link.asked_at is not None:
                assert now() - link.asked_at <= 0.3


async def suffer(fleet: Fleet, outage: Outage) -> None:
    """Let an outage pass, and see that the fleet goes on, within the limit, and comes back."""
    await asyncio.sleep(outage.after)
    refused, began = len(fleet.refold.refused), now()
    begin(fleet.server, outage.kind)
    seconds = {"flushed": 0.0, "restarted empty": RESTART}.get(outage.kind, outage.seconds)
    await asyncio.sleep(seconds)
    end(fleet.server)
    ended = now()
    await asyncio.sleep(2)
    assert fleet.alone == [], "all are back within 2 s"
    await asyncio.sleep(8)
    met = len(fleet.refold.refused) - refused
    assert met <= 5
    assert fleet.between(began, ended + 10) >= 0.7 * fleet.limit.rate * (seconds + 10)
    if not met:
        assert fleet.between(ended + 2, ended + 10) >= 0.85 * fleet.limit.rate * 8
    if seconds >= 5:
        assert fleet.between(began, ended) >= 0.7 * fleet.limit.rate * seconds


def play(outages: list[Outage], size: int, network: Network, seed: int) -> None:
    async def main() -> None:
        async with Fleet(size, network=network, seed=seed) as fleet:
            watching = asyncio.ensure_future(watch(fleet))
            for outage in outages:
                await suffer(fleet, outage)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if not watching.cancelled():
                watching.result()

    run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 10.0])
def test_a_fleet_goes_on_without_its_server_and_comes_back(kind: str, seconds: float) -> None:
    play([Outage(kind, seconds)], 8, Network(), 3)


@settings(
    deadline=None, max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # shrinking takes minutes
@given(
    st.lists(st.builds(Outage, st.sampled_from(KINDS), st.floats(0.05, 12), st.floats(2, 8)), min_size=1, max_size=3),
    st.integers(2, 12),
    st.builds(Network, st.floats(0.0002, 0.02), st.floats(0, 0.005)),
    st.integers(0, 1000),
)
def test_whatever_happens_to_the_server_the_fleet_goes_on_and_comes_back(
    outages: list[Outage], size: int, network: Network, seed: int
) -> None:
    play(outages, size, network, seed)


def test_all_have_asked_a_server_that_is_back_before_anyone_uses_the_shared_rate() -> None:
    assert _link.PROBE_EVERY + _link.ANSWER_WITHIN <= REJOIN / MICRO


@in_virtual_time
async def test_one_that_was_busy_goes_on_at_its_share_at_once() -> None:
    """What it sent before, at the whole rate as the others were idle, does not count against its share."""
    server = Server(Random(1))
    busy, idle = (SimulatedRateLimiter(server) for _ in range(2))
    (await idle.reserve()).sent()
    for _ in range(60):
        (await fresh_grant(busy))[0].sent()
    server.mode = "refusing"
    began = now()
    for _ in range(8):
        (await fresh_grant(busy))[0].sent()
    assert now() - began <= 8 / (0.8 * 20 / 2) + 0.2


@in_virtual_time
async def test_a_fleet_that_starts_anew_with_an_empty_server_is_not_taken_for_one_process() -> None:
    async with Fleet() as fleet:
        await asyncio.sleep(5)
        fleet.server.state = None
        await asyncio.sleep(0.2)
        links = [limiter._links[asyncio.get_running_loop()] for limiter in fleet.limiters]
        assert [link.members for link in links] == [8] * 8


@in_virtual_time
async def test_a_pause_that_began_without_the_server_holds_for_all_once_it_is_back() -> None:
    server = Server(Random(1))
    first, second = (SimulatedRateLimiter(server, RateLimit(20, 5)) for _ in range(2))
    for limiter in (first, second):
        (await limiter.reserve()).sent()
    server.mode = "refusing"
    grant, _ = await fresh_grant(first)
    grant.sent()
    paused = now()
    await first.throttled(10.0)
    waiting = asyncio.ensure_future(first.reserve())
    server.mode = "up"
    await asyncio.sleep(2)
    (await second.reserve()).sent()
    assert now() - paused >= 10
    (await waiting).sent()


def test_a_state_that_was_lost_is_logged_but_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "refold_async")
    play([Outage("flushed", 0.0)], 3, Network(), 1)
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3
    assert "has lost its state: the rate limit is shared again in 0.7" in caplog.text


@in_virtual_time
async def test_a_deadline_that_the_shared_limit_will_keep_is_not_too_short_while_coming_back() -> None:
    limit = RateLimit(1, 5)
    server = Server(Random(1))
    limiters = [SimulatedRateLimiter(server, limit) for _ in range(4)]
    for limiter in limiters:
        (await limiter.reserve()).sent()
    await asyncio.sleep(5)
    for limiter in limiters[:2]:
        (await limiter.reserve()).sent()
    server.state = None
    for limiter in limiters[:2]:
        (await limiter.reserve(deadline=now() + 4)).sent()  # alone it would wait for five seconds
