"""What outlives an event loop: clients, breakers, and calls that nobody cancelled before the loop was closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from refold_async import CircuitBreaker, CircuitOpenError, ConfigurationError, Delivery, RefoldClient, Trigger
from refold_async.policies.circuit import CircuitState
from refold_async.testing import Fault, MockRefold
from tests.support import abandons_sockets
from tests.wire.wire import open_sockets


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def run_and_abandon(begin: Callable[[], Coroutine[Any, Any, Any]], until: Callable[[], bool]) -> list[Any]:
    """Run something on a loop that is closed in its middle, with nothing cancelled. Returns what is left of it."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(begin())

    async def wait() -> None:
        while not until():  # noqa: ASYNC110 - the server's thread makes it true
            await asyncio.sleep(0.001)

    loop.run_until_complete(wait())
    task._log_destroy_pending = False  # type: ignore[attr-defined] # it is what this is about
    loop.close()
    return [task]


@abandons_sockets
@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("is_kept", [True, False], ids=["calls kept", "calls collected"])
def test_a_probe_whose_loop_was_closed_does_not_hold_the_circuit_open_for_ever(
    server: MockRefold, wire: Any, is_kept: bool
) -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock=clock)
    client: RefoldClient = server.client(
        rate_limit=None, retry=None, circuit_breaker=breaker, transport=wire, deadline=None, timeout=None
    )
    breaker.record_outage()
    clock.now += 11
    server.plan(lambda entry: Fault.stall_head(fires=False))
    rows = [Trigger("slack", "E", {"id": n}) for n in range(3)]
    left = run_and_abandon(lambda: client.trigger_many(rows), lambda: server.ledger.requests >= 1)
    assert breaker.state is CircuitState.PROBING
    if not is_kept:
        left.clear()
        gc.collect()
    server.plan(None)

    async def again() -> None:
        clock.now += 11
        result = await client.trigger_many([Trigger("slack", "E", {"id": 9})])
        assert [outcome.delivery for outcome in result] == [Delivery.ACCEPTED]
        await client.aclose()

    asyncio.run(again())
    assert breaker.is_closed
    left.clear()
    gc.collect()


@abandons_sockets
def test_rows_that_waited_at_a_gate_of_a_closed_loop_do_not_break_the_next(server: MockRefold) -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10.0, clock=clock)
    client: RefoldClient = server.client(rate_limit=None, retry=None, circuit_breaker=breaker)
    breaker.record_outage()
    turns = iter(range(20))
    rows = [Trigger("slack", "E", {"id": n}) for n in range(3)]
    left = run_and_abandon(lambda: client.trigger_many(rows), lambda: next(turns, None) is None)

    async def again() -> None:
        with pytest.raises(CircuitOpenError):
            await client.trigger("slack", "E", {"id": 8})
        clock.now += 11
        assert (await client.trigger("slack", "E", {"id": 9})).delivery is Delivery.ACCEPTED
        await client.aclose()

    asyncio.run(again())
    left.clear()
    gc.collect()


@abandons_sockets
@pytest.mark.parametrize("wire", ["pool", "httpx"])
def test_after_a_loop_was_closed_under_its_calls_all_slots_are_free_on_the_next(server: MockRefold, wire: Any) -> None:
    client: RefoldClient = server.client(rate_limit=None, transport=wire, max_connections=2)
    server.plan(lambda entry: Fault.stall_head(fires=False))

    async def some() -> None:
        await asyncio.gather(*(client.trigger("slack", "E", {"id": n}) for n in range(4)))

    left = run_and_abandon(some, lambda: server.ledger.requests >= 2)
    left.clear()
    gc.collect()
    server.plan(None)

    async def again() -> None:
        await asyncio.gather(*(client.trigger("slack", "E", {"id": n}) for n in range(10, 16)))
        await client.aclose()

    asyncio.run(again())


@abandons_sockets
@pytest.mark.parametrize("then", ["call", "aclose"])
def test_sockets_of_a_closed_loop_are_closed_although_something_holds_on_to_its_tasks(
    server: MockRefold, then: str
) -> None:
    client: RefoldClient = server.client(rate_limit=None, timeout=None, deadline=None)
    gc.collect()
    before = open_sockets()

    async def some() -> None:
        await asyncio.gather(*(client.trigger("slack", "E", {"id": n}) for n in range(6)))
        server.plan(lambda entry: Fault.stall_head(fires=False))
        await asyncio.gather(*(client.trigger("slack", "E", {"id": n}) for n in range(2)))

    left = run_and_abandon(some, lambda: server.ledger.requests >= 8)
    timer = client._sender.life.timer
    assert timer is not None
    server.plan(None)

    async def again() -> None:
        if then == "call":
            await client.trigger("slack", "E", {"id": 9})
        await client.aclose()

    asyncio.run(again())
    gc.collect()
    assert not timer.timed, "which holds on to the calls"
    assert server.ledger.wait_for(lambda _: server.open_connections == 0)
    assert open_sockets() == before
    left.clear()
    gc.collect()


def test_of_threads_that_use_a_client_first_at_the_same_time_one_is_served(server: MockRefold) -> None:
    for _ in range(20):
        client: RefoldClient = server.client(rate_limit=None)
        ready, done = threading.Barrier(4), threading.Barrier(4)
        ended: list[Any] = []

        def use(
            client: RefoldClient = client,
            ready: threading.Barrier = ready,
            done: threading.Barrier = done,
            ended: list[Any] = ended,
        ) -> None:
            async def main() -> None:
                ready.wait(10)
                try:
                    ended.append((await client.trigger("slack", "E", {"id": 1})).delivery)
                except ConfigurationError as error:
                    ended.append(error)
                done.wait(10)  # the first loop is open until all have tried
                with contextlib.suppress(ConfigurationError):
                    await client.aclose()

            asyncio.run(main())

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [each for each in ended if each is Delivery.ACCEPTED] == [Delivery.ACCEPTED]
        assert sum(isinstance(each, ConfigurationError) for each in ended) == 3
