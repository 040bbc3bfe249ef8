"""Private parts of httpx and httpcore: detect monkeypatches, release connections that httpcore's pool has leaked."""

from __future__ import annotations

import sys
from types import TracebackType
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


class Guard:
    """Notices when somebody has replaced what tests and tracers replace in httpx and httpcore, before or after.

    It is asked for every request, so it compares what is there with what was there when it last looked closely.
    """

    __slots__ = ("_auth", "_choose", "_core", "_handle", "_is_original", "_kind", "_redirects", "_send", "_single")

    def __init__(self, kind: type[httpx.AsyncClient]) -> None:
        self._kind: Any = kind
        self._is_original = False
        nothing: Any = None
        self._send = self._auth = self._redirects = self._single = self._choose = self._handle = self._core = nothing

    def is_original(self) -> bool:
        """Whether `send`, and all it calls down to the connection pool, are as httpx and httpcore made them."""
        kind = self._kind
        httpcore = sys.modules.get("httpcore")  # not imported: nobody can have replaced anything in it
        try:
            if (
                kind.send is self._send
                and httpx.AsyncHTTPTransport.handle_async_request is self._handle
                and (None if httpcore is None else httpcore.AsyncConnectionPool.handle_async_request) is self._core
                and kind._send_handling_auth is self._auth  # noqa: SLF001
                and kind._send_handling_redirects is self._redirects  # noqa: SLF001
                and kind._send_single_request is self._single  # noqa: SLF001
                and kind._transport_for_url is self._choose  # noqa: SLF001
            ):
                return self._is_original
        except AttributeError:  # another httpx than those that are known: taken for a replaced one
            return False
        self._look(kind, httpcore)
        return self._is_original

    def _look(self, kind: Any, httpcore: Any) -> None:
        self._send, self._auth = kind.send, kind._send_handling_auth  # noqa: SLF001
        self._redirects, self._single = kind._send_handling_redirects, kind._send_single_request  # noqa: SLF001
        self._choose = kind._transport_for_url  # noqa: SLF001
        self._handle = httpx.AsyncHTTPTransport.handle_async_request
        self._core = None if httpcore is None else httpcore.AsyncConnectionPool.handle_async_request
        of_httpx = (self._send, self._auth, self._redirects, self._single, self._choose, self._handle)
        self._is_original = all(is_original(method, "httpx") for method in of_httpx) and (
            self._core is None or is_original(self._core, "httpcore")
        )


def is_unpatched(session: httpx.AsyncClient) -> bool:
    """Whether `send`, and all it calls down to the transport, are as httpx made them: the class's and the session's."""
    if not _REPLACEABLE.isdisjoint(vars(session)):
        return False
    return all(is_original(getattr(type(session), name, None), "httpx") for name in _SEND_METHODS)


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


def drop_frames_of_httpcore(error: BaseException) -> None:
    """Take the frames of httpcore out of the tracebacks of an error and of what caused it.

    Their local variables hold the header fields that go to a proxy, with its user name and password.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        kept = [frame for frame in _frames(each.__traceback__) if not _is_of_httpcore(frame)]
        for frame, following in zip(kept, [*kept[1:], None], strict=True):
            frame.tb_next = following
        each.__traceback__ = kept[0] if kept else None


def _frames(traceback: TracebackType | None) -> list[TracebackType]:
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


def _is_of_httpcore(frame: TracebackType) -> bool:
    return str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "httpcore"
