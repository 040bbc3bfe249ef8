"""A transport and the event loops it meets: none yet, one after another, two at once, and not asyncio's."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
import uvloop

from tests.fakes.server import OK, Peer, answering, serving
from tests.wire.conftest import needs_ours
from tests.wire.wire import NOTHING, ONE_IDLE, Answer, exchange, make_wire, outcome, request_of, state_of

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """These tests close their loops: what they leave is looked at by each."""


async def use(transport: httpx.AsyncBaseTransport, times: int = 2) -> Answer:
    async with serving(answering(OK)) as server:
        for _ in range(times):
            answer = await exchange(transport, request_of(server.url))
        assert len(server.peers) == 1
        return answer


def test_a_pool_is_built_without_a_loop_and_closed_unused(run: Run) -> None:
    transport = make_wire()
    assert state_of(transport) == NOTHING
    run(transport.aclose())
    run(transport.aclose())


def test_a_pool_is_built_on_one_loop_and_used_on_another(run: Run) -> None:
    transport = make_wire()

    async def main() -> None:
        assert (await use(transport)).body == b"hello"
        await transport.aclose()

    run(main())
    assert state_of(transport) == NOTHING


@needs_ours
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_loop_after_another(run: Run) -> None:
    """What the first loop left open went with it: the second gets connections of its own."""
    transport = make_wire()
    for _ in range(3):
        assert run(use(transport)).body == b"hello"
    gc.collect()


@needs_ours
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_closing_on_another_loop_than_it_was_used_on(run: Run) -> None:
    transport = make_wire()
    run(use(transport))
    run(transport.aclose())
    assert state_of(transport) == NOTHING
    gc.collect()


@needs_ours
def test_a_second_loop_while_the_first_is_open_is_an_error_at_once() -> None:
    transport = make_wire()
    first = asyncio.new_event_loop()
    try:
        assert first.run_until_complete(use(transport)).body == b"hello"
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(use(transport))
        assert first.run_until_complete(use(transport)).body == b"hello", "which harms nothing"
        first.run_until_complete(transport.aclose())
    finally:
        first.close()


@needs_ours
def test_a_loop_that_stood_still_for_a_while() -> None:
    """What happened to its connections meanwhile is noticed before they are used."""
    transport = make_wire()
    loop = asyncio.new_event_loop()
    served: list[int] = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            served.append(peer.number)
            await peer.send(OK)

    async def main() -> None:
        async with serving(script) as server:
            await exchange(transport, request_of(server.url))
            server.peers[0].shutdown()
            # No turn of the loop lies between this and the next request.
            assert isinstance(await outcome(transport, request_of(server.url)), Answer)
            await transport.aclose()

    loop.run_until_complete(main())
    loop.close()
    assert served == [0, 1]


def test_on_trio() -> None:
    trio = pytest.importorskip("trio")
    from refold_async.testing import MockRefold

    async def main(url: str) -> int:
        async with httpx.AsyncClient(transport=make_wire()) as session:
            return (await session.get(url)).status_code

    with MockRefold() as server:
        assert trio.run(main, server.url) == 404


def test_idle_connections_do_not_keep_a_loop_from_closing(run: Run) -> None:
    async def main() -> None:
        transport = make_wire()
        async with serving(answering(OK)) as server:
            await exchange(transport, request_of(server.url))
            assert state_of(transport) == ONE_IDLE
            await transport.aclose()

    run(main())
