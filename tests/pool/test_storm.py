"""Thousands of exchanges with bodies of their own, over servers and callers that break off at random.

`POOL_STORM` says how many for each kind of connection, `POOL_STORM_SEED` with which dice.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from attrs import define, field

from .conftest import MakeTransport, needs_ours
from .servers import Peer, RawServer, Received, serving
from .wire import GUARD, NOTHING, Answer, exchange, outcome, request_of, settled, state_of, turns

pytestmark = [pytest.mark.anyio, needs_ours]

EXCHANGES = int(os.environ.get("POOL_STORM", "1200"))
SEED = int(os.environ.get("POOL_STORM_SEED", "1"))
CONNECTIONS = 12
CALLERS = 40

HONEST = ["length", "chunked", "informational", "split"]
BROKEN = ["until_close", "close_after", "extra", "truncated", "no_answer", "reset", "garbage", "stall", "early"]


def echo(request: Received, way: str) -> bytes:
    body = request.body
    if way in ("chunked", "split"):
        half = len(body) // 2
        chunks = [chunk for chunk in (body[:half], body[half:]) if chunk]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
    if way == "until_close":
        return b"HTTP/1.1 200 OK\r\n\r\n" + body
    first = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if way == "informational" else b""
    return first + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def echoing(peer: Peer) -> None:
    """Give each request its own body back, in the way that its target names."""
    while True:
        request = await peer.request()
        way = request.target[1:].decode()
        answer = echo(request, way)
        if way in HONEST or way == "extra":
            if way == "split":
                await peer.send(answer[:30])
                await turns(2)
                answer = answer[30:]
            await peer.send(answer + (answer if way == "extra" else b""))
            continue
        if way == "garbage":
            await peer.send(b"\x00" + answer)
        elif way in ("until_close", "close_after"):
            await peer.send(answer)
        elif way == "truncated":
            await peer.send(answer[: len(answer) // 2])
        elif way == "reset":
            peer.reset()
        elif way == "early":
            await peer.send(answer + answer)
            await turns(1)
            await peer.send(answer)
        elif way == "stall":
            await peer.send(answer[:-1])
            await peer.gone()
        return


@define
class Storm:
    """Callers that send at random, and what became of it."""

    transport: httpx.AsyncHTTPTransport
    url: str
    chance: random.Random
    count: Counter[str] = field(factory=Counter)
    swapped: list[tuple[bytes, bytes]] = field(factory=list)

    async def caller(self, numbers: Any) -> None:
        for number in numbers:
            way = self.chance.choice(HONEST if self.chance.random() < 0.6 else BROKEN)
            body = b"%d " % number * self.chance.choice([1, 10, 3000])
            ending = await self.end(self.request(way, body))
            if isinstance(ending, Answer):
                self.count[f"{way} answered"] += 1
                if ending.body != body and not (way == "until_close" and body.startswith(ending.body)):
                    self.swapped.append((body[:40], ending.body[:40]))
            else:
                self.count[f"{way} {ending}"] += 1

    def request(self, way: str, body: bytes) -> httpx.Request:
        content: Any = body
        if self.chance.random() < 0.3:
            content = self.stream(body)
        timeout = 0.02 if way == "stall" else 3.0
        return request_of(f"{self.url}/{way}", method="POST", content=content, timeout=timeout)

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        third = len(body) // 3 + 1
        for start in range(0, len(body), third):
            yield body[start : start + third]
            await asyncio.sleep(0)

    async def end(self, request: httpx.Request) -> Answer | str:
        """Let it be, cancel it after some turns, put a time limit around it, or leave its answer unread."""
        dice = self.chance.random()
        if dice < 0.7:
            ending = await outcome(self.transport, request)
            return ending if isinstance(ending, Answer) else type(ending).__name__
        if dice < 0.8:
            return await self.leave(request)
        task = asyncio.ensure_future(outcome(self.transport, request))
        if dice < 0.95:
            await turns(self.chance.randrange(25))
        else:
            await asyncio.sleep(self.chance.random() * 0.004)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=GUARD)
        assert done, "a cancelled request goes on"
        return "cancelled" if task.cancelled() else "ended"

    async def leave(self, request: httpx.Request) -> str:
        try:
            response = await self.transport.handle_async_request(request)
        except httpx.TransportError as error:
            return type(error).__name__
        if self.chance.random() < 0.5:
            await turns(self.chance.randrange(3))
        await response.aclose()
        return "left"


@pytest.fixture(params=["plain", "tls"])
async def server(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> AsyncIterator[RawServer]:
    async with serving(echoing, tls=server_tls if request.param == "tls" else None) as running:
        yield running


async def test_storm(make_transport: MakeTransport, server: RawServer, client_tls: ssl.SSLContext) -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    transport = make_transport(limits=limits, verify=client_tls)
    storm = Storm(transport, server.url, random.Random(SEED))
    numbers = iter(range(EXCHANGES))
    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(storm.caller(numbers))

    assert sum(storm.count.values()) == EXCHANGES
    assert storm.swapped == []
    unanswered = {key: n for key, n in storm.count.items() if key.split()[0] in HONEST and key.endswith("Error")}
    assert sum(unanswered.values()) <= server_faults_met(storm), unanswered
    state = await settled_idle(transport)
    assert (state.active, state.connecting, state.waiting) == (0, 0, 0)

    # No place is lost: as many as there are can be had, at once.
    bodies = [b"after %d" % number for number in range(CONNECTIONS * 3)]
    requests = [request_of(f"{server.url}/length", method="POST", content=body) for body in bodies]
    answers = await asyncio.gather(*[exchange(transport, request) for request in requests])
    assert [answer.body for answer in answers] == bodies
    assert state_of(transport).active == 0
    await transport.aclose()
    assert await settled(transport, NOTHING) == NOTHING
    async with asyncio.timeout(5):
        await server.emptied()
    assert left_over() == []
    assert [context for context in problems if "refold_async" in repr(context)] == []


def server_faults_met(storm: Storm) -> int:
    """How many connections the server spoiled without a word: the next request may meet that on its way."""
    return sum(n for key, n in storm.count.items() if key.split()[0] in ("extra", "early", "close_after"))


async def settled_idle(transport: httpx.AsyncHTTPTransport) -> Any:
    for _ in range(500):
        state = state_of(transport)
        if not (state.active or state.connecting or state.waiting):
            break
        await asyncio.sleep(0.004)
    return state_of(transport)


def left_over() -> list[object]:
    """Name the timers that are still set, and the exchanges that are still held."""
    from refold_async.transports.pool._connection import Connection
    from refold_async.transports.pool._exchange import Exchange

    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    timers = [handle for handle in scheduled or () if not handle.cancelled() and "refold_async" in repr(handle)]
    # uvloop does not show its timers; one of its own keeps the protocol of a handshake that was cancelled for a minute.
    kinds = (Exchange,) if scheduled is None else (Exchange, Connection)
    gc.collect()
    return timers + [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
