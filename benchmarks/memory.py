"""A wire that is none."""

from __future__ import annotations

import asyncio

import httpx

ANSWER = b'{"message":"Webhook Fired Success"}'


class MemoryTransport(httpx.AsyncBaseTransport):
    """Answers every request from memory.

    :param later: answer one turn of the loop later, so that calls overlap as they do on a wire.
    """

    def __init__(self, *, later: bool = False) -> None:
        self._later = later

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._later:
            await asyncio.sleep(0)
        return httpx.Response(200, stream=httpx.ByteStream(ANSWER))
