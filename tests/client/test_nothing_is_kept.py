"""What a call or a client held comes back, wherever it is cut off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from refold_async import RetryPolicy
from refold_async._core import lifecycle
from refold_async._wire.flight import Flight
from refold_async.testing import Fault, MockRefold
from tests.fakes.transport import FakeTransport, client_over

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
