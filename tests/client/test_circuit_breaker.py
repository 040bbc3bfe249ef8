"""A client's circuit breaker: single calls end at once while it is open, rows wait, and one read at a time probes."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from refold_async import CircuitBreaker, CircuitOpenError, Delivery, Trigger
from refold_async._core.gate import Gate
from refold_async._types.evidence import NOT_REACHED, Cut, Evidence
from refold_async.policies.circuit import CircuitState
from refold_async.testing import Fault, MockRefold
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over
from tests.support import ending

pytestmark = pytest.mark.asyncio


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_single_call_ends_at_once_while_the_circuit_is_open(
    server: MockRefold, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    breaker = CircuitBreaker(2, 5.0, clock=clock)
    server.next(*[Fault.answer(503)] * 2)
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        for _ in range(2):
            await ending(client.trigger("slack", "E"))
        with pytest.raises(CircuitOpenError) as caught:
            await client.trigger("slack", "E")
        assert (caught.value.delivery, caught.value.attempts) == (Delivery.NOT_SENT, 0)
        assert server.ledger.requests == 2
        clock.now += 5.0
        assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED
        assert breaker.is_closed
    assert caplog.text.count("the circuit breaker opens") == 1


@pytest.mark.parametrize(
    "outage",
    [Fault.answer(503), Fault.answer(502), Fault.reset_before_reading(), Fault.answer(200, body=b"<html>")],
    ids=["503", "502", "reset", "a page of HTML"],
)
async def test_a_read_that_meets_the_outage_leaves_it_open_for_as_long_again_and_costs_no_event(
    server: MockRefold, outage: Fault
) -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 5.0, clock=clock)
    server.next(Fault.answer(503))
    server.next(outage, kind="read")
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        await ending(client.trigger("slack", "E"))
        clock.now += 5.0
        for _ in range(2):
            got = await ending(client.trigger("slack", "E"))
            assert isinstance(got, CircuitOpenError)
            assert got.delivery is Delivery.NOT_SENT
        assert server.ledger.requests == 2, "a trigger, and one read"
        clock.now += 5.0
        assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED


async def test_a_read_that_is_answered_lets_one_trigger_go_first(server: MockRefold) -> None:
    """Other machines may serve the triggers: the answer to the read does not close the circuit."""
    clock = Clock()
    breaker = CircuitBreaker(1, 5.0, clock=clock)
    server.next(Fault.answer(503), Fault.answer(503))
    server.next(Fault.answer(401), kind="read")
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        await ending(client.trigger("slack", "E"))
        clock.now += 5.0
        assert (await ending(client.trigger("slack", "E"))).delivery is Delivery.AMBIGUOUS
        assert breaker.state is CircuitState.OPEN
        assert isinstance(await ending(client.trigger("slack", "E")), CircuitOpenError)
        assert server.ledger.requests == 3, "two triggers, and the read between them"


async def test_a_call_cancelled_during_its_read_lets_another_probe_at_once(server: MockRefold) -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 5.0, clock=clock)
    server.next(Fault.answer(503))
    server.next(Fault.stall_head(), kind="read")
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        await ending(client.trigger("slack", "E"))
        clock.now += 5.0
        call = asyncio.ensure_future(client.trigger("slack", "E"))
        await asyncio.to_thread(server.ledger.wait_for, lambda ledger: ledger.requests == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert breaker.seconds_to_probe() == 0
        assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED


async def test_a_call_that_was_never_sent_gives_its_probe_back(server: MockRefold) -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 5.0, clock=clock)

    def refuse(sending: object) -> None:
        raise ValueError("not now")

    server.next(Fault.answer(503))
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        await ending(client.trigger("slack", "E"))
        clock.now += 5.0
        await ending(client.trigger("slack", "E", before_send=refuse))
        assert breaker.state is CircuitState.OPEN
        assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED


async def test_a_deadline_that_passed_on_the_wire_counts_as_an_outage(server: MockRefold) -> None:
    breaker = CircuitBreaker(1, 5.0, clock=Clock())
    server.next(Fault.stall_head())
    async with server.client(circuit_breaker=breaker, retry=None) as client:
        got = await ending(client.trigger("slack", "E", deadline=0.05))
        assert got.delivery is Delivery.AMBIGUOUS
        assert breaker.state is CircuitState.OPEN


@pytest.mark.parametrize("backend", BACKENDS)
async def test_rows_wait_until_the_circuit_closes_and_none_is_lost(backend: str) -> None:
    """Their deadline stands still meanwhile: it is far shorter than the wait."""
    transport = FakeTransport(lambda n, _before: Reply(503) if n == 0 else Reply(seconds=1.0))
    rows = [Trigger("slack", "E", {"n": n}) for n in range(1, 13)]

    async def main() -> tuple[list[Delivery], list[float]]:
        breaker = CircuitBreaker(1, 600.0, clock=anyio.current_time)
        began = anyio.current_time()
        async with client_over(transport) as client:
            await ending(client.with_options(circuit_breaker=breaker).trigger("slack", "E", {"n": 0}))
            assert breaker.state is CircuitState.OPEN
            view = client.with_options(deadline=30.0)
            result = await view.trigger_many(rows, max_concurrency=4, circuit_breaker=breaker)
            assert breaker.is_closed
        assert [r.method for r in transport.requests[:3]] == ["POST", "GET", "POST"]
        return [outcome.delivery for outcome in result], [at - began for at in transport.times]

    said, times = await asyncio.to_thread(run, backend, main)
    assert said == [Delivery.ACCEPTED] * 12
    assert transport.started[0] == 0
    assert sorted([*transport.started[:1], *transport.started[2:]]) == list(range(13))
    assert times[:4] == [0.0, pytest.approx(600.0), pytest.approx(601.0), pytest.approx(602.0)], (
        "one read, then one row, and the others wait for it"
    )


async def test_a_batch_that_waits_at_an_open_circuit_can_be_cancelled(server: MockRefold) -> None:
    breaker = CircuitBreaker(1, 1000.0)
    server.next(Fault.answer(503))
    async with server.client(retry=None, circuit_breaker=breaker) as client:
        await ending(client.trigger("slack", "E"))
        batch = asyncio.ensure_future(client.trigger_many([Trigger("slack", "E")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
    assert server.ledger.requests == 1


@pytest.mark.parametrize(
    ("evidence", "is_open"),
    [
        (Evidence(written=True, cut=Cut.DEADLINE), True),
        (Evidence(written=True, cut=Cut.CANCELLED), False),
        (Evidence(written=False, cut=Cut.DEADLINE), False),
        (Evidence(written=True, error=OSError()), True),
        (Evidence(500, written=True, cut=Cut.CANCELLED), True),
        (Evidence(200, written=True), False),
        (NOT_REACHED, False),
    ],
    ids=[
        "deadline",
        "cancelled",
        "deadline before it",
        "broken off",
        "500 then cancelled",
        "200",
        "not reached",
    ],
)
async def test_what_counts_as_an_outage(server: MockRefold, evidence: Evidence, is_open: bool) -> None:
    breaker = CircuitBreaker(1, 5.0, clock=Clock())
    async with server.client() as client:
        call = client._sender.new_call(Trigger("slack", "E"))
        Gate(breaker, client._sender.life).tell(call, evidence, is_refold=True)
    assert (breaker.state is CircuitState.OPEN) == is_open


async def test_waiting_rows_are_woken_at_once_when_a_probe_is_answered(server: MockRefold) -> None:
    """Within the test's timeout, although the next probe would be due in an hour."""
    clock = Clock()
    breaker = CircuitBreaker(1, 3600.0, clock=clock)
    breaker.record_outage()
    clock.now += 3600.0
    async with server.client(rate_limit=None) as client:
        rows = [Trigger("slack", "E", {"id": n}) for n in range(5)]
        result = await client.trigger_many(rows, circuit_breaker=breaker)
    assert [outcome.delivery for outcome in result] == [Delivery.ACCEPTED] * 5
