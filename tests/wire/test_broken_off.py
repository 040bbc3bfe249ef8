"""A response cut at every byte, held at every byte, and sent byte by byte."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.server import Peer, once, serving
from tests.wire.conftest import MakeTransport, on_asyncio
from tests.wire.corpus import SAMPLES, Sample
from tests.wire.reference import reference
from tests.wire.wire import NOTHING, ONE_IDLE, Answer, exchange, outcome, request_of, settled, state_of

pytestmark = [pytest.mark.anyio, on_asyncio]

samples = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


async def ending_of(
    transport: httpx.AsyncBaseTransport, sample: Sample, cut: int, *, close: bool, timeout: float
) -> Answer | httpx.TransportError:
    async with serving(once(sample.wire[:cut], close=close)) as server:
        times = {**httpx.Timeout(3.0).as_dict(), "read": timeout}
        return await outcome(transport, request_of(server.url, method=sample.method, timeout=times))


@samples
async def test_cut_at_every_byte_it_is_an_error_or_what_it_says(
    transport: httpx.AsyncHTTPTransport, sample: Sample
) -> None:
    wrong = []
    for cut in range(len(sample.wire) + 1):
        expected = reference(sample.wire[:cut], sample.method)
        ending = await ending_of(transport, sample, cut, close=True, timeout=3.0)
        if expected is None:
            if not isinstance(ending, httpx.RemoteProtocolError | httpx.ReadError):
                wrong.append((cut, ending))
        elif not isinstance(ending, Answer) or (ending.status, ending.body) != (expected.status, expected.body):
            wrong.append((cut, ending))
    assert not wrong
    assert await settled(transport, NOTHING) == NOTHING


@samples
async def test_reset_at_every_byte_it_is_an_error_or_complete(
    transport: httpx.AsyncHTTPTransport, sample: Sample
) -> None:
    """Where the body lasts until the close, a reset is no end of it."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(sample.wire[: int(request.target[1:])])
        peer.reset()

    wrong: list[tuple[int, Answer | httpx.TransportError]] = []
    async with serving(script) as server:
        for cut in range(len(sample.wire)):
            ending = await outcome(transport, request_of(f"{server.url}/{cut}", method=sample.method))
            complete = reference(sample.wire[:cut], sample.method) is not None and not sample.reusable
            if isinstance(ending, Answer):
                wrong += [] if complete and sample.body.startswith(ending.body) else [(cut, ending)]
            elif not isinstance(ending, httpx.RemoteProtocolError | httpx.ReadError):
                wrong.append((cut, ending))
    assert not wrong
    assert await settled(transport, NOTHING) == NOTHING


@samples
async def test_held_open_at_any_byte_it_times_out(transport: httpx.AsyncHTTPTransport, sample: Sample) -> None:
    async with asyncio.TaskGroup() as group:
        held = [
            group.create_task(ending_of(transport, sample, cut, close=False, timeout=0.15))
            for cut in range(len(sample.wire))
        ]
    endings = [task.result() for task in held]
    assert [(cut, end) for cut, end in enumerate(endings) if not isinstance(end, httpx.ReadTimeout)] == []
    assert await settled(transport, NOTHING) == NOTHING


@samples
async def test_sent_byte_by_byte_it_is_the_same(make_transport: MakeTransport, sample: Sample) -> None:
    transport = make_transport()
    async with serving(once(sample.wire, close=not sample.reusable, drip=True)) as server:
        answer = await exchange(transport, request_of(server.url, method=sample.method))
        assert answer == reference(sample.wire, sample.method)
        assert (answer.status, answer.body) == (sample.status, sample.body)
        expected = ONE_IDLE if sample.reusable else NOTHING
        assert await settled(transport, expected) == expected


@samples
async def test_split_in_two_anywhere_it_is_the_same(transport: httpx.AsyncHTTPTransport, sample: Sample) -> None:
    async def script(peer: Peer) -> None:
        cut = int((await peer.request()).target[1:])
        await peer.send(sample.wire[:cut])
        await asyncio.sleep(0.001)
        await peer.send(sample.wire[cut:])
        if sample.reusable:
            await peer.gone()

    expected = reference(sample.wire, sample.method)
    async with serving(script) as server:
        for cut in range(1, len(sample.wire)):
            answer = await exchange(transport, request_of(f"{server.url}/{cut}", method=sample.method))
            assert answer == expected, cut
            await transport.aclose()
    assert state_of(transport) == NOTHING
