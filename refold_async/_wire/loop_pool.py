"""The pool of the running event loop, made again once that loop is closed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from .connect import Connector, SocketOption, Target
from .loops import on_asyncio
from .observed import Observation
from .parser import HAS_PARSER
from .pool import Pool, PoolState
from .request import Outgoing
from .streamed import StreamedExchange
from .tls import make_context

_PORTS = {b"http": 80, b"https": 443}


def origin_of(scheme: bytes, host: bytes, port: int | None, extensions: Mapping[str, Any]) -> Target:
    """Return where a request leads."""
    if port is None:
        port = _PORTS[scheme]
    return Target(host.decode("ascii"), port, scheme == b"https", extensions.get("sni_hostname"))


class LoopBoundPool:
    """Our wire: one pool at a time, for the event loop that runs.

    :param limits: connections at most, idle ones at most, and seconds for which those are kept.
    :param verify: as httpx takes it; `cert` too.
    """

    def __init__(
        self,
        *,
        limits: httpx.Limits,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        trust_env: bool = True,
        uds: str | None = None,
        local_address: str | None = None,
        socket_options: Sequence[SocketOption] = (),
    ) -> None:
        self.limits = limits
        self.uds = uds
        self.local_address = local_address
        self.socket_options = socket_options
        self._verify = verify
        self._cert = cert
        self._trust_env = trust_env
        self._tls: ssl.SSLContext | None = None
        self._pool: Pool | None = None
        if verify is not True or cert is not None:
            self.tls_context()  # an error in these shows now; the default context is made at its first use

    def tls_context(self) -> ssl.SSLContext:
        """Return the one TLS context of all connections."""
        if self._tls is None:
            self._tls = make_context(self._verify, self._cert, trust_env=self._trust_env)
        return self._tls

    @property
    def state(self) -> PoolState:
        """How many connections there are, and what they do."""
        return PoolState() if self._pool is None else self._pool.state

    def here(self) -> Pool:
        """Return the pool of the running event loop.

        :raises RuntimeError: while another loop, to which the connections belong, is still open.
        """
        loop = asyncio.get_running_loop()
        pool = self._pool
        if pool is not None:
            if pool.loop is loop:
                return pool
            if not pool.loop.is_closed():
                raise RuntimeError(
                    "this transport belongs to another event loop that is still open: make one for each loop"
                )
            pool.abandon()
        connector = Connector(
            tls_context=self.tls_context,
            uds=self.uds,
            local_address=self.local_address,
            socket_options=self.socket_options,
        )
        self._pool = Pool(
            loop,
            connector,
            max_connections=self.limits.max_connections,
            max_keepalive=self.limits.max_keepalive_connections,
            keepalive_expiry=self.limits.keepalive_expiry,
        )
        return self._pool

    def serves(self, scheme: bytes, extensions: Mapping[str, Any]) -> bool:
        """Whether requests like this are for our wire, here and now: stock httpx serves those with a user's trace."""
        trace = extensions.get("trace")
        if trace is not None:
            seen = Observation.behind(trace)
            if seen is None or seen.is_chained:
                return False
        return HAS_PARSER and scheme in _PORTS and on_asyncio()

    async def send(self, outgoing: Outgoing, origin: Target, extensions: Mapping[str, Any]) -> StreamedExchange:
        """Send a request, and return its exchange once the response's head is there.

        An `Observation` whose callback is the `trace` extension is told what httpcore would have traced.

        :raises httpx.HTTPError: one of httpx's own; `written` on it tells whether any of the request was handed over.
        """
        outgoing.check()
        timeout: Mapping[str, float | None] = extensions.get("timeout") or {}
        seen = Observation.behind(extensions.get("trace"))
        if seen is not None:
            seen.written = False
        exchange: StreamedExchange | None = None
        try:
            pool = self.here()
            connection = await pool.acquire(origin, timeout)
            exchange = StreamedExchange(connection, pool.timer, timeout.get("read"), outgoing)
            if seen is not None:
                seen.writing()
            await exchange.run(outgoing, timeout)
        except httpx.HTTPError as error:
            note_written(error, written=exchange is not None and exchange.written)
            raise
        finally:
            if seen is not None and exchange is not None:
                seen.written = exchange.written
                if exchange.parser.status is not None:
                    seen.status = exchange.parser.status
                    seen.headers = exchange.parser.headers
        return exchange

    async def aclose(self) -> None:
        """Close every connection; the next request opens new ones."""
        if self._pool is not None and not self._pool.loop.is_closed():
            pool, self._pool = self._pool, None
            await pool.aclose()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the connections of an event loop that is closed."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.abandon()


def note_written(error: httpx.HTTPError, *, written: bool) -> None:
    """Keep on an error of our wire whether any of its request was handed over."""
    error.__dict__["written"] = written


def was_written(error: BaseException | None) -> bool | None:
    """Return what `note_written` kept; None for an error of another wire."""
    written: bool | None = getattr(error, "written", None)
    return written
