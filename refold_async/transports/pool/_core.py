"""The pool as httpcore's users see it: what wraps, replaces or inspects httpcore's pool finds one here."""

from __future__ import annotations

import httpcore
import httpx

from .._stock import is_original
from ._engine import Engine, origin_of
from ._exchange import BodyStream
from ._outgoing import Outgoing
from ._response import response_extensions


class CorePool(httpcore.AsyncConnectionPool):
    """Looks like httpcore's pool to whoever wraps, replaces or inspects one, and sends over the engine where it can."""

    def __init__(self, engine: Engine) -> None:
        limits = engine.limits
        super().__init__(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            local_address=engine.local_address,
            uds=engine.uds,
            socket_options=engine.socket_options,
        )
        self._engine = engine

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        engine, url = self._engine, request.url
        if (
            is_original(httpcore.AsyncConnectionPool.handle_async_request, "httpcore")
            and isinstance(request.stream, httpx.AsyncByteStream)
            and engine.serves(url.scheme, request.extensions)
        ):
            outgoing = Outgoing(request.method, url.target, request.headers, request.stream)
            if not outgoing.is_unusual:
                origin = origin_of(url.scheme, url.host, url.port, request.extensions)
                exchange = await engine.send(outgoing, origin, request.extensions)
                assert exchange.status is not None
                return httpcore.Response(
                    exchange.status,
                    headers=exchange.headers,
                    content=BodyStream(exchange),
                    extensions=response_extensions(exchange),
                )
        if url.scheme == b"https":
            self._ssl_context = engine.tls_context()
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        try:
            await self._engine.aclose()
        finally:
            await super().aclose()
