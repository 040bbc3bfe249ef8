"""The other wire: requests that go through an `httpx.AsyncClient`, because somebody may be looking there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Protocol

import anyio
import httpx

from .._types.evidence import Cut, Evidence
from . import httpx_internals
from .limits import MAX_RESPONSE_BYTES
from .loop_pool import was_written
from .loops import as_exception, ends_program, is_cancellation
from .observed import Observation

_ENDED_BY_AUTH = "the auth flow of the session ended with another request than the trigger's"


class HttpxRequest(Protocol):
    """What this wire needs of an encoded request."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> httpx.URL: ...
    @property
    def body(self) -> bytes: ...
    def header_pairs(self, *, with_credential: bool) -> list[tuple[bytes, bytes]]: ...


class HttpxExchange:
    """One send over a session: every request of it that carries the trigger, and the evidence of each.

    :param session: the session; its hooks, auth and patches see the request.
    :param is_owned: whether the session is ours. Then nothing of its own is merged into the request.
    :param timeout: httpx's `timeout` extension.
    :param before_write: called once, just before the request is written, as far as this wire can tell.
    :param max_response_bytes: how much of a response is read.
    """

    def __init__(
        self,
        session: httpx.AsyncClient,
        request: HttpxRequest,
        *,
        is_owned: bool,
        timeout: Mapping[str, float | None],
        before_write: Callable[[], None],
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._max_response_bytes = max_response_bytes
        self._session = session
        self._request = request
        self._is_owned = is_owned
        self._timeout = timeout
        self._before_write: Callable[[], None] | None = before_write
        self._legs: list[Observation] = []
        self._leg_request: httpx.Request | None = None
        self._leg_requests: list[httpx.Request] = []
        self._beside: list[Observation] = []  # requests of an auth flow that are not the trigger's
        self._has_auth_begun = False
        self._transport = httpx_internals.transport_of(session, request.url)
        self._is_unpatched = httpx_internals.is_unpatched(session)
        self._evidence: Evidence | None = None
        self._is_released = True

    def abandon(self, cut: Cut) -> Evidence:
        """Return what is known of a send that was cancelled: `run` has been left by then."""
        return self._evidence or self._seen(cut=cut)

    async def run(self) -> Evidence:
        """Send, and return the evidence. Raises nothing but cancellation and what ends a program."""
        http_request = self._build()
        response: httpx.Response | None = None
        try:
            try:
                if self._is_owned and self._is_unpatched and self._is_bare():
                    self._begin_leg(http_request)
                    assert self._transport is not None
                    response = await self._transport.handle_async_request(http_request)
                    response.request = http_request
                else:
                    auth = _LegAuth(self._session.auth or httpx.Auth(), self)
                    response = await self._session.send(http_request, stream=True, follow_redirects=False, auth=auth)
                self._responded(response)
                if self._has_auth_begun and self._leg_request is None:  # the response is a token service's
                    self._evidence = self._seen(error=httpx.ProtocolError(_ENDED_BY_AUTH))
                else:
                    self._evidence = await self._read(response)
            finally:
                if response is not None:
                    await self._close(response)
        except BaseException as error:  # the one boundary: what is foreign becomes evidence
            if is_cancellation(error) or ends_program(error) or isinstance(error, GeneratorExit):
                raise
            httpx_internals.drop_frames_of_httpcore(error)
            self._evidence = self._evidence or self._failed(as_exception(error))
        finally:
            self._scrub(http_request)
            if self._evidence is None or not self._evidence.complete or not self._is_released:
                await self._release_leaked()
        assert self._evidence is not None
        return self._evidence

    def _is_bare(self) -> bool:
        return self._transport is not None and httpx_internals.has_no_middleware(self._session)

    def _build(self) -> httpx.Request:
        request = self._request
        extensions = {"timeout": dict(self._timeout)}
        if not self._is_owned:  # the caller's own headers, cookies and parameters go along; ours win
            return self._session.build_request(
                request.method,
                request.url,
                headers=[
                    pair for pair in request.header_pairs(with_credential=True) if pair[0].lower() != b"content-length"
                ],
                content=request.body,
                extensions=extensions,
            )
        http_request = httpx.Request(
            request.method, request.url, stream=httpx.ByteStream(request.body), extensions=extensions
        )
        http_request.headers = httpx.Headers(request.header_pairs(with_credential=True), encoding="latin-1")
        return http_request

    # The legs: each request that carries the trigger is an attempt of its own.

    def carries_trigger(self, leg: httpx.Request) -> bool:
        """Whether a request of an auth flow is the trigger's: the same method and body, and not a token request."""
        if leg.method != self._request.method:
            return False
        try:
            return leg.content == self._request.body
        except httpx.RequestNotRead:
            return False

    def begin_leg(self, leg: httpx.Request) -> None:
        """Note that a request of an auth flow is about to be sent."""
        self._has_auth_begun = True
        self._leg_request = None
        if self.carries_trigger(leg):
            self._begin_leg(leg)
        else:
            seen = Observation(chained=leg.extensions.get("trace"))
            self._beside.append(seen)
            leg.extensions = {**leg.extensions, "trace": seen.trace}

    def _begin_leg(self, leg: httpx.Request) -> None:
        before_write, self._before_write = self._before_write, None
        leg_seen = Observation(before_write, chained=None)
        self._legs.append(leg_seen)
        self._leg_request = leg
        self._leg_requests.append(leg)
        if self._is_unpatched and httpx_internals.reports_writes(self._transport):
            leg_seen.written = False  # until the trace says otherwise
        else:
            leg_seen.writing()
        leg.extensions = {**leg.extensions, "trace": leg_seen.trace}

    def leg_responded(self, response: httpx.Response) -> None:
        """Keep the response to the request that was begun last."""
        if self._leg_request is not None and self._legs[-1].status is None:
            self._legs[-1].responded(response)

    def _responded(self, response: httpx.Response) -> None:
        if not self._legs and not self._has_auth_begun:  # what replaced `send` makes no use of httpx's auth
            self._legs.append(Observation())
            self._legs[-1].responded(response)
        elif self._leg_request is not None:
            self._legs[-1].responded(response)

    def _failed(self, error: Exception) -> Evidence:
        if isinstance(error, httpx.HTTPStatusError) and self._legs:  # a user's response hook called raise_for_status()
            response = error.response
            # Only if it is this request's response, and not that of another request the hook has made.
            if response.__dict__.get("_request") is self._leg_request and self._leg_request is not None:
                self._legs[-1].responded(response)
                if response.is_stream_consumed:
                    return self._whole(response, error)
        return self._seen(error=error)

    def _seen(self, *, error: Exception | None = None, cut: Cut | None = None) -> Evidence:
        """Return the evidence of the last leg, with those before it."""
        if not self._legs:  # nothing that carries the trigger was begun: an auth flow or a hook failed before it
            return Evidence(written=False, error=error, cut=cut)
        last = self._legs[-1]
        told = was_written(error)
        if told is not None and last.written is None:
            last.written = told
        return last.evidence(error=error, cut=cut, earlier=self._earlier())

    def _earlier(self) -> tuple[Evidence, ...]:
        return tuple(leg.evidence(complete=False) for leg in self._legs[:-1])

    def _whole(self, response: httpx.Response, error: Exception | None = None) -> Evidence:
        last = self._legs[-1]
        # Decoded already, as `content` is.
        last.headers = [pair for pair in last.headers if pair[0].lower() != b"content-encoding"]
        body = response.content[: self._max_response_bytes]
        return last.evidence(body=body, complete=True, error=error, earlier=self._earlier())

    async def _read(self, response: httpx.Response) -> Evidence:
        """Read the body, as much of it as is wanted. What breaks off leaves the status as it was."""
        last = self._legs[-1]
        if response.is_stream_consumed:  # a user's response hook has read it
            return self._whole(response)
        body = bytearray()
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._evidence = None
        try:
            async for chunk in response.stream:
                body += chunk
                if len(body) > self._max_response_bytes:
                    del body[self._max_response_bytes :]
                    return last.evidence(body=bytes(body), earlier=self._earlier())
        except BaseException as error:  # the status was seen, and decides
            if is_cancellation(error) or ends_program(error) or isinstance(error, GeneratorExit):
                raise
            return last.evidence(body=bytes(body), error=as_exception(error), earlier=self._earlier())
        return last.evidence(body=bytes(body), complete=True, earlier=self._earlier())

    # Leaving nothing behind.

    async def _close(self, response: httpx.Response) -> None:
        """Release the connection. The response is in hand, so an error here changes nothing."""
        self._is_released = False  # until it is: a native cancellation goes through the shield
        with anyio.CancelScope(shield=True):
            try:
                await response.aclose()
            except Exception:  # noqa: BLE001 - foreign, and too late to matter
                return
        self._is_released = True

    async def _release_leaked(self) -> None:
        for leg in (*self._legs, *self._beside):
            await httpx_internals.release_leaked_connection(self._transport, leg.trace)

    def _scrub(self, http_request: httpx.Request) -> None:
        """Take the credential off what errors refer to: httpx's own repr of a request's headers would show it."""
        secrets = {value for _, value in self._request.header_pairs(with_credential=True)}
        secrets -= {value for _, value in self._request.header_pairs(with_credential=False)}
        for request in {id(r): r for r in (http_request, *self._leg_requests)}.values():
            kept = [pair for pair in request.headers.raw if pair[1] not in secrets]
            request.headers = httpx.Headers(kept, encoding="latin-1")

    def __repr__(self) -> str:
        return f"<HttpxExchange with {len(self._legs)} requests>"


class _LegAuth(httpx.Auth):
    """Passes an auth flow on, and shows the exchange each request of it, and each response."""

    requires_request_body = True

    def __init__(self, auth: httpx.Auth, exchange: HttpxExchange) -> None:
        self._auth = auth
        self._exchange = exchange

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await request.aread()  # an unread body could not be told from a token request's
        flow = self._auth.async_auth_flow(request)
        try:
            leg = await anext(flow)
            while True:
                self._exchange.begin_leg(leg)
                response = yield leg
                self._exchange.leg_responded(response)
                try:
                    leg = await flow.asend(response)
                except StopAsyncIteration:
                    return
        finally:
            await flow.aclose()
