"""Thousands of exchanges with bodies of their own, over servers and callers that break off at random.

`POOL_STORM` says how many for each kind of connection, `POOL_STORM_SEED` with which dice.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes.server import RawServer, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.storm import HONEST, Storm, echoing
from tests.wire.wire import NOTHING, exchange, request_of, settled, state_of, until

pytestmark = [pytest.mark.anyio, needs_ours]

EXCHANGES = int(os.environ.get("POOL_STORM", "1200"))
SEED = int(os.environ.get("POOL_STORM_SEED", "1"))
CONNECTIONS = 12
CALLERS = 40


@pytest.fixture(params=["plain", "tls"])
async def server(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> AsyncIterator[RawServer]:
    # Remembered connections would remember their errors too, and with those the frames of the loop and its timers.
    async with serving(echoing, tls=server_tls if request.param == "tls" else None, remember=False) as running:
        yield running


async def test_a_storm_of_callers_gets_no_answer_that_is_not_its_own(
    make_transport: MakeTransport, server: RawServer, client_tls: ssl.SSLContext
) -> None:
    before, problems = {id(thing) for thing in left_over()}, []
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
    assert await until(lambda: state_of(transport)[2:] == (0, 0, 0)), state_of(transport)

    # What the server has closed without a word is noticed: a request that meets that on its way fails, and rightly.
    assert await until(lambda: state_of(transport).connections == server.open), (state_of(transport), server.open)

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
    assert [thing for thing in left_over() if id(thing) not in before] == []
    assert [context for context in problems if "refold_async" in repr(context)] == []


def server_faults_met(storm: Storm) -> int:
    """How many connections the server spoiled without a word: the next request may meet that on its way."""
    return sum(n for key, n in storm.count.items() if key.split()[0] in ("extra", "early", "close_after"))


def left_over() -> list[object]:
    """Name the timers that are still set, and the exchanges that are still held."""
    from refold_async._wire.connection import Connection, ConnectionState
    from refold_async._wire.streamed import StreamedExchange

    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)
    timers = [handle for handle in scheduled or () if getattr(handle._callback, "__module__", "").startswith("refold_")]
    # uvloop does not show its timers; one of its own keeps the protocol of a handshake that was cancelled for a minute.
    kinds = (StreamedExchange,) if scheduled is None else (StreamedExchange, Connection)
    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    # One whose socket is closed may outlive it for a while: the traceback of an error leads to the frame of the loop's
    # step, and that to the timers that the loop has sorted out.
    return timers + [thing for thing in held if getattr(thing, "state", None) is not ConnectionState.CLOSED]
