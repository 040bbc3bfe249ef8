"""A client belongs to one event loop and one process from its first use on; any other gets a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import trio

from refold_async import ConfigurationError, Delivery, RateLimit, RefoldClient, RefoldError
from refold_async.testing import Fault, MockRefold
from tests.fakes.transport import FakeTransport, fired
from tests.support import abandons_sockets

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@contextlib.contextmanager
def first_loop(client: RefoldClient) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that stays open, on which the client was used once."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(client.trigger("slack", "E"))
        yield loop
        loop.run_until_complete(client.aclose())
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


def test_closing_from_another_loop_gets_the_same_clear_error_as_a_call(server: MockRefold) -> None:
    client = server.client(rate_limit=None)
    with first_loop(client):
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(client.aclose())
        assert not client.is_closed, "what was refused has done nothing"


def test_closing_from_another_loop_leaves_calls_of_the_first_unharmed(server: MockRefold) -> None:
    client = server.client(rate_limit=None)
    with first_loop(client) as loop:
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(client.aclose())
        assert loop.run_until_complete(client.trigger("slack", "E", {"id": 2})).delivery is Delivery.ACCEPTED


def test_closing_from_another_thread_while_a_call_is_on_the_wire_is_refused_in_words(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.stall_head())
    client = server.client(rate_limit=None)
    refused: list[BaseException] = []

    def close() -> None:
        try:
            asyncio.run(client.aclose(grace=0.01))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            refused.append(error)

    async def main() -> None:
        call = asyncio.ensure_future(client.trigger("slack", "E", {"id": 1}))
        await asyncio.to_thread(server.ledger.wait_for, lambda ledger: ledger.requests == 1)
        thread = threading.Thread(target=close)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert not call.done()
        await client.aclose(grace=0.01)
        with pytest.raises(RefoldError) as caught:
            await call
        assert caught.value.delivery is Delivery.AMBIGUOUS

    asyncio.run(main())
    assert [type(error) for error in refused] == [ConfigurationError]


@abandons_sockets
def test_a_foreign_session_on_its_second_loop_is_refused_before_anything_is_sent(server: MockRefold) -> None:
    session = httpx.AsyncClient()
    client = server.client(http_client=session, rate_limit=None)
    asyncio.run(client.trigger("slack", "E", {"id": 1}))
    for n in range(2, 6):

        async def fire(n: int = n) -> None:
            await client.trigger("slack", "E", {"id": n})

        with pytest.raises(RefoldError, match="event loop") as caught:
            asyncio.run(fire())
        assert caught.value.delivery is Delivery.NOT_SENT
    assert server.ledger.requests == 1


@abandons_sockets
def test_a_foreign_session_whose_first_loop_is_still_open_is_refused_on_another(server: MockRefold) -> None:
    async def fire(n: int) -> None:
        await client.trigger("slack", "E", {"id": n})

    client = server.client(http_client=httpx.AsyncClient(), rate_limit=None)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(fire(1))
    with pytest.raises(RefoldError, match="event loop"):
        asyncio.run(fire(2))
    loop.close()
    assert server.ledger.requests == 1


@abandons_sockets
def test_a_foreign_transport_on_its_second_loop_is_refused_before_anything_is_sent(server: MockRefold) -> None:
    transport = httpx.AsyncHTTPTransport()
    client = server.client(transport=transport, rate_limit=None)
    asyncio.run(client.trigger("slack", "E", {"id": 1}))

    async def fire() -> None:
        await client.trigger("slack", "E", {"id": 2})

    for run in (asyncio.run, lambda call: trio.run(fire)):
        call: Any = fire()
        with contextlib.closing(call), pytest.raises(RefoldError, match="event loop") as caught:
            run(call)
        assert caught.value.delivery is Delivery.NOT_SENT
    assert server.ledger.requests == 1


def in_a_child(work: Any) -> bytes:
    """Run in a forked child; return what it wrote, or the error that it met."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child reports by the pipe
        try:
            os.write(write, str(work()).encode())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        return pipe.read()


@needs_fork
@forks
def test_a_client_that_was_made_but_never_used_works_after_a_fork(server: MockRefold) -> None:
    """As with gunicorn's --preload, and Celery's workers."""
    client = server.client(rate_limit=RateLimit(1000, 5))
    view = client.for_account("acct_9")

    async def fire() -> str:
        async with client:
            return (await client.trigger("slack", "E", {"id": 1})).message + (await view.trigger("slack", "E")).message

    assert in_a_child(lambda: asyncio.run(fire())) == b"Webhook Fired Success" * 2
    assert server.ledger.fired_count(id=1) == 1


@needs_fork
@forks
def test_an_unused_client_works_in_the_parent_after_a_child_has_used_it(server: MockRefold) -> None:
    client = server.client(rate_limit=None)

    async def fire() -> str:
        async with client:
            return (await client.trigger("slack", "E")).message

    assert in_a_child(lambda: asyncio.run(fire())) == b"Webhook Fired Success"
    assert asyncio.run(fire()) == "Webhook Fired Success"
    assert server.ledger.requests == 2


@needs_fork
@forks
@abandons_sockets
def test_a_client_that_was_used_before_a_fork_is_refused_in_the_child(server: MockRefold) -> None:
    client = server.client(rate_limit=None)
    asyncio.run(client.trigger("slack", "E"))

    async def fire() -> str:
        return (await client.trigger("slack", "E")).message

    said = in_a_child(lambda: asyncio.run(fire()))
    assert said.startswith(b"ConfigurationError")
    assert b"fork" in said
    assert server.ledger.requests == 1


def test_an_injected_mock_transport_is_refused_on_its_second_loop_too() -> None:
    """It has no sockets, but nobody can know that."""
    transport = FakeTransport.answering(fired())
    seen = transport.requests
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport)

    async def fire() -> None:
        await client.trigger("slack", "E")

    asyncio.run(fire())
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(fire())
    assert len(seen) == 1
