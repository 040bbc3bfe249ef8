"""Cancelled at any turn of the event loop, a request costs no place, no socket, and nobody else's request."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.fakes.server import OK, Peer, RawServer, answering, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.wire import GUARD, NOTHING, ONE_IDLE, State, exchange, request_of, settled, state_of, turns, until

pytestmark = [pytest.mark.anyio, needs_ours]

TURNS = 30
"""More than any of these requests takes, so that the last ones are cancelled when they are over."""

Ask = Callable[[], Awaitable[object]]


async def cut(ask: Ask, after: int) -> bool:
    """Start a request and cancel it after so many turns; give whether that was in time."""
    task = asyncio.ensure_future(ask())
    await turns(after)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=GUARD)
    assert done, "it does not end"
    return task.cancelled()


async def still_works(transport: httpx.AsyncBaseTransport, server: RawServer) -> None:
    """See that the one place there is can be had."""
    assert (await exchange(transport, request_of(server.url, timeout=2.0))).body == b"hello"
    assert await settled(transport, ONE_IDLE) == ONE_IDLE


@pytest.fixture(params=["plain", "tls"])
async def server(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> AsyncIterator[RawServer]:
    async with serving(answering(OK), tls=server_tls if request.param == "tls" else None) as running:
        yield running


@pytest.fixture
def single(make_transport: MakeTransport, client_tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """Give a transport with one place."""
    return make_transport(limits=httpx.Limits(max_connections=1), verify=client_tls)


@pytest.fixture(autouse=True)
async def _no_callback_fails() -> AsyncIterator[None]:
    """Fail a test in which something went wrong where nobody waited for it."""
    problems: list[object] = []

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # In debug mode asyncio also tells of the handshakes of the test's own server that a client has broken off.
        if context["message"] != "Error on transport creation for incoming connection":
            problems.append(context)

    asyncio.get_running_loop().set_exception_handler(note)
    yield
    assert problems == []


@pytest.mark.usefixtures("instant_lookup")
async def test_cancelled_while_connecting_a_request_leaves_nothing(
    single: httpx.AsyncHTTPTransport, server: RawServer
) -> None:
    """Turns in which something happens, and moments in which the loop waits."""
    cancelled = 0
    for after in range(TURNS):
        cancelled += await cut(lambda: exchange(single, request_of(server.url)), after)
        assert await settled(single, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)
        await single.aclose()
    for after in range(12):
        task = asyncio.ensure_future(exchange(single, request_of(server.url)))
        await asyncio.sleep(after * 0.0004)
        task.cancel()
        await asyncio.wait([task])
        cancelled += task.cancelled()
        await single.aclose()
    assert cancelled >= 6
    await still_works(single, server)
    await single.aclose()
    async with asyncio.timeout(GUARD):
        await server.emptied()


async def test_on_a_kept_connection(single: httpx.AsyncHTTPTransport, server: RawServer) -> None:
    cancelled = 0
    for after in range(TURNS):
        await still_works(single, server)
        cancelled += await cut(lambda: exchange(single, request_of(server.url)), after)
        assert await settled(single, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)
    assert cancelled >= 2
    await still_works(single, server)


async def test_while_waiting_for_a_place(single: httpx.AsyncHTTPTransport, server: RawServer) -> None:
    for after in range(TURNS):
        first = asyncio.ensure_future(exchange(single, request_of(server.url)))
        waiting = asyncio.ensure_future(exchange(single, request_of(server.url)))
        last = asyncio.ensure_future(exchange(single, request_of(server.url)))
        await turns(after)
        waiting.cancel()
        assert (await first).body == b"hello"
        assert (await last).body == b"hello"
        await asyncio.wait([waiting], timeout=GUARD)
        assert await settled(single, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)


@pytest.mark.parametrize("warm", [False, True])
async def test_the_one_in_flight_is_cancelled_while_others_wait(
    single: httpx.AsyncHTTPTransport, server: RawServer, warm: bool
) -> None:
    """In whichever turn its answer comes: the next one's request is not cut off with it."""
    for after in range(TURNS):
        if warm:
            await still_works(single, server)
        else:
            await single.aclose()
        first = asyncio.ensure_future(exchange(single, request_of(server.url)))
        others = [asyncio.ensure_future(exchange(single, request_of(server.url))) for _ in range(3)]
        await turns(after)
        first.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*others), GUARD)
        assert [answer.body for answer in answers] == [b"hello"] * 3, after
        await asyncio.wait([first])
        assert await settled(single, ONE_IDLE) == ONE_IDLE


