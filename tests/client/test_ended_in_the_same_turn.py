"""A call that is ended from outside in the very turn in which something else happens to it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from refold_async import Delivery, RateLimit, RefoldError, RetryPolicy
from refold_async._types.evidence import Cut
from refold_async._wire.connection import Connection
from refold_async._wire.flight import Flight
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import Fault, MockRefold
from tests.support import ending

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("cut", list(Cut))
@pytest.mark.parametrize("hooked", [False, True], ids=["alone", "with a hook"])
@pytest.mark.parametrize("status", [200, 404, 429, 503])
async def test_a_call_that_is_ended_as_its_response_lands_leaves_no_cancellation_in_the_callers_task(
    server: MockRefold, monkeypatch: pytest.MonkeyPatch, status: int, hooked: bool, cut: Cut
) -> None:
    """Its evidence is complete, and decides; what follows, such as telling the limiter of a 429, awaits nothing."""
    server.plan(lambda entry: Fault.answer(status) if status != 200 else None)
    limiter = MemoryRateLimiter(RateLimit(1000, 1000))
    hooks = [lambda event: None] if hooked else []
    async with server.client(rate_limit=limiter, retry=RetryPolicy(base_delay=0.0), hooks=hooks) as client:

        def end_all() -> None:
            for call in list(client._sender.life.calls):
                call.interrupt(cut)

        for name in ("_settle", "_read_plain"):
            original = getattr(Flight, name)

            def landing(self: Flight, *given: Any, original: Any = original) -> Any:
                result = original(self, *given)
                if self.evidence is not None:
                    end_all()
                return result

            monkeypatch.setattr(Flight, name, landing)

        async def user() -> tuple[Any, bool]:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
            for _ in range(5):
                await asyncio.sleep(0)
            return got, True

        got, went_on = await asyncio.create_task(user())
        assert went_on
        expected = {200: Delivery.ACCEPTED, 404: Delivery.REJECTED, 429: Delivery.REJECTED, 503: Delivery.AMBIGUOUS}
        assert (got.delivery, got.attempts) == (expected[status], 1)
    assert server.ledger.requests == 1


async def test_a_call_that_is_stopped_between_its_slot_and_its_wakeup_is_not_sent(server: MockRefold) -> None:
    """The slot comes where no connection is idle, so that the call is only woken; a connection comes back meanwhile."""
    async with server.client(rate_limit=None, retry=None, max_connections=1) as client:
        await client.trigger("slack", "E", {"id": 0})
        life = client._sender.life
        pool, slots = life.own_pool(), life.slots
        assert pool is not None
        assert slots is not None
        assert slots.try_acquire()
        task = asyncio.ensure_future(ending(client.trigger("slack", "E", {"id": 1})))
        await asyncio.sleep(0)
        assert slots.waiting == 1
        connection = pool.take_idle(life.origin)
        assert connection is not None
        slots.release()
        for call in list(life.calls):
            call.interrupt(Cut.STOPPED)
        pool.release(connection, reusable=True)
        got = await task
        assert isinstance(got, RefoldError)
        assert got.delivery is Delivery.NOT_SENT
        assert (slots.available, slots.waiting) == (1, 0)
    assert server.ledger.requests == 1


@pytest.mark.parametrize("options", [{}, {"before_send": lambda sending: None}], ids=["plain", "before_send"])
async def test_what_could_not_be_written_is_not_reported_as_sent(
    server: MockRefold, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    def broken(self: Connection, data: bytes) -> bool:
        raise httpx.WriteError("the connection broke before anything was written to it")

    async with server.client(rate_limit=None, retry=None, **options) as client:
        await client.trigger("slack", "E", {"id": 0})
        monkeypatch.setattr(Connection, "write_first", broken)
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert isinstance(got, RefoldError)
        assert (got.delivery, got.sent) == (Delivery.NOT_SENT, None)
    assert server.ledger.requests == 1
