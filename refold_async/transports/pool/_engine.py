"""Our wire: which requests it serves, and the pool of the running event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import httpx
from attrs import define, field

from .._attempt import ATTEMPT_KEY, Attempt
from .._scope import on_asyncio
from ._connect import Connector, SocketOption, Target
from ._exchange import HAS_PARSER, Exchange
from ._outgoing import Outgoing
from ._pool import Pool, PoolState

_PORTS = {b"http": 80, b"https": 443}


def origin_of(scheme: bytes, host: bytes, port: int | None, extensions: Mapping[str, Any]) -> Target:
    """Say where a request leads."""
    return Target(host.decode("ascii"), port or _PORTS[scheme], scheme == b"https", extensions.get("sni_hostname"))


@define(kw_only=True, eq=False)
class Engine:
    """Our wire: a pool for the event loop that runs, made anew once that loop is closed."""

    limits: httpx.Limits
    verify: ssl.SSLContext | str | bool = True
    cert: Any = None
    trust_env: bool = True
    uds: str | None = None
    local_address: str | None = None
    socket_options: Sequence[SocketOption] = ()
    _tls: ssl.SSLContext | None = field(init=False, default=None, repr=False)
    _pool: Pool | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.verify is not True or self.cert is not None:
            self.tls_context()  # what is wrong with these shows now; the default is made at its first use

    def tls_context(self) -> ssl.SSLContext:
        """Give the one TLS context of all connections."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context(verify=self.verify, cert=self.cert, trust_env=self.trust_env)
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    @property
    def state(self) -> PoolState:
        """How many connections there are, and what they do."""
        return PoolState() if self._pool is None else self._pool.state

    def serves(self, scheme: bytes, extensions: Mapping[str, Any]) -> bool:
        """Whether requests like this are for our wire, here and now."""
        trace, attempt = extensions.get("trace"), extensions.get(ATTEMPT_KEY)
        return (
            HAS_PARSER
            and scheme in _PORTS
            # The retry layer's own trace asks for nothing that our wire does not tell the attempt itself.
            and (trace is None or (attempt is not None and getattr(trace, "__self__", None) is attempt))
            and (self._pool is not None or on_asyncio())
        )

    def send(self, outgoing: Outgoing, origin: Target, extensions: Mapping[str, Any]) -> Coroutine[Any, Any, Exchange]:
        """Send a request over a connection of the pool, and give its exchange once the answer's head is there.

        :raises httpx.HTTPError: one of httpx's own.
        """
        attempt: Attempt | None = extensions.get(ATTEMPT_KEY)
        if attempt is not None:
            attempt.head_sent = False  # this wire tells: what it has not told of has not happened
        outgoing.check()
        timeout: Mapping[str, float | None] = extensions.get("timeout") or {}
        pool = self._pool
        if pool is None or pool.loop is not asyncio.get_running_loop():
            pool = self._bind()
        connection = pool.take_idle(origin)
        if connection is not None:  # the usual case, which is spared a frame
            return connection.exchange(outgoing, attempt, timeout)
        return self._send_over_another(pool, outgoing, origin, attempt, timeout)

    @staticmethod
    async def _send_over_another(
        pool: Pool, outgoing: Outgoing, origin: Target, attempt: Attempt | None, timeout: Mapping[str, float | None]
    ) -> Exchange:
        connection = await pool.acquire(origin, timeout)
        return await connection.exchange(outgoing, attempt, timeout)

    def _bind(self) -> Pool:
        """Belong to the running loop from now on.

        :raises RuntimeError: while another loop, to which the connections belong, is still open.
        """
        if self._pool is not None and not self._pool.loop.is_closed():
            raise RuntimeError(
                "this transport belongs to another event loop that is still open: make one for each loop"
            )
        self._pool = Pool(
            asyncio.get_running_loop(),
            Connector(
                tls_context=self.tls_context,
                uds=self.uds,
                local_address=self.local_address,
                socket_options=self.socket_options,
            ),
            max_connections=self.limits.max_connections,
            max_keepalive=self.limits.max_keepalive_connections,
            keepalive_expiry=self.limits.keepalive_expiry,
        )
        return self._pool

    async def aclose(self) -> None:
        """Close every connection; the next request opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None and not pool.loop.is_closed():
            await pool.aclose()
