"""Asking for a credential that rotates, before each attempt."""

from __future__ import annotations

import httpx

from .._credentials import Credential


class RotationTransport(httpx.AsyncBaseTransport):
    """Asks for the credential before each attempt, and before that waits for anything: the answer may take a while.

    It is added to the request at the bottom, by the session.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, credential: Credential) -> None:
        self._transport = transport
        self._credential = credential

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._credential.ask()
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()
