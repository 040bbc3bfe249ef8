"""OpenTelemetry: a span for each call and each attempt, and metrics. Needs the extra `otel`.

Payloads, credentials and accounts are in none of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextvars import Token
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import define

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as error:
    raise ImportError("refold_async.otel needs OpenTelemetry: pip install 'refold-async[otel]'") from error

from ._types.errors import APIError, InvalidTriggerError
from ._types.values import Delivery
from ._version import __version__
from .hooks import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    HookEvent,
    RateLimitPaused,
    RateLimitWaited,
    RetryScheduled,
)

__all__ = ["OpenTelemetry", "inject_context"]

_SCHEMA = "https://opentelemetry.io/schemas/1.28.0"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bucket boundaries that the semantic conventions advise for `http.client.request.duration`."""

_HTTPX_INSTRUMENTATION = "opentelemetry.instrumentation.httpx"


@define(eq=False)
class _Call:
    """A call under way.

    :ivar trigger: kept so that nothing else gets its identity while the call lasts.
    :ivar attempt: the span of the attempt under way, if it has one of ours.
    :ivar waited: how many seconds of the attempt were spent waiting for the rate limit.
    :ivar inside: the context that is current during the attempt; `outside` restores the one before it.
    """

    trigger: Any
    span: trace.Span
    attempt: trace.Span | None = None
    waited: float = 0.0
    inside: context.Context | None = None
    outside: Token[context.Context] | None = None


