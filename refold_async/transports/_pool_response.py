"""A response as httpx's users see it."""

from __future__ import annotations

from typing import Any

import httpcore
import httpx

from .._wire.streamed import BodyStream, StreamedExchange


class PoolResponse(httpx.Response):
    """A response whose headers are made into `httpx.Headers` when somebody looks at them.

    :ivar raw_headers: names and values as they came, in order.
    """

    raw_headers: list[tuple[bytes, bytes]] | None = None
    _headers: httpx.Headers | None = None

    def __init__(self, exchange: StreamedExchange) -> None:
        assert exchange.parser.status is not None
        super().__init__(exchange.parser.status, stream=BodyStream(exchange), extensions=response_extensions(exchange))
        self.raw_headers = exchange.parser.headers
        self._headers = None

    @property
    def headers(self) -> httpx.Headers:
        """The headers; the same object at each look, so that what is changed there stays."""
        if self._headers is None:
            self._headers = httpx.Headers(self.raw_headers)
        return self._headers

    @headers.setter
    def headers(self, headers: httpx.Headers) -> None:
        self._headers = headers
        self.raw_headers = None


def response_extensions(exchange: StreamedExchange) -> dict[str, Any]:
    """Return what httpx expects beside status, headers and body."""
    return {
        "http_version": exchange.parser.version,
        "reason_phrase": exchange.parser.reason,
        "network_stream": NetworkStream(exchange),
    }


class NetworkStream(httpcore.AsyncNetworkStream):
    """What is known of the connection underneath; it cannot be read or written past the exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: StreamedExchange) -> None:
        self._exchange = exchange

    def get_extra_info(self, info: str) -> Any:
        """Return `client_addr`, `server_addr`, `ssl_object` or `socket`; None for what is not known."""
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._exchange.get_extra_info(names.get(info, info))
