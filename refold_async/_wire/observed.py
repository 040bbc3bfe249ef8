"""Watching a request go through httpcore, so that its evidence belongs to this very exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import httpx

from .._types.evidence import Cut, Evidence

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""The errors of httpx that are only raised before a request is written."""

_TELLING = frozenset(
    {
        "send_request_headers.started", "send_request_headers.complete", "receive_response_headers.complete",
        "connect_tcp.complete", "connect_unix_socket.complete", "start_tls.failed",
    }
)  # fmt: skip
"""The events of httpcore, without the name of the protocol, that are evidence."""


class Observation:
    """Collects what httpcore's `trace` extension reports of one request, and returns it as `Evidence`.

    It watches one exchange: the callback travels with the request, so another request that a hook or an auth flow
    makes meanwhile reports elsewhere or nowhere.

    :param before_write: called once, just before the request is written.
    :param chained: the user's own trace callback.
    """

    def __init__(self, before_write: Callable[[], None] | None = None, chained: Trace | None = None) -> None:
        self.written: bool | None = None
        self.status: int | None = None
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self._before_write = before_write
        self._chained = chained
        self._tunnel = False
        self._stream: Any = None

    def writing(self) -> None:
        """Say that the request is about to be written, as far as is known. Only the first time counts."""
        before_write, self._before_write = self._before_write, None
        if before_write is not None:
            before_write()

    def responded(self, response: httpx.Response) -> None:
        """Keep the status: from here on it decides."""
        self.written = True
        if not isinstance(response.status_code, int):  # a transport of the user's own can answer anything
            raise httpx.RemoteProtocolError(f"the response's status is a {type(response.status_code).__name__}")
        self.status = response.status_code
        raw = getattr(response, "raw_headers", None)
        self.headers = response.headers.raw if raw is None else raw

    def evidence(
        self,
        *,
        body: bytes = b"",
        complete: bool = False,
        error: Exception | None = None,
        cut: Cut | None = None,
        earlier: tuple[Evidence, ...] = (),
    ) -> Evidence:
        """Return what is known so far."""
        return Evidence(self.status, tuple(self.headers), body, complete, self.written, error, cut, True, earlier)

    @property
    def is_chained(self) -> bool:
        """Whether a trace callback of the user's own is to be told as well."""
        return self._chained is not None

    @classmethod
    def behind(cls, trace: object) -> Observation | None:
        """Return the observation whose `trace` this is; None for any other callback."""
        owner = getattr(trace, "__self__", None)
        return owner if isinstance(owner, cls) else None

    async def trace(self, name: str, info: dict[str, Any]) -> None:
        """Note an event of httpcore's."""
        if self.written is None:
            self.written = False  # the wire does tell: what it has not told of has not happened
        event = name.partition(".")[2]
        if event in _TELLING:
            await self._note(event, info)
        if self._chained is not None:
            await self._chained(name, info)

    async def _note(self, event: str, info: dict[str, Any]) -> None:
        if event == "send_request_headers.started":
            # A proxy's CONNECT is reported like a request; it carries nothing of ours.
            self._tunnel = getattr(info.get("request"), "method", b"") == b"CONNECT"
            if not self._tunnel:
                self.writing()
        elif event == "send_request_headers.complete":
            if not self._tunnel:
                self.written = True
        elif event == "receive_response_headers.complete":
            if not self._tunnel:
                self._status_seen(info.get("return_value"))
        elif event in ("connect_tcp.complete", "connect_unix_socket.complete"):
            self._stream = info.get("return_value")
        elif event == "start_tls.failed" and self._stream is not None:
            # httpcore closes the socket here for errors, but not when the handshake is cancelled.
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    def _status_seen(self, value: Any) -> None:
        if isinstance(value, tuple) and len(value) >= 2:
            status, headers = (value[1], value[3]) if isinstance(value[1], int) else (value[0], value[1])
            self.status = status
            self.headers = headers
