"""A representative part of it all on asyncio, uvloop and trio."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from refold_async import ClientClosedError, DeadlineExceededError, Delivery, Idempotency, RateLimit, RefoldError
from refold_async.hooks import CallFinished
from refold_async.testing import Dedupe, Fault, MockRefold
from tests.support import QUICK, abandons_sockets, timeout_for

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})], ids=["asyncio", "uvloop", "trio"]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (None, Delivery.ACCEPTED),
        (Fault.reset_after_firing(), Delivery.AMBIGUOUS),
        (Fault.close_before_firing(), Delivery.AMBIGUOUS),
        (Fault.truncate_body(), Delivery.ACCEPTED),
        (Fault.stall_body(), Delivery.ACCEPTED),
        (Fault.stall_head(), Delivery.AMBIGUOUS),
        (Fault.garbage(), Delivery.AMBIGUOUS),
        (Fault.html_502(), Delivery.AMBIGUOUS),
        (Fault.answer(404), Delivery.REJECTED),
        (Fault.throttle("0"), Delivery.ACCEPTED),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
async def test_each_ending_has_its_verdict_on_every_loop(
    server: MockRefold, fault: Fault | None, verdict: Delivery
) -> None:
    server.next(fault)
    async with server.client(retry=QUICK, timeout=timeout_for(fault)) as client:
        said: Delivery | None
        try:
            said = (await client.trigger("pipedrive", "Deal Created", {"n": 1})).delivery
        except RefoldError as error:
            said = error.delivery
    assert said is verdict
    assert (server.ledger.fired_count(n=1) == 1) or verdict is not Delivery.ACCEPTED


async def test_not_sent_when_refused(server: MockRefold) -> None:
    server.refuse()
    async with server.client(retry=QUICK) as client:
        with pytest.raises(RefoldError) as caught:
            await client.trigger("pipedrive", "Deal Created")
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.NOT_SENT, 3)


async def test_over_tls() -> None:
    async with MockRefold(tls=True) as server, server.client() as client:
        assert (await client.trigger("pipedrive", "Deal Created")).delivery is Delivery.ACCEPTED


async def test_a_declared_window_retries_what_is_ambiguous() -> None:
    async with MockRefold(rate_limit=None, dedupe=Dedupe(header="X-Key")) as server:
        server.next(Fault.reset_after_firing(), Fault.html_502())
        async with server.client(retry=QUICK, idempotency=Idempotency(header="X-Key")) as client:
            receipt = await client.trigger("pipedrive", "Deal Created", {"n": 1})
        assert (receipt.attempts, receipt.after_ambiguous) == (3, True)
        assert server.ledger.fired_count(n=1) == 1


@abandons_sockets
async def test_many_share_few_connections_and_some_are_cancelled(server: MockRefold) -> None:
    told: list[CallFinished] = []
    accepted: list[int] = []

    def watch(event: object) -> None:
        if isinstance(event, CallFinished):
            told.append(event)

    async with server.client(rate_limit=None, max_connections=5, hooks=[watch]) as client:

        async def fire(n: int) -> None:
            if n % 3:
                await client.trigger("pipedrive", "Deal Created", {"n": n})
                accepted.append(n)
                return
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.trigger, "pipedrive", "Deal Created", {"n": n})
                    for _ in range(n):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

        async with anyio.create_task_group() as group:
            for n in range(150):
                group.start_soon(fire, n)
    assert (len(accepted), len(told)) == (100, 150)
    counts = server.ledger.count_fired_by("n")
    for event in told:
        assert event.trigger is not None
        assert event.trigger.payload is not None
        fired = counts[event.trigger.payload["n"]]
        assert fired <= 1
        assert fired == 1 or event.delivery is not Delivery.ACCEPTED
        assert fired == 0 or event.delivery in (Delivery.ACCEPTED, Delivery.AMBIGUOUS)


async def test_pacing(server: MockRefold) -> None:
    async with server.client(rate_limit=RateLimit(50, 2)) as client:
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(client.trigger, "pipedrive", "Deal Created", {"n": n})
    times = [entry.received_at for entry in server.ledger.entries]
    assert len(times) == 20
    assert times[-1] - times[0] >= 0.3


async def test_deadline_and_close_end_calls_on_every_loop(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.stall_head())
    client = server.client(rate_limit=None)
    with pytest.raises(DeadlineExceededError) as caught:
        await client.trigger("pipedrive", "Deal Created", deadline=1.0)
    assert caught.value.delivery is Delivery.AMBIGUOUS
    ended: list[RefoldError] = []

    async def fire() -> None:
        with pytest.raises(ClientClosedError) as closed:
            await client.trigger("pipedrive", "Deal Created")
        ended.append(closed.value)

    async with anyio.create_task_group() as group:
        group.start_soon(fire)
        await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests == 2)
        await client.aclose(grace=0.05)
    assert ended[0].delivery is Delivery.AMBIGUOUS
