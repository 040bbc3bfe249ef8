"""The bottom of the stack: one `httpx.AsyncClient`, ours or the caller's."""

from __future__ import annotations

import functools

import httpx

from .._credentials import Credential
from . import _stock
from ._attempt import ATTEMPT_KEY, Attempt


class SessionTransport(httpx.AsyncBaseTransport):
    """Sends each attempt through a session.

    What `AsyncClient.send` adds (hooks, auth, cookies) costs more than all our layers together. So a session of our
    own that uses none of it is passed by, and its transport called directly; unless somebody replaced `send`, or
    what is below it, to watch or to mock the traffic.

    The credential is added here, and taken off again on the way up: above this layer no request carries it, nor does
    the one that an error of httpx refers to.
    """

    def __init__(self, session: httpx.AsyncClient, credential: Credential, *, owned: bool) -> None:
        self.session = session
        self._credential = credential
        self._owned = owned

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self.session
        wire = _stock.transport_of(session, request.url)
        original = _stock.sends_itself(session)
        attempt: Attempt = request.extensions[ATTEMPT_KEY]
        attempt.on_wire = True
        if not getattr(wire, "reports_to_attempts", False):
            attempt.reclaim = functools.partial(_stock.reclaim, wire, ATTEMPT_KEY, attempt)
            if original and _stock.tells(wire):
                attempt.head_sent = False
            else:
                attempt.sending()
        bare = request.headers
        try:
            # Not a local variable: those of a failing call are shown by tracebacks that print them.
            request.headers = httpx.Headers(bare, encoding="ascii")
            request.headers.__setitem__(*self._credential.header())
            if original and wire is not None and self._owned and _stock.only_transports(session):
                return await wire.handle_async_request(request)
            response = await session.send(self._merged(request), stream=True, follow_redirects=False)
        except BaseException as error:
            _show_instead(request, error)
            await attempt.abandon()
            raise
        finally:
            request.headers = bare
        response.request = request
        return response

    def _merged(self, request: httpx.Request) -> httpx.Request:
        """Build the request anew with the session's own headers, cookies and parameters; ours win."""
        assert isinstance(request.stream, httpx.ByteStream)
        return self.session.build_request(
            request.method,
            request.url,
            headers=[(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"],
            content=b"".join(request.stream),
            extensions=request.extensions,
        )

    async def aclose(self) -> None:
        """Close the session if it is ours; the caller's is left alone."""
        if self._owned:
            await self.session.aclose()


def _show_instead(request: httpx.Request, error: BaseException | None) -> None:
    """Make an error, and what it stems from, refer to the request that is bare of secrets once the call is over."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, httpx.RequestError | httpx.HTTPStatusError):
            error.request = request
        if isinstance(error, httpx.HTTPStatusError):
            error.response.request = request
        error = error.__cause__ or error.__context__
