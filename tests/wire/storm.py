"""Callers that send at random to a server that answers at random, and never mistake one answer for another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
from attrs import define, field

from tests.fakes.server import Peer, Received
from tests.wire.wire import GUARD, Answer, outcome, request_of, turns

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

    async def caller(self, numbers: Iterator[int]) -> None:
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
