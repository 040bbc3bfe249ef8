"""The session of a client: the caller's own, or one made here over the wire that was chosen."""

from __future__ import annotations

import http.cookiejar
import os
import ssl
import urllib.request
from typing import Literal

import httpx
from attrs import field, frozen

from .._types.errors import ConfigurationError
from .limits import KEEPALIVE_EXPIRY
from .proxies import check_environment, check_proxy
from .tls import default_context

WireChoice = httpx.AsyncBaseTransport | Literal["pool", "httpx"]


@frozen(kw_only=True)
class SessionPlan:
    """What a client's session is made of; checked when it is made.

    :param http_client: the caller's own session; None to make one.
    :param transport: the transport to use, "pool" or "httpx".
    :raises ConfigurationError: for settings that make no sense, or not together.
    """

    http_client: httpx.AsyncClient | None
    transport: WireChoice
    verify: bool | ssl.SSLContext
    proxy: str | httpx.URL | httpx.Proxy | None = field(repr=False)
    base_url: httpx.URL
    max_connections: int | None
    trust_env: bool = True
    """Whether the environment's proxies count."""
    uses_pool: bool = field(init=False)
    """Whether requests may go over our own wire without a session: nobody has put anything in between."""

    def __attrs_post_init__(self) -> None:
        bare = self.http_client is None and self.transport == "pool" and self.proxy is None
        object.__setattr__(self, "uses_pool", bare and not (self.trust_env and _has_proxies()))

    @property
    def is_owned(self) -> bool:
        """Whether the session is ours to close."""
        return self.http_client is None

    @property
    def is_foreign(self) -> bool:
        """Whether the session or its transport is the caller's, so that it cannot be made again for another loop."""
        return self.http_client is not None or not isinstance(self.transport, str)

    @property
    def limits(self) -> httpx.Limits:
        """The limits of the connection pool."""
        most = self.max_connections
        return httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEPALIVE_EXPIRY)

    def make(self, pool: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        """Make the session.

        :param pool: our own wire, where it was chosen.
        :raises ConfigurationError: for a proxy, or proxies of the environment, that httpx cannot use.
        """
        if self.http_client is not None:
            return self.http_client
        own = self.transport if isinstance(self.transport, httpx.AsyncBaseTransport) else None
        if own is None and pool is not None and self.uses_pool:
            own = pool
        verify = self.verify
        if own is None and verify is True:
            verify = default_context()
        try:
            session = httpx.AsyncClient(
                verify=verify,
                limits=self.limits,
                transport=own,
                proxy=self.proxy,
                base_url=self.base_url,
                cookies=httpx.Cookies(_no_cookies()),
                follow_redirects=False,
                trust_env=self.trust_env,
            )
        except (ValueError, TypeError, ImportError, OSError, httpx.InvalidURL) as error:
            raise _proxy_error(self.proxy is not None, error) from None
        # Passed as `transport=`, our wire would turn off the proxies of the environment: so it replaces the stock one.
        if own is None and pool is not None and type(getattr(session, "_transport", None)) is httpx.AsyncHTTPTransport:
            session._transport = pool  # noqa: SLF001 - there is no public way
        return session


def plan_session(
    *,
    http_client: object,
    transport: object,
    verify: bool | ssl.SSLContext,
    proxy: str | httpx.URL | httpx.Proxy | None,
    base_url: httpx.URL,
    max_connections: int | None,
    trust_env: bool,
) -> SessionPlan:
    """Check what a client was given for its session.

    :param trust_env: whether the environment's proxies count.
    :raises ConfigurationError: for settings that make no sense, or not together.
    """
    if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
        raise ConfigurationError(f"http_client must be an httpx.AsyncClient, not {type(http_client).__name__}")
    if http_client is not None and (transport is not None or proxy is not None or verify is not True):
        raise ConfigurationError("http_client brings its own transport, proxy and verify: set those on it")
    if isinstance(transport, httpx.AsyncBaseTransport) and proxy is not None:
        raise ConfigurationError("transport= and proxy= were both given: set the proxy on the transport")
    if proxy is not None:
        check_proxy(proxy)
    elif trust_env and http_client is None and not isinstance(transport, httpx.AsyncBaseTransport):
        check_environment()
    return SessionPlan(
        http_client=http_client,
        transport=_choose_wire(transport),
        verify=verify,
        proxy=proxy,
        base_url=base_url,
        max_connections=max_connections,
        trust_env=trust_env,
    )


def _choose_wire(given: object) -> WireChoice:
    """Return the argument, else what the environment says, else our own pool."""
    if isinstance(given, httpx.AsyncBaseTransport):
        return given
    if given is None:
        chosen = os.environ.get("REFOLD_TRANSPORT") or "pool"
        if chosen not in ("pool", "httpx"):
            raise ConfigurationError(f"REFOLD_TRANSPORT must be pool or httpx, not {chosen!r}")
    elif given in ("pool", "httpx"):
        chosen = str(given)
    else:
        raise ConfigurationError(
            f"transport must be an httpx.AsyncBaseTransport, 'pool' or 'httpx', not {type(given).__name__}"
        )
    return "httpx" if chosen == "httpx" else "pool"


def _has_proxies() -> bool:
    """Whether the environment names any proxy that httpx would use."""
    return any(urllib.request.getproxies().get(scheme) for scheme in ("http", "https", "all"))


def _no_cookies() -> http.cookiejar.CookieJar:
    """Return a jar that keeps nothing: a cookie of one customer's response must not go out with another's call."""
    return http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))


def _proxy_error(was_given: bool, error: Exception) -> ConfigurationError:
    """Say which setting httpx choked on. Its own message may hold the password of a proxy."""
    kind = type(error).__name__
    if isinstance(error, ImportError):
        return ConfigurationError("a SOCKS proxy needs the package socksio: pip install 'httpx[socks]', or unset it")
    if was_given:
        return ConfigurationError(
            f"proxy= is not a URL that httpx can use ({kind}): it should look like http://host:8080"
        )
    names = [
        n
        for n in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
        if os.environ.get(n) or os.environ.get(n.lower())
    ]
    which = ", ".join(names) or "the proxy settings of the system"
    return ConfigurationError(f"{which} cannot be used by httpx ({kind}): each proxy should look like http://host:8080")
