"""Trying again, only where that cannot fire an event twice."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

import anyio
import httpx

from .._logging import logger
from .._types.evidence import Evidence
from .._wire.observed import NEVER_SENT
from ..policies.budget import RetryBudget
from ..policies.retry import RetryPolicy
from ..policies.verdict import Verdict, judge
from ._evidence import reports_written, send_observed

_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class RetryTransport(httpx.AsyncBaseTransport):
    """Retries requests over another transport, as a `RetryPolicy` decides.

    Useful alone: `httpx.AsyncClient(transport=RetryTransport(httpx.AsyncHTTPTransport()))`. A POST or PATCH is tried
    again only when the first one cannot have taken effect; the methods that RFC 9110 §9.2.2 calls idempotent also
    when it may have. A request whose body is a stream is sent once, because the stream cannot be read twice. The
    final response is passed on as a stream; the responses of the attempts before it are closed unread. The last
    exception is raised unchanged.

    :param transport: what sends each attempt.
    :param policy: when to try again; None never does. `request.extensions["retry"]` overrides it for one request.
    :param budget: a limit on retries, shared by whoever it is given to; None for no limit.
    :param random: returns numbers in [0, 1) for the jitter.
    :param sleep: waits that many seconds.
    :param now: POSIX seconds, to measure a `Retry-After` that is a date.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        policy: RetryPolicy | None = RetryPolicy(),  # noqa: B008 - frozen
        budget: RetryBudget | None = None,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._budget = budget
        self._random = random
        self._sleep = sleep
        self._now = now

    @property
    def reports_written(self) -> bool:
        """Whether the errors raised here tell if any of the request was handed over."""
        return reports_written(self._transport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        policy = request.extensions.get("retry", self._policy)
        if not isinstance(request.stream, httpx.ByteStream):
            policy = None
        if self._budget is not None:
            self._budget.record_call()
        attempt = 0
        while True:
            attempt += 1
            result, seen = await send_observed(self._transport, request)
            error = result if isinstance(result, Exception) else None
            if error is not None and not isinstance(error, httpx.TransportError):
                raise error
            delay = self._delay(request, policy, seen.evidence(error=error), attempt)
            if isinstance(result, Exception):
                if delay is None:
                    raise result
            elif delay is None:
                return result
            else:
                await result.aclose()
            logger.info("attempt %d failed; trying again in %.2f s", attempt, delay)
            await self._sleep(delay)

    def _delay(
        self, request: httpx.Request, policy: RetryPolicy | None, evidence: Evidence, attempt: int
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None to make no other."""
        if policy is None:
            return None
        verdict: Verdict = judge(
            evidence,
            is_refold=lambda _: True,
            never_sent=NEVER_SENT,
            classify=policy.classify,
            now=self._now,
        )
        if verdict.kind is None:
            return None
        delay = policy.decide(
            verdict,
            attempt=attempt,
            is_deduplicated=request.method in _IDEMPOTENT_METHODS,
            remaining=None,
            random=self._random,
        )
        if delay is None or evidence.status == 429 or self._budget is None or self._budget.try_spend():
            return delay
        return None

    async def aclose(self) -> None:
        await self._transport.aclose()
