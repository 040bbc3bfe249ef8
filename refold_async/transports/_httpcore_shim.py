"""The pool as httpcore's users see it: what wraps, replaces or inspects httpcore's pool finds one here."""

from __future__ import annotations

import httpcore
import httpx

from .._wire.httpx_internals import is_original
from .._wire.loop_pool import LoopBoundPool, origin_of
from .._wire.request import Outgoing
from .._wire.streamed import BodyStream
from ._pool_response import response_extensions


class HttpcorePoolShim(httpcore.AsyncConnectionPool):
    """Looks like httpcore's pool to whoever wraps, replaces or inspects one, and sends over our wire where it can."""

    def __init__(self, wire: LoopBoundPool) -> None:
        limits = wire.limits
        super().__init__(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            local_address=wire.local_address,
            uds=wire.uds,
            socket_options=wire.socket_options,
        )
        self._wire = wire

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        wire, url = self._wire, request.url
        if (
            wire.serves(url.scheme, request.extensions)
            and is_original(httpcore.AsyncConnectionPool.handle_async_request, "httpcore")
            and isinstance(request.stream, httpx.AsyncByteStream)
        ):
            outgoing = Outgoing(request.method, url.target, request.headers, request.stream)
            if not outgoing.needs_stock_transport:
                origin = origin_of(url.scheme, url.host, url.port, request.extensions)
                exchange = await wire.send(outgoing, origin, request.extensions)
                assert exchange.parser.status is not None
                return httpcore.Response(
                    exchange.parser.status,
                    headers=exchange.parser.headers,
                    content=BodyStream(exchange),
                    extensions=response_extensions(exchange),
                )
        if url.scheme == b"https":
            self._ssl_context = wire.tls_context()
        return await super().handle_async_request(request)
