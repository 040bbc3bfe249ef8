"""What a call or a client held comes back, wherever it is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from refold_async import RefoldClient, RetryPolicy
from refold_async._core import lifecycle
from refold_async._wire.flight import Flight
from refold_async._wire.httpx_wire import _LegAuth
from refold_async.testing import Fault, MockRefold
from tests.fakes.transport import FakeTransport, Reply, client_over

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("retry", [None, RetryPolicy(base_delay=0.0)], ids=["once", "retried"])
@pytest.mark.parametrize("status", [200, 404, 429, 503])
async def test_a_caller_who_is_cancelled_as_the_response_lands_leaves_no_slot_taken(
    server: MockRefold, monkeypatch: pytest.MonkeyPatch, status: int, retry: RetryPolicy | None
) -> None:
    server.plan(lambda entry: Fault.answer(status) if status != 200 else None)
    async with server.client(rate_limit=None, retry=retry, max_connections=2) as client:
        tasks: list[asyncio.Task[Any]] = []
        for name in ("_settle", "_read_plain"):
            original = getattr(Flight, name)

            def landing(self: Flight, *given: Any, original: Any = original) -> Any:
                result = original(self, *given)
                if self.evidence is not None:
                    tasks[0].cancel()
                return result

            monkeypatch.setattr(Flight, name, landing)
        for _ in range(3):
            tasks[:] = [asyncio.create_task(client.trigger("slack", "E", {"id": 1}))]
            await asyncio.wait(tasks)
        slots = client._sender.life.slots
        assert slots is not None
        assert (slots.available, slots.waiting) == (2, 0)
        assert not client._sender.life.calls


async def test_closing_in_a_forked_child_leaves_the_parents_connections_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever loop the child runs: nothing is raised, and nothing of the parent's is touched."""
    wire = FakeTransport(lambda n, before: pytest.fail("nothing is sent"))
    client = client_over(wire)
    life = client._sender.life
    life._bind(asyncio.new_event_loop())
    try:
        monkeypatch.setattr(lifecycle._forks, "count", lifecycle._forks.count + 1)
        await client.aclose()
        assert client.is_closed
    finally:
        assert isinstance(life._bound, asyncio.AbstractEventLoop)
        life._bound.close()


async def test_a_call_that_has_got_its_slot_is_watched_by_its_own_limits_only(server: MockRefold) -> None:
    async with server.client(rate_limit=None, retry=None, max_connections=2, deadline=50) as client:
        await asyncio.gather(*(client.trigger("slack", "E", {"n": n}) for n in range(12)))
        life = client._sender.life
        assert life.timer is not None
        assert life.slots is not None
        assert (life.timer.timed, life.slots.available, life.slots.waiting) == (set(), 2, 0)
    assert sorted(entry.payload["n"] for entry in server.ledger.entries) == list(range(12)), "each is sent once"


class Flow(httpx.Auth):
    """Notes when its flow is closed."""

    requires_request_body = True

    def __init__(self) -> None:
        self.closed = 0

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        try:
            yield request
        finally:
            self.closed += 1


@pytest.mark.parametrize("ending", [httpx.ConnectError("no"), httpx.ReadError("no"), 200, 500])
async def test_an_auth_flow_is_closed_with_its_call(ending: Exception | int) -> None:
    """While the error, and all that its traceback holds, is still there."""
    flow, wire = Flow(), FakeTransport(lambda n, before: Reply(ending))
    async with (
        httpx.AsyncClient(transport=wire, auth=flow) as session,
        RefoldClient(api_key="k", linked_account_id="a", http_client=session, retry=None, rate_limit=None) as client,
    ):
        got = await asyncio.gather(client.trigger("slack", "E"), return_exceptions=True)
        assert flow.closed == 1
        assert isinstance(got[0], Exception) == (ending != 200)


async def test_an_auth_flow_is_closed_with_the_one_around_it_and_not_a_turn_later() -> None:
    class Legs:
        begun = 0

        def begin_leg(self, leg: httpx.Request) -> None:
            self.begun += 1

    flow, legs = Flow(), Legs()
    request = httpx.Request("POST", "http://127.0.0.1/", content=b"{}")
    around = _LegAuth(flow, legs).async_auth_flow(request)  # type: ignore[arg-type]
    assert await anext(around) is request
    await around.aclose()
    assert (flow.closed, legs.begun) == (1, 1)
