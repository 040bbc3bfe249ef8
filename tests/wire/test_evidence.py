"""The verdicts of a default client on this wire, each held against what a server on the other side has received."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from refold_async import (
    Delivery,
    RefoldClient,
    RefoldError,
    RefoldTimeoutError,
    UnexpectedResponseError,
)
from refold_async.hooks import CallFinished
from tests.fakes.server import FIRED_ANSWER, Peer, RawServer, answering, once, serving
from tests.support import QUICK
from tests.wire.conftest import needs_ours
from tests.wire.corpus import REFUSED
from tests.wire.wire import GUARD, ONE_IDLE, make_wire, settled, turns, until

pytestmark = [pytest.mark.anyio, needs_ours]

ACCEPTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS


TRUSTING = ssl.create_default_context()
"""Made once: each client would make its own."""


def client_of(server: RawServer | str, **options: Any) -> RefoldClient:
    url = server if isinstance(server, str) else server.url
    settings = {"timeout": 2.0, "retry": QUICK, "rate_limit": None, "verify": TRUSTING, **options}
    return RefoldClient(api_key="tk_secret", linked_account_id="acct_1", base_url=url, **settings)


async def verdict_of(client: RefoldClient, payload: dict[str, Any] | None = None) -> tuple[Delivery | None, int]:
    """Fire once; give the verdict and how many attempts reached the wire."""
    try:
        receipt = await asyncio.wait_for(client.trigger("slack", "E", payload or {}), GUARD)
    except RefoldError as error:
        return error.delivery, error.attempts
    return receipt.delivery, receipt.attempts


async def ending_of(server: RawServer, **options: Any) -> tuple[Delivery | None, int]:
    async with client_of(server, **options) as client:
        return await verdict_of(client)


async def test_the_evidence_comes_from_our_own_wire() -> None:
    async with serving(answering(FIRED_ANSWER)) as server, client_of(server) as client:
        assert await verdict_of(client) == (ACCEPTED, 1)
        assert await settled(client.session._transport, ONE_IDLE) == ONE_IDLE


# Not sent.


async def test_a_connect_timeout(full_port: int) -> None:
    async with client_of(f"http://127.0.0.1:{full_port}", timeout=httpx.Timeout(1.0, connect=0.05)) as client:
        assert await verdict_of(client) == (NOT_SENT, 3)


async def test_a_handshake_that_stalls() -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    async with serving(silent) as server:
        url = server.url.replace("http:", "https:")
        async with client_of(url, timeout=httpx.Timeout(1.0, connect=0.05)) as client:
            assert await verdict_of(client) == (NOT_SENT, 3)


async def test_a_certificate_that_is_not_trusted(server_tls: ssl.SSLContext) -> None:
    async with serving(answering(FIRED_ANSWER), tls=server_tls) as server:
        assert await ending_of(server) == (NOT_SENT, 1)
        assert server.requests == []


async def test_a_wait_for_a_connection() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(FIRED_ANSWER)

    transport = make_wire(limits=httpx.Limits(max_connections=1))
    async with serving(script) as server, httpx.AsyncClient(transport=transport) as session:
        async with client_of(server, verify=True, http_client=session, max_connections=None, retry=None) as client:
            first = asyncio.ensure_future(verdict_of(client))
            assert await until(lambda: bool(server.requests))
            late = client.with_options(timeout=httpx.Timeout(2.0, pool=0.05))
            assert await verdict_of(late) == (NOT_SENT, 1)
            release.set()
            assert await first == (ACCEPTED, 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("noticed", [False, True], ids=["in_the_same_turn", "later"])
async def test_a_kept_connection_that_the_server_has_closed(reset: bool, noticed: bool) -> None:
    """It is not written to: the request goes out once, on another, and that is no second attempt."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(FIRED_ANSWER)

    async with serving(script) as server, client_of(server) as client:
        for number in range(10):
            assert await verdict_of(client, {"n": number}) == (ACCEPTED, 1)
            server.peers[-1].reset() if reset else server.peers[-1].shutdown()
            if noticed or reset:  # a reset is sent a turn later
                await turns(5)
        assert len(server.requests) == 10
        assert [request.connection for request in server.requests] == list(range(10))


# Ambiguous: it was written, and there is no status.


def closes(peer: Peer) -> None:
    peer.close()


def resets(peer: Peer) -> None:
    peer.reset()


@pytest.mark.parametrize("leave", [closes, resets])
@pytest.mark.parametrize("read", ["nothing", "head", "all"])
async def test_the_server_leaves_without_an_answer(leave: Callable[[Peer], None], read: str) -> None:
    async def script(peer: Peer) -> None:
        if read == "nothing":
            await peer.read(1)
        else:
            await (peer.head() if read == "head" else peer.request())
        leave(peer)

    async with serving(script) as server:
        assert await ending_of(server) == (AMBIGUOUS, 1)
        assert len(server.peers) == 1, "never sent twice"


async def test_no_answer_in_time() -> None:
    async with serving(once(b"", close=False)) as server, client_of(server, timeout=0.1) as client:
        with pytest.raises(RefoldTimeoutError) as caught:
            await client.trigger("slack", "E")
        assert (caught.value.delivery, caught.value.attempts) == (AMBIGUOUS, 1)
        assert isinstance(caught.value.__cause__, httpx.ReadTimeout)
        assert len(server.requests) == 1


