"""Pacing requests to what the server documents."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

import httpx

from .._hooks import logger
from .._types.values import RateLimit
from ..limiters import Grant, MemoryRateLimiter, PriorityRateLimiter, RateLimiter, adapt
from ..policies.retry_after import parse_retry_after
from ._attempt import ATTEMPT_KEY, Attempt
from ._call import CALL_KEY, Call


class RateLimitTransport(httpx.AsyncBaseTransport):
    """Holds each request back until a limiter grants it a slot, and slows down when the server answers 429.

    Useful alone: `httpx.AsyncClient(transport=RateLimitTransport(httpx.AsyncHTTPTransport(), limiter=RateLimit(20)))`.
    Put it next to the wire, below retries and concurrency, so that what was granted is sent at once.

    :param transport: what sends the requests.
    :param limiter: a `RateLimit`, which gets a limiter in memory, or any `RateLimiter`, shared with whom you like;
        None for no limit.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, *, limiter: RateLimit | RateLimiter | None) -> None:
        self._transport = transport
        if isinstance(limiter, RateLimit):
            limiter = MemoryRateLimiter(limiter)
        self._limiter = None if limiter is None else adapt(limiter)

    def handle_async_request(self, request: httpx.Request) -> Coroutine[Any, Any, httpx.Response]:
        """Wait for a slot, then send.

        :raises PacingTimeoutError: at once, when the wait would pass the call's deadline.
        """
        call: Call | None = request.extensions.get(CALL_KEY)
        if self._limiter is not None:
            return self._paced(self._limiter, request, call)
        self._granted(call, 0.0)
        return self._transport.handle_async_request(request)  # without a limiter, this layer costs no frame

    async def _paced(self, limiter: PriorityRateLimiter, request: httpx.Request, call: Call | None) -> httpx.Response:
        if call is not None:
            call.stop_clock(time.monotonic())
        deadline = None if call is None else call.deadline
        grant = await limiter.reserve(deadline=deadline)
        response = await self._send(request, call, grant)
        if response.status_code == 429:
            headers = response.headers
            retry_after = parse_retry_after(headers.get("retry-after"), date=headers.get("date"), now=time.time())
            await limiter.throttled(retry_after)
            logger.info("rate limited by the server (Retry-After: %s); the limiter pauses", retry_after)
            if call is not None and call.hooks:
                from .. import hooks as events

                call.hooks.emit(events.RateLimitPaused(call.trigger, retry_after))
        return response

    async def _send(self, request: httpx.Request, call: Call | None, grant: Grant) -> httpx.Response:
        attempt: Attempt | None = request.extensions.get(ATTEMPT_KEY)
        try:
            self._granted(call, grant.waited)
            if attempt is None:
                grant.sent()
            else:
                attempt.on_send = grant.sent
            return await self._transport.handle_async_request(request)
        finally:
            grant.dropped()

    @staticmethod
    def _granted(call: Call | None, waited: float) -> None:
        if call is None:
            return
        if call.patient:
            call.run_clock(time.monotonic())
        if waited > 0 and call.hooks:
            from .. import hooks as events

            call.hooks.emit(events.RateLimitWaited(call.trigger, waited))
        if call.before_send is not None:
            call.before_send(call)

    async def aclose(self) -> None:
        await self._transport.aclose()