async def test_requests_that_are_all_cancelled_at_once_leave_nothing(
    single: httpx.AsyncHTTPTransport, server: RawServer
) -> None:
    for after in range(TURNS):
        tasks = [asyncio.ensure_future(exchange(single, request_of(server.url))) for _ in range(5)]
        await turns(after)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=GUARD)
        assert await settled(single, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)
    await still_works(single, server)


async def test_a_timeout_around_it_in_place_of_a_cancellation(
    single: httpx.AsyncHTTPTransport, server: RawServer
) -> None:
    """The timer goes off among the loop's other callbacks, not in a task's turn."""
    ended = 0
    for step in range(60):
        try:
            async with asyncio.timeout(step * 0.0001):
                await exchange(single, request_of(server.url))
        except TimeoutError:
            ended += 1
        assert await settled(single, NOTHING, ONE_IDLE) in (NOTHING, ONE_IDLE)
        if step % 2:
            await single.aclose()
    assert ended
    await still_works(single, server)


async def test_while_the_answer_is_on_its_way(single: httpx.AsyncHTTPTransport) -> None:
    """The server has the request, and answers it to nobody; the next one gets its own answer."""

    async def slow(peer: Peer) -> None:
        while True:
            target = (await peer.request()).target
            await turns(int(target[1:]) % 7)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async with serving(slow) as server:
        for after in range(TURNS):
            await cut(lambda after=after: exchange(single, request_of(f"{server.url}/{after}")), after)  # type: ignore[misc]
            answer = await exchange(single, request_of(f"{server.url}/{after + 1000}"))
            assert answer.body == b"/%d" % (after + 1000)


async def test_a_place_given_to_one_who_has_just_been_cancelled(single: httpx.AsyncHTTPTransport) -> None:
    """It was handed over in the very turn of the cancellation: it goes to the next one who waits."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.send(OK)

    async with serving(script) as server:
        for reuse in range(4):
            release.clear()
            first = asyncio.ensure_future(exchange(single, request_of(server.url)))
            arrived = len(server.requests) + 1
            assert await until(lambda arrived=arrived: len(server.requests) == arrived)  # type: ignore[misc]
            second, third = (asyncio.ensure_future(exchange(single, request_of(server.url))) for _ in range(2))
            await turns(2)
            assert state_of(single) == State(1, 0, 1, 0, 2)
            first.add_done_callback(lambda _, second=second: second.cancel())  # type: ignore[misc]
            if reuse % 2:
                first.cancel()
            release.set()
            assert (await asyncio.wait_for(third, GUARD)).body == b"hello"
            assert second.cancelled()
            assert await settled(single, ONE_IDLE) == ONE_IDLE


@pytest.mark.usefixtures("instant_lookup")
async def test_a_cancelled_handshake_is_not_kept(
    make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """uvloop keeps some until its own timer goes off: that must be soon after the connect timeout."""
    from refold_async._wire.connection import Connection

    def kept() -> int:
        gc.collect()
        return sum(isinstance(thing, Connection) for thing in gc.get_objects())

    before = kept()
    transport = make_transport(verify=client_tls)
    async with serving(answering(OK), tls=server_tls) as server:
        for after in range(2 * TURNS):
            task = asyncio.ensure_future(
                exchange(transport, request_of(server.url, timeout=httpx.Timeout(0.5).as_dict()))
            )
            await turns(after // 2)
            task.cancel()
            await asyncio.wait([task], timeout=GUARD)
            await transport.aclose()
        del task
        assert await until(lambda: kept() <= before)
