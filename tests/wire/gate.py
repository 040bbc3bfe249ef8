"""A server that answers when it is told to."""

from __future__ import annotations

import asyncio

import httpx

from tests.wire.servers import OK, Peer, RawServer
from tests.wire.wire import Answer, exchange, request_of, until


class Gate:
    """A server that answers when it is told to, in whatever order."""

    def __init__(self) -> None:
        self.held: dict[bytes, asyncio.Event] = {}
        self.arrived: list[bytes] = []

    async def script(self, peer: Peer) -> None:
        while True:
            target = (await peer.request()).target
            self.arrived.append(target)
            await self.held.setdefault(target, asyncio.Event()).wait()
            await peer.send(OK)

    def open(self, target: bytes) -> None:
        self.held.setdefault(target, asyncio.Event()).set()

    async def has(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        assert await until(lambda: len(self.arrived) >= count)


def ask(transport: httpx.AsyncBaseTransport, server: RawServer, target: str = "/") -> asyncio.Task[Answer]:
    return asyncio.ensure_future(exchange(transport, request_of(server.url + target)))
