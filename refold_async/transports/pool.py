"""The pool as httpx sees it."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterable
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from .._wire.connect import SocketOption, Target
from .._wire.httpx_internals import is_original
from .._wire.limits import KEEPALIVE_EXPIRY
from .._wire.loop_pool import LoopBoundPool, origin_of
from .._wire.parser import HAS_PARSER
from .._wire.pool import PoolState
from .._wire.request import Outgoing

if TYPE_CHECKING:
    from ._httpcore_shim import HttpcorePoolShim

__all__ = ["PoolState", "PoolTransport"]

DEFAULT_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_EXPIRY)

_URLS_REMEMBERED = 256


class PoolTransport(httpx.AsyncHTTPTransport):
    """Sends requests over a connection pool of our own, on asyncio and uvloop.

    It takes the arguments of `httpx.AsyncHTTPTransport`, and is one to everyone who looks; use it as
    `httpx.AsyncClient(transport=PoolTransport())`. HTTP/1.1 and 1.0, over TCP, TLS and unix sockets. It never sends a
    request again by itself, and refuses responses that are not exactly HTTP.

    Stock httpx serves what it does not: proxies, HTTP/2, `retries`, tunnels and upgrades, a `trace` extension, trio,
    and an interpreter without httptools. It also serves everything while httpx's or httpcore's methods are replaced,
    as tests and tracers do.

    :param verify: as httpx takes it; `cert` too.
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
        self.wire = LoopBoundPool(
            limits=limits,
            verify=verify,
            cert=cert,
            trust_env=trust_env,
            uds=uds,
            local_address=local_address,
            socket_options=tuple(socket_options or ()),
        )
        #: Whether its settings leave the requests to our own wire, and not to stock httpx.
        self.is_own_wire = HAS_PARSER and http1 and not (http2 or retries) and proxy is None
        self._urls: dict[int, tuple[object, Target, bytes]] = {}
        self._seen: tuple[Any, Any] = (None, None)
        self._untouched = False
        self._shim: HttpcorePoolShim | None = None
        if not self.is_own_wire:
            context = verify if isinstance(verify, ssl.SSLContext) else self.wire.tls_context()
            super().__init__(
                verify=context,
                trust_env=trust_env,
                http1=http1,
                http2=http2,
                limits=limits,
                proxy=proxy,
                uds=uds,
                local_address=local_address,
                retries=retries,
                socket_options=socket_options,
            )

    @property
    def _pool(self) -> Any:
        """What httpx, and whoever inspects it, expects here: something like httpcore's pool. Made when asked for."""
        if self._shim is None:
            from ._httpcore_shim import HttpcorePoolShim  # httpcore takes a while to import

            self._shim = HttpcorePoolShim(self.wire)
        return self._shim

    @_pool.setter
    def _pool(self, pool: Any) -> None:
        self._shim = pool

    @property
    def state(self) -> PoolState:
        """How many connections there are on our wire, and what they do."""
        return self.wire.state

    @property
    def reports_written(self) -> bool:
        """Whether the errors raised here tell if any of the request was handed over."""
        return self.is_own_wire and self.is_untouched

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, extensions = request.url, request.extensions
        if self.is_own_wire and self._are_methods_original() and self.wire.serves(url.raw_scheme, extensions):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            origin, target = self._address(url, extensions)
            outgoing = Outgoing(request.method.encode("ascii", "replace"), target, request.headers.raw, request.stream)
            if not outgoing.needs_stock_transport:
                from ._pool_response import PoolResponse

                return PoolResponse(await self.wire.send(outgoing, origin, extensions))
        return await super().handle_async_request(request)

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has replaced what tests and tracers replace, on this transport or on its classes."""
        replaced = self.__dict__.get("handle_async_request")
        # A tracer that was taken off again leaves the method itself behind; a wrapper is not a method.
        if replaced is not None and not (
            type(replaced) is MethodType and replaced.__func__ is type(self).handle_async_request
        ):
            return False
        return self._are_methods_original()

    def _are_methods_original(self) -> bool:
        httpcore = sys.modules.get("httpcore")  # not imported: nobody can have replaced anything in it
        seen = (
            httpx.AsyncHTTPTransport.handle_async_request,
            None if httpcore is None else httpcore.AsyncConnectionPool.handle_async_request,
        )
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen = seen
            self._untouched = is_original(seen[0], "httpx") and (seen[1] is None or is_original(seen[1], "httpcore"))
        return self._untouched

    def _address(self, url: httpx.URL, extensions: Any) -> tuple[Target, bytes]:
        """Return where a request leads, remembering it for the same URL."""
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        # httpx's own would close only what stands for httpcore's pool, and not our connections.
        await self.aclose()

    async def aclose(self) -> None:
        try:
            await self.wire.aclose()
        finally:
            if self._shim is not None:
                await self._shim.aclose()

    def __repr__(self) -> str:
        if not self.is_own_wire:
            return f"<PoolTransport over stock httpx: {self._pool!r}>"
        state = self.state
        return (
            f"<PoolTransport {state.connections} connections ({state.active} active, {state.idle} idle), "
            f"{state.connecting} connecting, {state.waiting} waiting>"
        )