class OpenTelemetry:
    """A hook that reports each call: `RefoldClient(hooks=[OpenTelemetry()])`. Clients may share one.

    A call is a span `trigger {slug}`; each attempt within it is a span of an HTTP client, by the semantic conventions.
    While `opentelemetry-instrumentation-httpx` is active, the attempts' spans and their metric are made there, as
    children of the call's span. The metrics are listed in the docs, under "Watching it".

    State: a call is in `_calls` from its first attempt to its `CallFinished`, which always comes. Only this hook
    changes it, in the task that makes the call.

    :param tracer_provider: where spans go; None means the global one.
    :param meter_provider: where metrics go; None means the global one.
    :param base_url: the client's, for `server.address` of the attempts.
    :param attempts: whether to report attempts as HTTP requests. None does, unless httpx is instrumented as a whole;
        pass False where only `client.session` is.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        base_url: str = "https://app.refold.ai",
        attempts: bool | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("refold_async", __version__, tracer_provider, _SCHEMA)
        meter = metrics.get_meter("refold_async", __version__, meter_provider, _SCHEMA)
        self._reports_attempts = attempts
        self._calls: dict[object, _Call] = {}
        self._request = _request_attributes(base_url)
        self._active = meter.create_up_down_counter(
            "refold.client.active_calls", "{call}", "Calls under way, from their first attempt on."
        )
        self._durations = meter.create_histogram(
            "refold.client.call.duration",
            "s",
            "Duration of a call, with all its attempts and waits.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._attempts = meter.create_counter("refold.client.attempts", "{attempt}", "Attempts, by their verdict.")
        self._requests = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._retries = meter.create_counter("refold.client.retries", "{retry}", "Attempts that will be made again.")
        self._waits = meter.create_histogram(
            "refold.client.rate_limit.wait.duration",
            "s",
            "How long attempts waited for the rate limit, of those that did.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._pauses = meter.create_counter(
            "refold.client.rate_limit.pauses", "{pause}", "How often a 429 paused the rate limit."
        )

    def __call__(self, event: HookEvent) -> None:
        """Report one event."""
        match event:
            case AttemptStarted():
                self._attempt_started(event)
            case AttemptFinished():
                self._attempt_finished(event)
            case CallFinished():
                self._call_finished(event)
            case RetryScheduled():
                self._retries.add(1, {**_slug(event), **_verdict(event)})
                self._annotate(event, "retry", {"refold.delay": event.delay, **_verdict(event)})
            case RateLimitWaited():
                self._waits.record(event.waited, _slug(event))
                self._annotate(event, "rate limit waited", {"refold.wait": event.waited})
                call = self._calls.get(_identity(event))
                if call is not None:
                    call.waited += event.waited
            case RateLimitPaused():
                self._pauses.add(1, _slug(event))
                asked = {} if event.retry_after is None else {"refold.retry_after": event.retry_after}
                self._annotate(event, "rate limit paused", asked)

    def _attempt_started(self, event: AttemptStarted) -> None:
        identity = _identity(event)
        call = self._calls.get(identity)
        if call is None:
            call = self._calls[identity] = _Call(event.trigger, self._call_span(event, None))
            self._active.add(1)
        _cut_off(call, "unknown")
        inside = trace.set_span_in_context(call.span)
        call.waited = 0.0
        if self._is_reporting_attempts():
            attributes = {**self._request_to(event), "refold.attempt": event.attempt}
            if event.attempt > 1:
                attributes["http.request.resend_count"] = event.attempt - 1
            name = "HTTP" if event.trigger is None else "POST"
            call.attempt = self._tracer.start_span(name, inside, trace.SpanKind.CLIENT, attributes)
            inside = trace.set_span_in_context(call.attempt, inside)
        call.inside, call.outside = inside, context.attach(inside)

    def _attempt_finished(self, event: AttemptFinished) -> None:
        self._attempts.add(1, {**_slug(event), **_verdict(event)})
        call = self._calls.get(_identity(event))
        if call is None:
            return
        _leave(call)
        if call.attempt is None:
            return
        span, call.attempt = call.attempt, None
        outcome: dict[str, Any] = {}
        if event.status_code is not None:
            outcome["http.response.status_code"] = event.status_code
        if event.error is not None or (event.status_code is not None and event.status_code >= 400):
            outcome["error.type"] = event.error or str(event.status_code)
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        span.set_attributes({**outcome, **_verdict(event)})
        span.end()
        self._requests.record(max(event.elapsed - call.waited, 0.0), {**self._request_to(event), **outcome})

    def _call_finished(self, event: CallFinished) -> None:
        call = self._calls.pop(_identity(event), None)
        if call is None:  # it ended before its first attempt
            span = self._call_span(event, time.time_ns() - int(event.elapsed * 1e9))
        else:
            span = call.span
            _cut_off(call, _error_type(event))
            self._active.add(-1)
        attributes: dict[str, Any] = dict(_verdict(event))
        if event.error is not None or (event.trigger is not None and event.delivery is not Delivery.ACCEPTED):
            attributes["error.type"] = _error_type(event)
            description = f"{_error_type(event)} ({attributes.get('refold.delivery', 'nothing to fire')})"
            span.set_status(trace.Status(trace.StatusCode.ERROR, description))
        request_id = event.receipt.request_id if event.receipt is not None else _request_id(event)
        if request_id is not None:
            span.set_attribute("refold.request_id", request_id)
        span.set_attributes({**attributes, "refold.attempts": event.attempts})
        span.end()
        # A slug that was refused is of the caller's making: as an attribute it could have any number of values.
        invalid = isinstance(event.error, InvalidTriggerError)
        self._durations.record(event.elapsed, attributes if invalid else {**attributes, **_slug(event)})

    def _call_span(self, event: AttemptStarted | CallFinished, start_time: int | None) -> trace.Span:
        attributes = {"refold.call_id": event.call_id}
        if event.trigger is None:  # a request that fires nothing
            return self._tracer.start_span("request", attributes=attributes, start_time=start_time)
        slug, name = _text(event.trigger.slug), _text(event.trigger.event)
        if isinstance(event, CallFinished):  # it was perhaps refused for what no exporter can encode either
            slug, name = (text.encode("utf-8", "replace").decode() for text in (slug, name))
        attributes |= {"refold.slug": slug, "refold.event": name}
        return self._tracer.start_span(f"trigger {slug}".rstrip(), attributes=attributes, start_time=start_time)

    def _request_to(self, event: AttemptStarted | AttemptFinished) -> dict[str, Any]:
        """Return what the conventions require of a request. Events name no method; `_OTHER` stands for unknown ones."""
        return self._request if event.trigger is not None else {**self._request, "http.request.method": "_OTHER"}

    def _annotate(self, event: HookEvent, name: str, attributes: Mapping[str, Any]) -> None:
        call = self._calls.get(_identity(event))
        if call is not None:
            call.span.add_event(name, attributes)

    def _is_reporting_attempts(self) -> bool:
        if self._reports_attempts is not None:
            return self._reports_attempts
        instrumentation = sys.modules.get(_HTTPX_INSTRUMENTATION)
        return instrumentation is None or not instrumentation.HTTPXClientInstrumentor().is_instrumented_by_opentelemetry


class _Session(Protocol):
    """What `inject_context` needs of an `httpx.AsyncClient`."""

    event_hooks: dict[str, list[Any]]


def inject_context(session: _Session) -> None:
    """Send the trace context (`traceparent`) with each request of a session, such as `client.session`.

    It adds a request hook, so that requests take the slower way through httpx. It is not needed while httpx is
    instrumented, which sends the context by itself.
    """

    async def inject(request: Any) -> None:
        propagate.inject(request.headers)

    hooks = session.event_hooks
    session.event_hooks = {**hooks, "request": [*hooks["request"], inject]}


def _identity(event: HookEvent) -> object:
    """Return what all events of one call share: its id. Events made by hand may have none; then it is their trigger."""
    return event.call_id or id(event.trigger)


def _leave(call: _Call) -> None:
    """Restore the context that was current before the attempt, unless it was left already."""
    outside, call.outside = call.outside, None
    if outside is not None and context.get_current() is call.inside:
        context.detach(outside)


def _cut_off(call: _Call, reason: str) -> None:
    """End an attempt that had no `AttemptFinished`, as when its call is cancelled."""
    _leave(call)
    if call.attempt is not None:
        call.attempt.set_attribute("error.type", reason)
        call.attempt.set_status(trace.Status(trace.StatusCode.ERROR))
        call.attempt.end()
        call.attempt = None


def _request_attributes(base_url: str) -> dict[str, Any]:
    parts = urlsplit(base_url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return {"http.request.method": "POST", "server.address": parts.hostname or "", "server.port": port}


def _slug(event: HookEvent) -> dict[str, str]:
    return {} if event.trigger is None else {"refold.slug": _text(event.trigger.slug)}


def _verdict(event: AttemptFinished | RetryScheduled | CallFinished) -> dict[str, str]:
    """Return the verdict, as an attribute; none where nothing was to be fired."""
    delivery: Delivery | None = event.delivery
    return {} if delivery is None else {"refold.delivery": delivery.value}


def _text(value: object) -> str:
    """Return a trigger's field, which may be anything until it was checked."""
    return value if isinstance(value, str) else ""


def _error_type(event: CallFinished) -> str:
    if event.error is None:
        return "cancelled"
    return type(event.error).__name__


def _request_id(event: CallFinished) -> str | None:
    return event.error.request_id if isinstance(event.error, APIError) else None
