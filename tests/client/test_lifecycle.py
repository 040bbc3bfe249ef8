"""Opening, closing, event loops, forks and views."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import anyio
import anyio.to_thread
import httpx
import pytest
import trio

from refold_async import (
    ClientClosedError,
    ConfigurationError,
    Delivery,
    RateLimit,
    RefoldClient,
    RefoldError,
    RetryPolicy,
)
from refold_async.hooks import HookEvent, RetryScheduled
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import Fault, MockRefold
from tests.fakes.transport import FakeTransport, fired
from tests.support import abandons_sockets


async def arrived(server: MockRefold, count: int) -> None:
    assert await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests >= count)


@pytest.mark.asyncio
async def test_closing_fails_what_waits_and_lets_what_is_on_the_wire_finish(server: MockRefold) -> None:
    with MockRefold(rate_limit=None, latency=1.0) as slow:
        slow.next(Fault.answer(200), Fault.throttle("20"))
        backing_off = anyio.Event()

        def watch(event: HookEvent) -> None:
            if isinstance(event, RetryScheduled):
                backing_off.set()

        client = slow.client(rate_limit=None, max_connections=2, hooks=[watch])
        endings: dict[str, RefoldError | str] = {}

        async def fire(name: str) -> None:
            try:
                endings[name] = (await client.trigger("pipedrive", "Deal Created", {"n": name})).message
            except RefoldError as error:
                endings[name] = error

        async with anyio.create_task_group() as group:
            group.start_soon(fire, "on the wire")
            await arrived(slow, 1)
            group.start_soon(fire, "backing off")
            await arrived(slow, 2)
            await backing_off.wait()
            group.start_soon(fire, "on the wire 2")
            group.start_soon(fire, "on the wire 3")
            await arrived(slow, 4)
            group.start_soon(fire, "queued")
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        assert client.is_closed
        assert {name: type(end).__name__ for name, end in endings.items()} == {
            "on the wire": "str",
            "on the wire 2": "str",
            "on the wire 3": "str",
            "backing off": "RateLimitedError",
            "queued": "ClientClosedError",
        }
        queued, waited = endings["queued"], endings["backing off"]
        assert isinstance(queued, RefoldError)
        assert isinstance(waited, RefoldError)
        assert (queued.delivery, queued.attempts) == (Delivery.NOT_SENT, 0)
        assert (waited.delivery, waited.attempts) == (Delivery.REJECTED, 1)
        assert slow.ledger.fired_count(n="queued") == 0


@pytest.mark.asyncio
async def test_closing_cuts_off_what_outlives_the_grace(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.stall_head())
    client = server.client()
    call = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created"))
    await arrived(server, 1)
    await client.aclose(grace=0.05)
    with pytest.raises(ClientClosedError) as caught:
        await call
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.AMBIGUOUS, 1)
    await client.aclose()
    with pytest.raises(ClientClosedError, match="is closed") as caught:
        await client.trigger("pipedrive", "Deal Created")
    assert caught.value.delivery is Delivery.NOT_SENT
    with pytest.raises(ClientClosedError):
        async with client:
            pass
    assert client.session.is_closed


@pytest.mark.asyncio
async def test_closing_while_waiting_for_the_limiter(server: MockRefold) -> None:
    client = server.client(rate_limit=RateLimit(0.1, 1))
    await client.trigger("pipedrive", "Deal Created")
    call = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created"))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(ClientClosedError) as caught:
        await call
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.NOT_SENT, 0)
    assert server.ledger.requests == 1


@pytest.mark.asyncio
async def test_a_cancelled_close_still_closes(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.stall_head())
    client = server.client()
    call = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created"))
    await arrived(server, 1)
    with anyio.move_on_after(0.05) as scope:
        await client.aclose(grace=30)
    assert scope.cancelled_caught
    assert client.session.is_closed
    with pytest.raises(ClientClosedError):
        await call


@pytest.mark.asyncio
async def test_a_view_closes_nothing(server: MockRefold) -> None:
    async with server.client() as client:
        async with client.for_account("acct_9") as view:
            await view.trigger("pipedrive", "Deal Created")
        await view.aclose()
        assert not client.is_closed
        await client.trigger("pipedrive", "Deal Created")
    assert view.is_closed
    assert [entry.linked_account_id for entry in server.ledger.entries] == ["acct_9", "acct_mock"]
    assert server.ledger.connections == 1
    assert "view" in repr(view)
    assert repr(client).endswith("by api_key, closed>")


@pytest.mark.asyncio
async def test_the_callers_own_session_is_not_closed() -> None:
    transport = FakeTransport.answering(fired())
    async with httpx.AsyncClient(transport=transport) as session:
        async with RefoldClient(api_key="k", linked_account_id="a", http_client=session) as client:
            await client.trigger("slack", "E")
            assert client.session is session
        assert not session.is_closed


def in_a_loop(work: Callable[[], object]) -> object:
    async def run() -> object:
        result = work()
        return await result if asyncio.iscoroutine(result) else result

    return asyncio.run(run())


@abandons_sockets
def test_a_second_loop_after_the_first_was_closed(server: MockRefold) -> None:
    limiter = MemoryRateLimiter(RateLimit(1000, 5))
    client = server.client(rate_limit=limiter)
    for _ in range(3):
        in_a_loop(lambda: client.trigger("pipedrive", "Deal Created"))
    assert server.ledger.requests == 3

    async def abandon() -> None:
        """Leave a call waiting for the limiter when the loop goes."""
        await limiter.throttled(0.1)
        task = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created"))
        await asyncio.sleep(0)
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    loop.close()

    async def again() -> None:
        async with client:
            await client.trigger("pipedrive", "Deal Created")

    in_a_loop(again)
    assert server.ledger.requests == 4
    assert client.is_closed


def test_a_second_loop_while_the_first_is_open(server: MockRefold) -> None:
    client = server.client()
    first = asyncio.new_event_loop()
    try:
        first.run_until_complete(client.trigger("pipedrive", "Deal Created"))
        with pytest.raises(ConfigurationError, match="another event loop"):
            in_a_loop(lambda: client.trigger("pipedrive", "Deal Created"))
        first.run_until_complete(client.aclose())
    finally:
        first.close()


@abandons_sockets
def test_closing_after_the_loop_has_gone(server: MockRefold) -> None:
    client = server.client()
    in_a_loop(lambda: client.trigger("pipedrive", "Deal Created"))
    in_a_loop(client.aclose)
    assert client.is_closed


@abandons_sockets
def test_from_asyncio_to_trio_and_back(server: MockRefold) -> None:
    client = server.client()

    async def fire() -> None:
        await client.trigger("pipedrive", "Deal Created")

    for run in (trio.run, asyncio.run, trio.run):
        if run is asyncio.run:
            asyncio.run(fire())
        else:
            trio.run(fire)
    trio.run(client.aclose)
    assert server.ledger.requests == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_gets_an_error_and_not_a_hang() -> None:
    transport = FakeTransport.answering(fired())
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport)
    in_a_loop(lambda: client.trigger("slack", "E"))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child reports by the pipe
        try:
            in_a_loop(lambda: client.trigger("slack", "E"))
        except ConfigurationError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        assert b"forked" in pipe.read()


@pytest.mark.asyncio
async def test_a_session_that_dies_young_leaves_no_warning(server: MockRefold) -> None:
    client = server.client(retry=RetryPolicy(max_attempts=1))
    await client.trigger("pipedrive", "Deal Created")
    await client.aclose()
    await client.aclose(grace=0)
    assert sys.exc_info() == (None, None, None)
