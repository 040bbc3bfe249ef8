"""Who gets a connection: limits, the order of those who wait, reuse, expiry, and what the server closed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from tests.fakes.server import OK, Gate, Peer, answering, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.wire import (
    GUARD,
    NOTHING,
    ONE_IDLE,
    State,
    ask,
    exchange,
    outcome,
    request_of,
    settled,
    state_of,
    turns,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("most", [1, 3, 10])
async def test_the_limit_on_connections_is_never_passed(make_transport: MakeTransport, most: int) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=most, max_keepalive_connections=most))
    seen: list[State] = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await turns(peer.number % 5)
            seen.append(state_of(transport))
            await peer.send(OK)

    async with serving(script) as server:
        answers = await asyncio.gather(*[ask(transport, server) for _ in range(100)])
        assert [answer.body for answer in answers] == [b"hello"] * 100
        assert server.most_open == most
        assert state_of(transport) == State(most, most, 0, 0, 0)
    assert all(state.connections + state.connecting <= most for state in seen)


@needs_ours
async def test_the_state_adds_up_at_every_turn(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=4))
    chance = random.Random(1)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OK)
            if chance.random() < 0.2:
                return

    async with serving(script) as server:
        tasks = [asyncio.ensure_future(outcome(transport, request_of(server.url, timeout=2.0))) for _ in range(60)]
        while not all(task.done() for task in tasks):
            state = state_of(transport)
            assert state.connections == state.idle + state.active
            assert state.connections + state.connecting <= 4
            assert state.waiting <= 60
            assert min(state) >= 0
            await asyncio.sleep(0)


@needs_ours
async def test_the_limit_holds_while_the_server_closes_everything(make_transport: MakeTransport) -> None:
    """A connection that is being closed is still one; the server counts those that it has not seen the end of."""
    transport = make_transport(limits=httpx.Limits(max_connections=3))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await peer.gone()

    async with serving(script) as server:
        await asyncio.gather(*[ask(transport, server) for _ in range(60)])
        assert len(server.peers) == 60
        # The server learns of a close a turn or two later than the kernel.
        assert server.most_open <= 6


async def test_no_more_than_so_many_are_kept(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=10, max_keepalive_connections=3))
    gate = Gate()
    async with serving(gate.script) as server:
        tasks = [ask(transport, server, f"/{n}") for n in range(8)]
        await gate.has(8)
        for n in range(8):
            gate.open(b"/%d" % n)
        await asyncio.gather(*tasks)
        expected = State(3, 3, 0, 0, 0)
        assert await settled(transport, expected) == expected


async def test_none_is_kept_where_none_may_be(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=10, max_keepalive_connections=0))
    async with serving(answering(OK)) as server:
        for _ in range(3):
            await ask(transport, server)
            assert await settled(transport, NOTHING) == NOTHING
    assert len(server.peers) == 3


async def test_those_who_wait_are_served_in_order_of_arrival(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=2))
    gate = Gate()
    async with serving(gate.script) as server:
        tasks = [ask(transport, server, f"/{n}") for n in range(30)]
        for n in range(30):
            await gate.has(min(n + 2, 30))
            gate.open(b"/%d" % n)
            await tasks[n]
    assert sorted(gate.arrived[:2]) == [b"/0", b"/1"], "two connections are opened at once"
    assert gate.arrived[2:] == [b"/%d" % n for n in range(2, 30)]


@needs_ours
async def test_the_order_holds_when_some_give_up(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    gate = Gate()
    async with serving(gate.script) as server:
        tasks = [ask(transport, server, f"/{n}") for n in range(20)]
        await gate.has(1)
        assert state_of(transport) == State(1, 0, 1, 0, 19)
        left = [task for n, task in enumerate(tasks) if n % 3 or not n]
        for n in range(3, 20, 3):
            tasks[n].cancel()
        await turns(3)
        assert state_of(transport).waiting == len(left) - 1
        for n in range(20):
            gate.open(b"/%d" % n)
        await asyncio.gather(*left)
    assert gate.arrived == [b"/%d" % n for n in range(20) if n % 3 or not n]


@needs_ours
async def test_a_newcomer_does_not_overtake(make_transport: MakeTransport) -> None:
    """Not even in the very turn in which a connection becomes free."""
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    gate = Gate()
    async with serving(gate.script) as server:
        first = ask(transport, server, "/0")
        await gate.has(1)
        waiting = [ask(transport, server, f"/{n}") for n in range(1, 6)]
        await turns(2)
        for n in range(6):
            gate.open(b"/%d" % n)
        gate.open(b"/new")
        await first
        await asyncio.gather(ask(transport, server, "/new"), *waiting)
    assert gate.arrived == [*[b"/%d" % n for n in range(6)], b"/new"]


async def test_a_wait_for_a_connection_times_out(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    gate = Gate()
    async with serving(gate.script) as server:
        first = ask(transport, server, "/0")
        await gate.has(1)
        timeout = {"connect": 3.0, "read": 3.0, "write": 3.0, "pool": 0.05}
        for _ in range(3):
            ending = await outcome(transport, request_of(server.url, timeout=timeout))
            assert type(ending) is httpx.PoolTimeout
        pool = getattr(getattr(transport, "_engine", None), "_pool", None)
        assert pool is None or not pool._waiters, "who has gone is not remembered"
        gate.open(b"/0")
        assert (await first).status == 200
        assert await settled(transport, ONE_IDLE) == ONE_IDLE
    assert gate.arrived == [b"/0"]


@needs_ours
async def test_the_last_one_used_is_used_next(make_transport: MakeTransport) -> None:
    """So that the others expire, and the number of connections follows the load."""
    transport = make_transport(limits=httpx.Limits(keepalive_expiry=1.0))
    gate = Gate()
    async with serving(gate.script) as server:
        tasks = [ask(transport, server, f"/{n}") for n in range(3)]
        await gate.has(3)
        for n in (0, 2, 1):
            gate.open(b"/%d" % n)
            await tasks[n]
        last = next(request.connection for request in server.requests if request.target == b"/1")
        gate.open(b"/")
        for _ in range(5):
            await ask(transport, server)
            await asyncio.sleep(0.25)
        assert {request.connection for request in server.requests[3:]} == {last}
        assert state_of(transport) == ONE_IDLE, "the others have expired meanwhile"


@needs_ours
async def test_what_is_idle_for_too_long_is_closed_unasked(make_transport: MakeTransport) -> None:
    transport = make_transport(limits=httpx.Limits(keepalive_expiry=0.05))
    async with serving(answering(OK)) as server:
        await ask(transport, server)
        assert state_of(transport) == ONE_IDLE
        assert await settled(transport, NOTHING) == NOTHING
        async with asyncio.timeout(GUARD):
            await server.emptied()
        await ask(transport, server)
    assert len(server.peers) == 2


@pytest.mark.parametrize("reset", [False, True])
async def test_what_the_server_closed_is_not_used_again(make_transport: MakeTransport, reset: bool) -> None:
    """Not a moment later, and not in the same turn either: the request goes out once, on a new connection."""
    transport = make_transport()
    leave = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await leave.wait()
        leave.clear()
        peer.reset() if reset else peer.close()

    async with serving(script) as server:
        for wait in (False, True):
            await ask(transport, server)
            leave.set()
            await turns(4)  # the server has closed it; the transport's side of the loop may or may not have looked
            if wait:
                assert await settled(transport, NOTHING) == NOTHING
        await exchange(transport, request_of(server.url, method="POST", content=b"once"))
        leave.set()
    assert [request.body for request in server.requests] == [b"", b"", b"once"]
    assert [request.connection for request in server.requests] == [0, 1, 2]


@needs_ours
async def test_other_origins_get_their_turn(make_transport: MakeTransport) -> None:
    """Idle connections to one server make room for another, and nobody waits for ever."""
    transport = make_transport(limits=httpx.Limits(max_connections=2, max_keepalive_connections=2))
    async with serving(answering(OK)) as one, serving(answering(OK)) as two, serving(answering(OK)) as three:
        for _ in range(5):
            for server in (one, two, three):
                assert (await ask(transport, server)).body == b"hello"
        await asyncio.gather(*[ask(transport, server) for server in (one, two, three) * 30])
        assert max(one.open + two.open + three.open, state_of(transport).connections) <= 2


async def test_schemes_hosts_and_ports_do_not_share(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(answering(OK)) as server:
        await ask(transport, server)
        other = server.url.replace("127.0.0.1", "localhost")
        await exchange(transport, request_of(other))
        assert state_of(transport) == State(2, 2, 0, 0, 0)
    assert len(server.peers) == 2


async def test_over_a_unix_socket(make_transport: MakeTransport, tmp_path: Path) -> None:
    transport = make_transport(uds=str(tmp_path / "socket"))
    async with serving(answering(OK), path=tmp_path / "socket") as server:
        for _ in range(3):
            assert (await ask(transport, server)).body == b"hello"
        assert await settled(transport, ONE_IDLE) == ONE_IDLE
    assert len(server.peers) == 1


async def test_a_unix_socket_that_is_not_there(make_transport: MakeTransport, tmp_path: Path) -> None:
    transport = make_transport(uds=str(tmp_path / "nothing"))
    assert type(await outcome(transport, request_of("http://unix.test/"))) is httpx.ConnectError


@needs_ours
async def test_the_repr_says_what_there_is(make_transport: MakeTransport) -> None:
    transport = make_transport()
    gate = Gate()
    async with serving(gate.script) as server:
        task = ask(transport, server)
        await gate.has(1)
        assert repr(transport) == "<PoolTransport 1 connections (1 active, 0 idle), 0 connecting, 0 waiting>"
        gate.open(b"/")
        await task
