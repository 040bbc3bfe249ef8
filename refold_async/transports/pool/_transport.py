"""The pool as httpx sees it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from .._stock import is_original
from ._connect import SocketOption, Target
from ._core import CorePool
from ._engine import Engine, origin_of
from ._exchange import HAS_PARSER
from ._limits import KEEPALIVE_EXPIRY
from ._outgoing import Outgoing
from ._pool import PoolState
from ._response import PoolResponse

DEFAULT_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_EXPIRY)

_URLS_REMEMBERED = 256


class PoolTransport(httpx.AsyncHTTPTransport):
    """Sends requests over a connection pool of our own, on asyncio and uvloop.

    It takes the arguments of `httpx.AsyncHTTPTransport`, and is one to everyone who looks; use it as
    `httpx.AsyncClient(transport=PoolTransport())`. HTTP/1.1 and 1.0, over TCP, TLS and unix sockets. It never sends a
    request again by itself, and refuses answers that are not exactly HTTP.

    What it does not do goes to stock httpx by itself: proxies, HTTP/2, `retries`, tunnels and upgrades, a `trace`
    extension, trio, and an interpreter without httptools. So does everything while httpx's or httpcore's methods are
    replaced, as tests and tracers do.

    :param verify: as httpx takes it; `cert` likewise.
    :param limits: connections at most, idle ones at most, and seconds for which those are kept.
    :param uds: the path of a unix socket to connect to, whatever the URL says.
    :param local_address: the address to connect from.
    """

    def __init__(
        self,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = DEFAULT_LIMITS,
        proxy: Any = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> None:
        self._engine = Engine(
            limits=limits,
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            uds=uds,
            local_address=local_address,
            socket_options=tuple(socket_options or ()),
        )
        self._ours = HAS_PARSER and http1 and not (http2 or retries) and proxy is None
        self._urls: dict[int, tuple[object, Target, bytes]] = {}
        self._seen: tuple[Any, Any] = (None, None)
        self._untouched = False
        if self._ours:
            self._pool = CorePool(self._engine)
        else:
            context = verify if isinstance(verify, ssl.SSLContext) else self._engine.tls_context()
            super().__init__(
                context, None, trust_env, http1, http2, limits, proxy, uds, local_address, retries, socket_options
            )

    @property
    def state(self) -> PoolState:
        """How many connections there are on our wire, and what they do."""
        return self._engine.state

    @property
    def reports_to_attempts(self) -> bool:
        """Whether what is written here is told to the attempt of the retry layer, so that silence is evidence."""
        return self._ours and self._is_untouched() and "handle_async_request" not in self.__dict__

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, extensions = request.url, request.extensions
        if self._ours and self._is_untouched() and self._engine.serves(url.raw_scheme, extensions):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            origin, target = self._address(url, extensions)
            outgoing = Outgoing(request.method.encode("ascii", "replace"), target, request.headers.raw, request.stream)
            if not outgoing.is_unusual:
                exchange = await self._engine.send(outgoing, origin, extensions)
                return PoolResponse(exchange)
        return await super().handle_async_request(request)

    def _is_untouched(self) -> bool:
        """Whether the methods that tests and tracers replace are httpx's and httpcore's own."""
        seen = (httpx.AsyncHTTPTransport.handle_async_request, httpcore.AsyncConnectionPool.handle_async_request)
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen = seen
            self._untouched = is_original(seen[0], "httpx") and is_original(seen[1], "httpcore")
        return self._untouched

    def _address(self, url: httpx.URL, extensions: Any) -> tuple[Target, bytes]:
        """Say where a request leads, remembering what was said of the same URL."""
        parts = getattr(url, "_uri_reference", url)  # which copies of a URL share
        known = self._urls.get(id(parts))
        if known is None or known[0] is not parts or "sni_hostname" in extensions:
            known = (parts, origin_of(url.raw_scheme, url.raw_host, url.port, extensions), url.raw_path)
            if "sni_hostname" not in extensions:
                if len(self._urls) >= _URLS_REMEMBERED:
                    self._urls.clear()
                self._urls[id(parts)] = known
        target = extensions.get("target", known[2])
        return known[1], target.encode("ascii", "replace") if isinstance(target, str) else target

    def __repr__(self) -> str:
        if not self._ours:
            return f"<PoolTransport over stock httpx: {self._pool!r}>"
        state = self.state
        return (
            f"<PoolTransport {state.connections} connections ({state.active} active, {state.idle} idle), "
            f"{state.connecting} connecting, {state.waiting} waiting>"
        )
