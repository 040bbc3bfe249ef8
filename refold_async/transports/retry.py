"""Trying again, only where that cannot fire an event twice."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable

import anyio
import httpx

from .._hooks import logger
from .._types.errors import RefoldError
from ..policies.budget import RetryBudget
from ..policies.retry import RetryPolicy
from ..policies.verdict import TAKEN, FailureKind, Verdict
from ._attempt import ATTEMPT_KEY, Attempt
from ._call import CALL_KEY, Call
from ._held import close_now

_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_FREE_OF_BUDGET = frozenset({FailureKind.THROTTLED})

PATIENCE = 20
"""How often a patient call may be asked to slow down, without that counting as one of its attempts."""


class RetryTransport(httpx.AsyncBaseTransport):
    """Retries requests over another transport, as a `RetryPolicy` decides.

    Useful alone: `httpx.AsyncClient(transport=RetryTransport(httpx.AsyncHTTPTransport()))`. A POST or PATCH is tried
    again only when the first one cannot have taken effect; the methods that RFC 9110 §9.2.2 calls idempotent also
    when it may have. A request whose body is a stream is sent once, because the stream cannot be read twice. The
    final answer is passed on as a stream; the answers of the attempts before it are closed unread. What goes wrong
    at last is raised as it came.

    :param transport: what sends each attempt.
    :param policy: when to try again; None never does. `request.extensions["retry"]` overrides it for one request.
    :param budget: a limit on retries, shared by whoever it is given to; None for no limit.
    :param random: gives numbers in [0, 1) for the jitter.
    :param clock: seconds, monotonic.
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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._budget = budget
        self._random = random
        self._clock = clock
        self._sleep = sleep
        self._now = now

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        policy = request.extensions.get("retry", self._policy)
        if not isinstance(request.stream, httpx.ByteStream):
            policy = None
        idempotent = request.method in _IDEMPOTENT_METHODS
        attempt = await self.deliver(request, Call(policy=policy, retry_within=float("inf") if idempotent else None))
        if attempt.error is not None:
            raise attempt.error
        response, attempt.response = attempt.response, None  # which the request's extensions would hold on to
        assert response is not None
        return response

    async def deliver(self, request: httpx.Request, call: Call) -> Attempt:
        """Try until it is accepted or may not be tried again; give the last attempt, whatever its ending.

        Endings are in the attempt, not raised: only cancellation leaves here as an exception, and then
        `call.attempts` holds all that is known.
        """
        if self._budget is not None:
            self._budget.record_call()
        request.extensions[CALL_KEY] = call
        traced = request.extensions.get("trace")
        while True:
            attempt = Attempt(len(call.attempts) + 1, self._clock(), on_wire=not call.wire_reports)
            call.attempts.append(attempt)
            request.extensions[ATTEMPT_KEY] = attempt
            request.extensions["trace"] = attempt.trace(traced)
            await self._try(request, call, attempt)
            verdict = call.judge(attempt, self._now())
            self._report(call, attempt, verdict)
            if verdict is TAKEN:
                return attempt
            delay = self._delay(call, attempt, verdict)
            if delay is None:
                return attempt
            if attempt.response is not None:
                await attempt.response.aclose()
            if call.hooks:
                from .. import hooks as events

                call.hooks.emit(events.RetryScheduled(call.trigger, attempt.number, verdict.delivery, delay))
            logger.info("attempt %d ended %s; trying again in %.2f s", attempt.number, verdict.delivery, delay)
            await self._sleep(delay)

    async def _try(self, request: httpx.Request, call: Call, attempt: Attempt) -> None:
        if call.hooks:
            from .. import hooks as events

            call.hooks.emit(events.AttemptStarted(call.trigger, attempt.number))
        response: httpx.Response | None = None
        try:
            response = await self._transport.handle_async_request(request)
            attempt.answered(response)
            if call.read_limit is None:
                attempt.response = response
            elif not attempt.read_now(response, call.read_limit):
                await attempt.read(response, call.read_limit)
        except RefoldError as error:
            attempt.failed(error)
        except Exception as error:
            if call.read_limit is None and not isinstance(error, httpx.TransportError):
                raise
            if isinstance(error, httpx.RequestError):
                error.request = request
            attempt.failed(error)
        finally:
            if response is not None and attempt.response is None:
                if close_now(response.stream):  # nothing to wait for, so nothing to shield
                    response.is_closed = True
                else:
                    await _close(response, attempt)

    def _delay(self, call: Call, attempt: Attempt, verdict: Verdict) -> float | None:
        if verdict.kind is None or call.policy is None or call.interrupted or isinstance(attempt.error, RefoldError):
            return None
        now = self._clock()
        if call.retry_within is not None and call.tried:
            first = next(a for a in call.attempts if a.on_wire)
            call.end_window(first.started + call.retry_within, now)
        if verdict.kind is FailureKind.THROTTLED:
            call.stop_clock(now)  # it is the limiter's pause that is waited out
        remaining = None if call.deadline is None else call.deadline - now
        delay = call.policy.decide(
            verdict,
            attempt=attempt.number,
            repeats_dropped=call.repeats_dropped,
            remaining=remaining,
            random=self._random,
            forgiven=min(PATIENCE, call.throttled) if call.patient else 0,
        )
        if delay is None or verdict.kind in _FREE_OF_BUDGET or self._budget is None:
            return delay
        if self._budget.try_spend():
            return delay
        logger.info("the retry budget is spent; attempt %d is the last", attempt.number)
        return None

    def _report(self, call: Call, attempt: Attempt, verdict: Verdict) -> None:
        if not (call.hooks or logger.isEnabledFor(logging.DEBUG)):
            return
        elapsed = self._clock() - attempt.started
        error = None if attempt.error is None else type(attempt.error).__name__
        logger.debug(
            "attempt %d: %s (status %s, %s) in %.3f s",
            attempt.number, verdict.delivery, attempt.status_code, error, elapsed,
        )  # fmt: skip
        if call.hooks:
            from .. import hooks as events

            status = attempt.status_code
            call.hooks.emit(
                events.AttemptFinished(call.trigger, attempt.number, verdict.delivery, status, error, elapsed)
            )

    async def aclose(self) -> None:
        await self._transport.aclose()


async def _close(response: httpx.Response, attempt: Attempt) -> None:
    """Give the connection back. The answer is already in hand, so what goes wrong here changes nothing."""
    closed = False
    try:
        with anyio.CancelScope(shield=True):
            await response.aclose()
        closed = True
    except Exception as error:  # noqa: BLE001 - still the one boundary: a status that was seen decides
        attempt.error = attempt.error or error
    finally:
        if not (closed and attempt.complete):
            await attempt.abandon()
