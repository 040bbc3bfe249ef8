"""Pacing requests to what the server documents."""

from __future__ import annotations

import time

import httpx

from .._logging import logger
from .._types.values import RateLimit
from ..limiters import MemoryRateLimiter, RateLimiter, adapt
from ..policies.retry_after import parse_retry_after
from ._evidence import reports_written, send_observed


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

    @property
    def reports_written(self) -> bool:
        """Whether the errors raised here tell if any of the request was handed over."""
        return reports_written(self._transport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for a slot, then send.

        :raises PacingTimeoutError: when the limiter has no slot.
        """
        limiter = self._limiter
        if limiter is None:
            return await self._transport.handle_async_request(request)
        grant = limiter.try_reserve() or await limiter.reserve()
        try:
            result, _ = await send_observed(self._transport, request, grant.sent)
        finally:
            grant.dropped()
        if isinstance(result, Exception):
            raise result
        if result.status_code == 429:
            headers = result.headers
            retry_after = parse_retry_after(headers.get("retry-after"), date=headers.get("date"), now=time.time())
            logger.info("429 (Retry-After: %s); the rate limiter pauses", retry_after)
            try:
                await limiter.throttled(retry_after)
            except BaseException as error:
                if not isinstance(error, Exception):
                    await result.aclose()
                    raise
                logger.warning("the rate limiter's throttled() raised %s", type(error).__name__, exc_info=error)
        return result

    async def aclose(self) -> None:
        await self._transport.aclose()
