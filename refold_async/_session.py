"""The session of a client: the caller's own, or one made here over the wire that was chosen."""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from collections.abc import Callable
from typing import Any, Literal

import httpx

from ._config import check_verify
from ._types.errors import ConfigurationError

Wire = httpx.AsyncBaseTransport | Literal["pool", "httpx"]

KEEPALIVE_EXPIRY = 4.0
"""Seconds an idle connection is kept. Node servers close theirs at 5, and a request must not meet that close."""


def session_maker(
    *,
    http_client: httpx.AsyncClient | None,
    transport: Wire | None,
    verify: bool | str | ssl.SSLContext,
    proxy: str | httpx.URL | httpx.Proxy | None,
    base_url: httpx.URL,
    max_connections: int | None,
) -> Callable[[], httpx.AsyncClient]:
    """Give what makes the session, each time anew unless it is the caller's.

    :raises ConfigurationError: for settings that make no sense, or not together.
    """
    if http_client is not None:
        if not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError(f"http_client must be an httpx.AsyncClient, not {type(http_client).__name__}")
        if transport is not None or proxy is not None or verify is not True:
            raise ConfigurationError("http_client brings its own transport, proxy and verify: set those on it")
        return lambda: http_client
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=KEEPALIVE_EXPIRY
    )
    return functools.partial(
        _make_session, _choose_wire(transport), check_verify(verify), base_url=base_url, proxy=proxy, limits=limits
    )


def _choose_wire(given: object) -> Wire:
    """Take the argument, else the environment, else our own pool."""
    if isinstance(given, httpx.AsyncBaseTransport):
        return given
    if given is None:
        chosen = os.environ.get("REFOLD_TRANSPORT") or "pool"
        if chosen not in ("pool", "httpx"):
            raise ConfigurationError(f"REFOLD_TRANSPORT must be pool or httpx, not {chosen!r}")
    elif given in ("pool", "httpx"):
        chosen = given
    else:
        raise ConfigurationError(
            f"transport must be an httpx.AsyncBaseTransport, 'pool' or 'httpx', not {type(given).__name__}"
        )
    return "httpx" if chosen == "httpx" else "pool"


def _make_session(
    wire: Wire, verify: bool | ssl.SSLContext, *, limits: httpx.Limits, **options: Any
) -> httpx.AsyncClient:
    own = None if isinstance(wire, str) else wire
    if own is None and not isinstance(verify, ssl.SSLContext):
        verify = httpx.create_ssl_context(verify=verify)  # one for the wire, and for proxies beside it
    session = httpx.AsyncClient(
        verify=verify,
        limits=limits,
        transport=own,
        follow_redirects=False,
        trust_env=not _is_loopback(options["base_url"].host),  # no proxy reaches the loopback of this machine
        **options,
    )
    # Passed as `transport=`, our wire would turn off the proxies of the environment: so it takes the stock one's place.
    if wire == "pool" and type(getattr(session, "_transport", None)) is httpx.AsyncHTTPTransport:
        from .transports.pool import PoolTransport

        session._transport = PoolTransport(verify=verify, limits=limits)  # noqa: SLF001 - there is no public way
    return session


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
