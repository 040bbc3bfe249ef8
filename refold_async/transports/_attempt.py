"""What is known of one attempt, gathered while it runs, so that any ending can be judged from it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import httpx
from attrs import define, field

from .._types.values import Delivery
from ..policies.verdict import TAKEN, Classifier, FailureKind, Verdict, classify_status
from ._held import take_now

ATTEMPT_KEY = "refold_attempt"
"""Where a request's `extensions` carry its `Attempt`, from the retry layer to the wire."""

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

_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError)


@define(eq=False)
class Attempt:
    """One try of a request: the evidence, and then the verdict.

    :ivar number: counts from 1.
    :ivar started: clock time at its start, in seconds.
    :ivar on_wire: whether the wire was reached at all: false while queueing for a slot.
    :ivar head_sent: whether the request's head was handed over; None where the wire does not tell.
    :ivar status_code: the status, once seen; it decides, whatever happens later.
    :ivar raw_headers: those of the answer, as they came.
    :ivar body: what arrived of the answer's body, as it came over the wire.
    :ivar complete: whether the body came to its end.
    :ivar decoded: the body without its compression, once it was looked at; `document` the JSON object in it.
    :ivar on_send: called when the request is about to be written.
    :ivar reclaim: takes back from the wire what a broken off attempt has left there.
    """

    number: int
    started: float
    on_wire: bool = False
    head_sent: bool | None = None
    status_code: int | None = None
    raw_headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    body: bytearray = field(factory=bytearray, repr=False)
    complete: bool = False
    decoded: bytes | None = field(default=None, repr=False)
    document: dict[str, Any] | None = field(default=None, repr=False)
    error: Exception | None = field(default=None, repr=False)
    response: httpx.Response | None = field(default=None, repr=False)
    verdict: Verdict | None = None
    on_send: Callable[[], None] | None = field(default=None, repr=False)
    reclaim: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    _tunnel: bool = False
    _stream: Any = field(default=None, repr=False)

    def answered(self, response: httpx.Response) -> None:
        """Note the status: from here on it decides."""
        self.status_code = response.status_code
        raw_headers = getattr(response, "raw_headers", None)
        self.raw_headers = response.headers.raw if raw_headers is None else raw_headers

    def failed(self, error: Exception) -> None:
        """Note the error, and what it tells of the answer."""
        self.error = error
        if isinstance(error, httpx.HTTPStatusError):  # a user's response hook called raise_for_status()
            self.answered(error.response)
            try:
                self.body[:] = error.response.content
            except httpx.ResponseNotRead:
                return
            self.complete = True

    def read_now(self, response: httpx.Response, limit: int) -> bool:
        """Do as `read`, if the whole body has arrived already; give whether it had."""
        whole = None if response.is_stream_consumed else take_now(response.stream)
        if whole is None:
            return False
        self.body += whole[:limit]
        self.complete = len(whole) <= limit
        return True

    async def read(self, response: httpx.Response, limit: int) -> None:
        """Read the body, at most `limit` bytes of it."""
        if response.is_stream_consumed:  # a user's response hook has read it
            self.body += response.content
            self.raw_headers = [pair for pair in self.raw_headers if pair[0].lower() != b"content-encoding"]
            self.complete = True
            return
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            self.body += chunk
            if len(self.body) > limit:
                del self.body[limit:]
                return
        self.complete = True

    def header(self, name: bytes) -> str | None:
        """Give a header of the answer; the first one, where there are several.

        :param name: in lower case.
        """
        for key, value in self.raw_headers:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("utf-8", "replace")
        return None

    def sending(self) -> None:
        """Tell whom it concerns that the request is about to be written, as far as is known."""
        if self.on_send is not None:
            self.on_send()

    async def abandon(self) -> None:
        """Leave nothing of a broken off attempt behind on the wire."""
        if self.reclaim is not None:
            await self.reclaim()

    def judge(self, *, now: float, classify: Classifier | None) -> Verdict:
        """Say what is known of the delivery, from the evidence so far.

        :param now: POSIX seconds, for a `Retry-After` that is a date.
        """
        if self.status_code is not None:
            if classify is None and 200 <= self.status_code < 300:
                return TAKEN
            headers = {name.lower(): value for name, value in httpx.Headers(list(self.raw_headers)).items()}
            return classify_status(self.status_code, headers, now=now, classify=classify)
        if (
            not self.on_wire
            or self.head_sent is False
            or (self.head_sent is None and isinstance(self.error, NEVER_SENT))
        ):
            kind = FailureKind.TLS if _is_bad_certificate(self.error) else FailureKind.CONNECT
            return Verdict(Delivery.NOT_SENT, kind, None)
        return Verdict(Delivery.AMBIGUOUS, FailureKind.NO_ANSWER, None)

    def trace(self, chained: Trace | None = None) -> Trace:
        """Make httpcore's `trace` callback, which gathers the evidence; `chained` is the user's own."""
        if chained is None:
            return self._observe

        async def observe(name: str, info: dict[str, Any]) -> None:
            await self._observe(name, info)
            await chained(name, info)

        return observe

    async def _observe(self, name: str, info: dict[str, Any]) -> None:
        if self.head_sent is None:
            self.head_sent = False  # the wire does tell: what it has not told of has not happened
        event = name.partition(".")[2]
        if event not in _TELLING:
            return
        if event == "send_request_headers.started":
            # A proxy's CONNECT is reported like a request; it carries nothing of ours.
            self._tunnel = getattr(info.get("request"), "method", b"") == b"CONNECT"
            if not self._tunnel:
                self.sending()
        elif event == "send_request_headers.complete":
            if not self._tunnel:
                self.head_sent = True
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
            self.status_code = status
            self.raw_headers = headers


def _is_bad_certificate(error: BaseException | None) -> bool:
    """Whether the TLS handshake failed for a reason that trying again will not change."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLError) and not isinstance(error, _TRANSIENT_TLS):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
