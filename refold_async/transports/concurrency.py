"""Bounding how many requests are in flight, before the pool has to queue them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx

from .._core.slots import FairSemaphore
from ._evidence import reports_written


class ConcurrencyTransport(httpx.AsyncBaseTransport):
    """Lets at most `max_concurrency` requests be in flight over another transport; the rest wait, first in first out.

    Useful alone: `httpx.AsyncClient(transport=ConcurrencyTransport(httpx.AsyncHTTPTransport(), max_concurrency=20))`.
    httpx's own pool queues too, but each enqueue rescans every connection and request, and a wait there counts
    against the pool timeout. A slot is held until the response has arrived in full or is closed. A waiter that is
    cancelled costs nothing. The wait has no limit of its own: put a timeout around the call.

    :param transport: what sends the requests.
    :param max_concurrency: how many may be in flight, 1 or more.
    :raises ValueError: for a `max_concurrency` below 1.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, *, max_concurrency: int = 50) -> None:
        if isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1:
            raise ValueError(f"max_concurrency must be a whole number of at least 1, not {max_concurrency!r}")
        self._transport = transport
        self._slots = FairSemaphore(max_concurrency)

    @property
    def reports_written(self) -> bool:
        """Whether the errors raised here tell if any of the request was handed over."""
        return reports_written(self._transport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._slots.try_acquire():
            await self._slots.acquire()
        try:
            response = await self._transport.handle_async_request(request)
            # A mock's, or read to its end by a hook: nobody will close its stream again. Or all of it is here already.
            if response.is_closed or getattr(response.stream, "has_arrived", False):
                self._slots.release()
            else:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                response.stream = ReleaseOnCloseStream(response.stream, self._slots.release)
        except BaseException:
            self._slots.release()
            raise
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class ReleaseOnCloseStream(httpx.AsyncByteStream):
    """Passes a stream on, and calls `release` once, when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        self._stream = stream
        self._release: Callable[[], None] | None = release

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            release, self._release = self._release, None
            if release is not None:
                release()
