"""Adding the credential on the way down, and taking it off on the way up."""

from __future__ import annotations

import httpx

from .._credentials import Credential


class CredentialTransport(httpx.AsyncBaseTransport):
    """Adds the credential to each attempt, asking for it anew where it rotates.

    Above this layer no request carries it: the one that an error of httpx refers to is bare again by the time the
    error gets out.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, credential: Credential) -> None:
        self._transport = transport
        self._credential = credential

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        bare = request.headers
        # Not a local variable: those of a failing call are shown by tracebacks that print them.
        request.headers = httpx.Headers(bare, encoding="ascii")
        request.headers.__setitem__(*(self._credential.fixed_header() or await self._credential.header()))
        try:
            return await self._transport.handle_async_request(request)
        finally:
            request.headers = bare

    async def aclose(self) -> None:
        await self._transport.aclose()