async def test_a_body_that_is_not_taken_in_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(GUARD)

    transport = make_wire(socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)])
    async with serving(script, buffers=65_536) as server, httpx.AsyncClient(transport=transport) as session:
        options = {"verify": True, "http_client": session, "timeout": httpx.Timeout(2.0, write=0.1)}
        async with client_of(server, **options) as client:
            with pytest.raises(RefoldTimeoutError) as caught:
                await client.trigger("slack", "E", {"n": "x" * 2_900_000})
        assert (caught.value.delivery, caught.value.attempts) == (AMBIGUOUS, 1)
        assert isinstance(caught.value.__cause__, httpx.WriteTimeout)
        assert len(server.peers) == 1


async def test_answers_that_are_not_http() -> None:
    """Each of those that are refused; where the status was in order, and the body not, the status decides."""
    wrong = []
    for name, wire in REFUSED.items():
        expected = ACCEPTED if name.startswith(("chunk_", "trailer_")) else AMBIGUOUS
        async with serving(once(wire)) as server:
            ending = await ending_of(server)
            if ending != (expected, 1) or len(server.requests) != 1:
                wrong.append((name, ending, len(server.requests)))
    assert not wrong


async def test_a_success_that_is_not_refolds() -> None:
    for body in (b"hello", b"", b"[]"):
        wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        async with serving(once(wire, close=False)) as server, client_of(server) as client:
            with pytest.raises(UnexpectedResponseError) as caught:
                await client.trigger("slack", "E")
            assert (caught.value.delivery, len(server.requests)) == (AMBIGUOUS, 1)


# Accepted: the status was seen.


@pytest.mark.parametrize("close", [True, False], ids=["closed", "stalled"])
async def test_a_success_that_breaks_off(close: bool) -> None:
    head = FIRED_ANSWER.index(b"\r\n\r\n") + 4
    for cut in range(0, len(FIRED_ANSWER), 1 if close else 20):
        async with serving(once(FIRED_ANSWER[:cut], close=close)) as server:
            ending = await ending_of(server, timeout=2.0 if close else 0.05)
            assert ending == (ACCEPTED if cut >= head else AMBIGUOUS, 1), cut
            assert len(server.requests) == 1


async def test_no_more_than_a_megabyte_of_an_answer_is_read() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1500):
            await peer.send(b"x" * 65_536)
            sent += 65_536

    async with serving(script, buffers=65_536) as server:
        async with client_of(server) as client:
            assert await verdict_of(client) == (ACCEPTED, 1)
        await server.emptied()
    assert sent < 10_000_000


# Cut off by the caller.

Cut = Callable[[RefoldClient, int], Awaitable[None]]


async def by_task(client: RefoldClient, after: int) -> None:
    task = asyncio.ensure_future(client.trigger("slack", "E", {"n": after}))
    await turns(after)
    task.cancel()
    await asyncio.wait([task], timeout=GUARD)


async def by_deadline(client: RefoldClient, after: int) -> None:
    with pytest.raises(RefoldError):
        await client.trigger("slack", "E", {"n": after}, deadline=after * (0.00003 if after < 20 else 0.0003))


@pytest.mark.usefixtures("instant_lookup")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("cut", [by_task, by_deadline])
async def test_cut_off_at_any_moment_the_verdict_is_true(cut: Cut, warm: bool) -> None:
    """Where nothing of the request came, it was not sent, if nothing of it left; and what came was not "not sent"."""
    verdicts: list[Delivery] = []
    arrived: list[bytes] = []

    def watch(event: object) -> None:
        if isinstance(event, CallFinished):
            verdicts.append(event.delivery)

    async def script(peer: Peer) -> None:
        if warm:
            await peer.request()
            await peer.send(FIRED_ANSWER)
        arrived.append(await peer.gone())  # never answered

    lied = []
    async with serving(script) as server:
        for after in range(1, 40):
            arrived.clear()
            async with client_of(server, hooks=[watch], retry=None) as client:
                if warm:
                    await client.trigger("slack", "E")
                await cut(client, after)
            await asyncio.wait_for(server.emptied(), GUARD)
            if verdicts[-1] is NOT_SENT and any(arrived):
                lied.append((after, arrived))
    assert not lied
    # On a kept connection the request is written in the first turn; and a deadline may always come later than that.
    both = cut is by_task and not warm
    assert ({NOT_SENT, AMBIGUOUS} if both else {AMBIGUOUS}) <= set(verdicts), "or nothing was tested"
    assert ACCEPTED not in verdicts or warm


async def test_a_server_that_closes_after_each_answer_is_sent_nothing_twice() -> None:
    """It does not say so, and closes at once, or when the next request is on its way: each arrives at most once."""
    keep = 0

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(FIRED_ANSWER)
        await turns(peer.number % 4)

    async with serving(script) as server, client_of(server, max_connections=3) as client:
        endings = await asyncio.gather(*[verdict_of(client, {"n": number}) for number in range(150)])
        for delivery, attempts in endings:
            assert delivery in (ACCEPTED, AMBIGUOUS)
            keep += delivery is ACCEPTED
            assert attempts == 1
        bodies = [request.body for request in server.requests]
        assert len(bodies) == len(set(bodies)) == keep
