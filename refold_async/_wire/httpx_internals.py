"""Private parts of httpx and httpcore: detect monkeypatches, release connections that httpcore's pool has leaked."""

from __future__ import annotations

from typing import Any

import anyio
import httpx

_SEND_METHODS = (
    "send",
    "_send_handling_auth",
    "_send_handling_redirects",
    "_send_single_request",
    "_transport_for_url",
)
_REPLACEABLE = frozenset(_SEND_METHODS)


def is_original(function: Any, package: str) -> bool:
    """Whether a function is the one its package shipped, and not a test's or a tracer's replacement."""
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] == package and not hasattr(function, "__wrapped__")


_judged: dict[type, tuple[tuple[Any, ...], bool]] = {}
"""By class of session: the methods that were looked at last, and whether they were httpx's own."""


def is_unpatched(session: httpx.AsyncClient | None) -> bool:
    """Whether `send`, and all it calls down to the transport, are as httpx made them.

    :param session: None for one that was not made yet: then the class it would be of is looked at.
    """
    kind: Any = httpx.AsyncClient if session is None else type(session)
    try:  # one look at each, because this is done for every request
        methods = (
            kind.send,
            kind._send_handling_auth,  # noqa: SLF001
            kind._send_handling_redirects,  # noqa: SLF001
            kind._send_single_request,  # noqa: SLF001
            kind._transport_for_url,  # noqa: SLF001
        )
    except AttributeError:  # another httpx than those that are known: taken for a replaced one
        return False
    known = _judged.get(kind)
    if known is None or known[0] != methods:
        known = _judged[kind] = methods, all(is_original(method, "httpx") for method in methods)
    return known[1] and (session is None or _REPLACEABLE.isdisjoint(vars(session)))


def has_no_middleware(session: httpx.AsyncClient) -> bool:
    """Whether `send` would do no more than hand the request to a transport: no hooks, auth or cookies."""
    hooks = session.event_hooks
    # A jar counts its cookies one by one to say whether there are any; its dictionary of domains knows at once.
    cookies: Any = getattr(session.cookies.jar, "_cookies", session.cookies.jar)
    return not (hooks["request"] or hooks["response"] or cookies or session.auth is not None)


def transport_of(session: httpx.AsyncClient, url: httpx.URL) -> httpx.AsyncBaseTransport | None:
    """Return the transport a session would use, proxies included; None where this httpx does not say."""
    choose = getattr(session, "_transport_for_url", None)
    transport = None if choose is None else choose(url)
    return transport if isinstance(transport, httpx.AsyncBaseTransport) else None


def reports_writes(transport: httpx.AsyncBaseTransport | None) -> bool:
    """Whether the transport reports through `trace` all that it writes, so that silence means nothing was written."""
    if getattr(transport, "reports_written", False):
        return True
    return (
        isinstance(transport, httpx.AsyncHTTPTransport)
        and "handle_async_request" not in transport.__dict__
        and is_original(type(transport).handle_async_request, "httpx")
        and is_original(getattr(type(getattr(transport, "_pool", None)), "handle_async_request", None), "httpcore")
    )


async def release_leaked_connection(transport: httpx.AsyncBaseTransport | None, trace: object) -> None:
    """Take out of httpcore's pool what a cancelled request has left in it.

    httpcore forgets a connection whose request is cancelled between being assigned and being sent, and keeps a
    request whose clean-up was itself cancelled. Both count against the limit until every request ends in
    a pool timeout (encode/httpcore issue 1093).

    :param trace: the callback in the extensions of the request, which tells it from all others.
    """
    if getattr(transport, "reports_written", False):
        return
    pool: Any = getattr(transport, "_pool", None)
    connections = getattr(pool, "_connections", None)
    requests = getattr(pool, "_requests", None)
    if not isinstance(connections, list) or not isinstance(requests, list):
        return
    for pooled in [r for r in requests if r.request.extensions.get("trace") == trace]:
        requests.remove(pooled)
    owned = {id(pooled.connection) for pooled in requests}
    orphans = [c for c in connections if id(c) not in owned and not c.is_idle() and not c.is_closed()]
    for connection in orphans:
        connections.remove(connection)
    orphans += pool._assign_requests_to_connections()  # noqa: SLF001 - those who wait may have the place now
    with anyio.CancelScope(shield=True):
        await _close(orphans)


async def _close(connections: list[Any]) -> None:
    """Close them all, however often that is cancelled."""
    while connections:
        try:
            await connections.pop().aclose()
        finally:
            if connections:
                await _close(connections)


def proxy_of(transport: httpx.AsyncBaseTransport | None) -> str | None:
    """Return the proxy that a transport goes through, as host and port; None if it is not known to have one."""
    if getattr(transport, "reports_written", False):
        return None
    url = getattr(getattr(transport, "_pool", None), "_proxy_url", None)
    if url is None:
        return None
    return f"{url.host.decode('ascii', 'replace')}:{url.port or ''}".rstrip(":")
