"""What OpenTelemetry is told, seen through the SDK's in-memory exporters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from benchmarks import otel_cost
from refold_async import Delivery, InvalidTriggerError, RateLimit, RefoldClient, RefoldError, Trigger
from refold_async.hooks import AttemptFinished, AttemptStarted, CallFinished, HookEvent, RateLimitWaited, RetryScheduled
from refold_async.otel import OpenTelemetry, inject_context
from refold_async.testing import Fault, MockRefold

from ..fakes.clock import slept_limiter
from ..support import QUICK

pytestmark = pytest.mark.anyio


@frozen
class Telemetry:
    """Providers with in-memory exporters, and a hook that reports to them."""

    spans: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracing: TracerProvider
    metering: MeterProvider
    hook: OpenTelemetry

    @classmethod
    def make(cls, **options: Any) -> Telemetry:
        spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracing, metering = TracerProvider(), MeterProvider([reader])
        tracing.add_span_processor(SimpleSpanProcessor(spans))
        hook = OpenTelemetry(tracer_provider=tracing, meter_provider=metering, **options)
        return cls(spans, reader, tracing, metering, hook)

    def finished(self) -> list[ReadableSpan]:
        return list(self.spans.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the value, or count, of each data point of a metric."""
        data = self.reader.get_metrics_data()
        found = []
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        for point in metric.data.data_points:
                            value = point.count if hasattr(point, "count") else point.value
                            found.append((dict(point.attributes or {}), value))
        return found

    def everything(self) -> str:
        data = self.reader.get_metrics_data()
        return "".join([*(span.to_json() for span in self.finished()), data.to_json() if data else ""])


@pytest.fixture
def telemetry(server: MockRefold) -> Telemetry:
    return Telemetry.make(base_url=server.url)


async def test_an_accepted_call_is_a_span_with_one_attempt_inside(server: MockRefold, telemetry: Telemetry) -> None:
    outer = telemetry.tracing.get_tracer("user").start_as_current_span("handler")
    async with server.client(hooks=[telemetry.hook]) as client:
        with outer as handler:
            receipt = await client.trigger("pipedrive", "Deal Created", {"n": 1})
            assert trace.get_current_span() is handler
    attempt, call, parent = telemetry.finished()
    assert (attempt.name, attempt.kind) == ("POST", SpanKind.CLIENT)
    assert (call.name, call.kind) == ("trigger pipedrive", SpanKind.INTERNAL)
    assert attempt.parent is not None
    assert call.parent is not None
    assert (attempt.parent.span_id, call.parent.span_id) == (call.context.span_id, parent.context.span_id)
    port = int(server.url.rpartition(":")[2])
    assert dict(attempt.attributes or {}) == {
        "http.request.method": "POST", "server.address": "127.0.0.1", "server.port": port,
        "http.response.status_code": 200, "refold.attempt": 1, "refold.delivery": "accepted",
    }  # fmt: skip
    expected: dict[str, Any] = {"refold.slug": "pipedrive", "refold.event": "Deal Created"}
    expected["refold.call_id"] = (call.attributes or {})["refold.call_id"]
    assert expected["refold.call_id"]
    expected |= {"refold.delivery": "accepted", "refold.attempts": 1}
    expected |= {} if receipt.request_id is None else {"refold.request_id": receipt.request_id}
    assert dict(call.attributes or {}) == expected
    assert {span.status.status_code for span in (attempt, call)} == {StatusCode.UNSET}
    assert telemetry.points("refold.client.call.duration") == [
        ({"refold.delivery": "accepted", "refold.slug": "pipedrive"}, 1)
    ]
    assert telemetry.points("refold.client.attempts") == [
        ({"refold.slug": "pipedrive", "refold.delivery": "accepted"}, 1)
    ]
    assert telemetry.points("refold.client.active_calls") == [({}, 0)]
    [(attributes, count)] = telemetry.points("http.client.request.duration")
    assert count == 1
    assert attributes == {
        "http.request.method": "POST", "server.address": "127.0.0.1", "server.port": port,
        "http.response.status_code": 200,
    }  # fmt: skip


async def test_a_throttled_call_has_two_attempts_a_retry_and_a_pause(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(Fault.throttle("0"), None)
    async with server.client(retry=QUICK, hooks=[telemetry.hook], rate_limit=RateLimit(100, 5)) as client:
        await client.trigger("pipedrive", "Deal Created")
    first, second, call = telemetry.finished()
    assert first.attributes is not None
    assert second.attributes is not None
    assert (first.attributes["http.response.status_code"], first.attributes["error.type"]) == (429, "429")
    assert (first.attributes["refold.delivery"], first.status.status_code) == ("rejected", StatusCode.ERROR)
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert call.status.status_code is StatusCode.UNSET
    assert {event.name for event in call.events} >= {"retry", "rate limit paused"}
    slug = {"refold.slug": "pipedrive"}
    assert telemetry.points("refold.client.retries") == [({**slug, "refold.delivery": "rejected"}, 1)]
    assert telemetry.points("refold.client.rate_limit.pauses") == [(slug, 1)]
    assert sum(count for _, count in telemetry.points("refold.client.attempts")) == 2
    assert sum(count for _, count in telemetry.points("http.client.request.duration")) == 2


async def test_a_wait_for_the_rate_limit_is_measured(server: MockRefold, telemetry: Telemetry) -> None:
    async with server.client(rate_limit=slept_limiter(RateLimit(50, 1)), hooks=[telemetry.hook]) as client:
        for _ in range(3):
            await client.trigger("pipedrive", "Deal Created")
    assert telemetry.points("refold.client.rate_limit.wait.duration") == [({"refold.slug": "pipedrive"}, 2)]


async def test_an_ambiguous_call_is_an_error_of_its_class(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(Fault.reset_after_firing())
    async with server.client(hooks=[telemetry.hook]) as client:
        with pytest.raises(RefoldError):
            await client.trigger("pipedrive", "Deal Created")
    attempt, call = telemetry.finished()
    assert call.attributes is not None
    assert attempt.attributes is not None
    assert call.attributes["error.type"] == "RefoldConnectionError"
    assert call.attributes["refold.delivery"] == attempt.attributes["refold.delivery"] == "ambiguous"
    assert "http.response.status_code" not in attempt.attributes
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == "RefoldConnectionError (ambiguous)"
    [(attributes, _)] = telemetry.points("refold.client.call.duration")
    assert attributes == {
        "refold.delivery": "ambiguous", "error.type": "RefoldConnectionError", "refold.slug": "pipedrive"
    }  # fmt: skip


@pytest.mark.parametrize("slug", ["../other", "\ud800", 7, None])
async def test_a_call_that_was_refused_is_a_span_without_an_attempt(
    server: MockRefold, telemetry: Telemetry, slug: Any
) -> None:
    async with server.client(hooks=[telemetry.hook]) as client:
        with pytest.raises(InvalidTriggerError):
            await client.trigger(slug, "Deal Created")
    [call] = telemetry.finished()
    call.to_json().encode()
    assert call.attributes is not None
    assert (call.attributes["error.type"], call.attributes["refold.attempts"]) == ("InvalidTriggerError", 0)
    [(attributes, _)] = telemetry.points("refold.client.call.duration")
    assert attributes == {"refold.delivery": "not_sent", "error.type": "InvalidTriggerError"}
    assert telemetry.points("refold.client.active_calls") == []


async def test_a_cancelled_call_ends_its_spans_and_restores_the_context(
    server: MockRefold, telemetry: Telemetry
) -> None:
    server.next(Fault.stall_head())
    before = context.get_current()
    async with server.client(hooks=[telemetry.hook]) as client:
        with anyio.move_on_after(0.2) as scope:
            await client.trigger("pipedrive", "Deal Created")
        assert context.get_current() is before
    assert scope.cancelled_caught
    attempt, call = telemetry.finished()
    assert attempt.attributes is not None
    assert call.attributes is not None
    assert attempt.attributes["error.type"] == call.attributes["error.type"] == "cancelled"
    assert call.attributes["refold.delivery"] == "ambiguous"
    assert telemetry.points("refold.client.active_calls") == [({}, 0)]


async def test_concurrent_calls_have_a_span_each(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(Fault.answer(500), None, Fault.throttle("0"), Fault.reset_before_reading())
    async with server.client(hooks=[telemetry.hook], retry=QUICK) as client:
        result = await client.trigger_many(Trigger("pipedrive", "Deal Created", {"n": n}) for n in range(40))
    calls = [span for span in telemetry.finished() if span.name == "trigger pipedrive"]
    attempts = [span for span in telemetry.finished() if span.name == "POST"]
    assert len(calls) == 40
    assert {span.parent.span_id for span in attempts if span.parent} == {span.context.span_id for span in calls}
    counted = {str(a["refold.delivery"]): 0 for a, _ in telemetry.points("refold.client.call.duration")}
    for attributes, count in telemetry.points("refold.client.call.duration"):
        counted[str(attributes["refold.delivery"])] += count
    assert counted["accepted"] == len(result.accepted)
    assert sum(counted.values()) == 40
    assert telemetry.points("refold.client.active_calls") == [({}, 0)]
    assert len(attempts) == len(server.ledger.entries) == sum(c for _, c in telemetry.points("refold.client.attempts"))


async def test_concurrent_calls_with_one_trigger_object_have_a_span_each(
    server: MockRefold, telemetry: Telemetry
) -> None:
    trigger = Trigger("pipedrive", "Deal Created", {"n": 1})
    async with server.client(hooks=[telemetry.hook]) as client:
        await client.trigger_many([trigger] * 20)
    calls = [span for span in telemetry.finished() if span.name == "trigger pipedrive"]
    attempts = [span for span in telemetry.finished() if span.name == "POST"]
    assert len({(span.attributes or {})["refold.call_id"] for span in calls}) == 20
    assert {span.parent.span_id for span in attempts if span.parent} == {span.context.span_id for span in calls}
    assert telemetry.points("refold.client.active_calls") == [({}, 0)]


async def test_neither_payload_nor_credential_nor_account_is_told(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(None, Fault.answer(400, body=b'{"message": "echo PRIVATE tk_mock_0000"}'), Fault.answer(500))
    async with server.client(hooks=[telemetry.hook]) as client:
        for _ in range(3):
            try:
                await client.trigger("pipedrive", "Deal Created", {"secret": "PRIVATE"}, idempotency_key="order-17")
            except RefoldError:
                continue
    told = telemetry.everything()
    assert "pipedrive" in told
    for secret in ("PRIVATE", server.api_key, server.linked_account_id, "order-17"):
        assert secret not in told


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    HTTPXClientInstrumentor().instrument(tracer_provider=telemetry.tracing, meter_provider=telemetry.metering)
    yield
    HTTPXClientInstrumentor().uninstrument()


@pytest.mark.usefixtures("instrumented")
async def test_beside_the_instrumentation_of_httpx_no_span_is_doubled(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(Fault.throttle("0"), None)
    async with server.client(retry=QUICK, hooks=[telemetry.hook]) as client:
        await client.trigger("pipedrive", "Deal Created")
    first, second, call = telemetry.finished()
    assert [span.name for span in (first, second)] == ["POST", "POST"]
    for span, entry in zip((first, second), server.ledger.entries, strict=True):
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name == "opentelemetry.instrumentation.httpx"
        assert span.parent is not None
        assert span.parent.span_id == call.context.span_id
        assert f"{span.context.span_id:016x}" in (entry.header("traceparent") or "")
    assert sum(count for _, count in telemetry.points("refold.client.attempts")) == 2
    assert telemetry.points("http.client.request.duration") == []


async def test_beside_one_instrumented_session_attempts_can_be_left_to_it(server: MockRefold) -> None:
    telemetry = Telemetry.make(attempts=False)
    async with server.client(hooks=[telemetry.hook]) as client:
        HTTPXClientInstrumentor.instrument_client(client.session, tracer_provider=telemetry.tracing)
        await client.trigger("pipedrive", "Deal Created")
        HTTPXClientInstrumentor.uninstrument_client(client.session)
    attempt, call = telemetry.finished()
    assert attempt.parent is not None
    assert attempt.parent.span_id == call.context.span_id


async def test_the_context_is_passed_on_with_each_attempt(server: MockRefold, telemetry: Telemetry) -> None:
    server.next(Fault.throttle("0"), None)
    seen: list[str] = []

    async def on_request(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async with server.client(retry=QUICK, hooks=[telemetry.hook]) as client:
        client.session.event_hooks = {"request": [on_request]}
        inject_context(client.session)
        await client.trigger("pipedrive", "Deal Created")
    first, second, call = telemetry.finished()
    sent = [entry.header("traceparent") for entry in server.ledger.entries]
    ids = [f"00-{call.context.trace_id:032x}-{span.context.span_id:016x}" for span in (first, second)]
    assert [str(header)[:-3] for header in sent] == ids
    assert len(seen) == 2, "the caller's own hooks are kept"


async def test_without_an_sdk_the_hook_does_nothing(server: MockRefold) -> None:
    async with server.client(hooks=[OpenTelemetry()]) as client:
        assert (await client.trigger("pipedrive", "Deal Created")).delivery is Delivery.ACCEPTED


def test_without_opentelemetry_the_error_names_the_extra() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; import refold_async.otel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=150)
    assert "pip install 'refold-async[otel]'" in done.stderr


STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["started", "waited", "finished", "retry"])), max_size=30)


@given(STEPS)
def test_whatever_order_events_come_in_every_span_ends(steps: list[tuple[int, str]]) -> None:
    telemetry = Telemetry.make()
    before = context.get_current()
    triggers = [Trigger("slack", f"event {number}") for number in range(3)]

    def event(number: int, kind: str) -> HookEvent:
        trigger = triggers[number]
        match kind:
            case "started":
                return AttemptStarted(trigger, 1)
            case "waited":
                return RateLimitWaited(trigger, 0.1)
            case "finished":
                return AttemptFinished(trigger, 1, Delivery.REJECTED, 429, None, 0.1)
            case _:
                return RetryScheduled(trigger, 1, Delivery.REJECTED, 0.5)

    for number, kind in steps:
        telemetry.hook(event(number, kind))
    for trigger in triggers:
        telemetry.hook(CallFinished(trigger, Delivery.REJECTED, 1, 0.5))
    calls = [span for span in telemetry.finished() if span.name == "trigger slack"]
    attempts = [span for span in telemetry.finished() if span.name == "POST"]
    assert len(calls) == 3
    assert len(attempts) == sum(kind == "started" for _, kind in steps)
    assert json.loads(json.dumps([value for _, value in telemetry.points("refold.client.active_calls")])) in ([], [0])
    context.attach(before)  # interleaved in one task, as no client does, the calls cannot restore it


def test_a_client_without_the_hook_does_not_import_opentelemetry() -> None:
    program = "import sys, refold_async; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=150)
    assert done.stdout == "False\n"
    assert RefoldClient.__module__.startswith("refold_async")


def test_the_hook_calls_at_most_half_as_many_functions_more_than_the_same_by_hand() -> None:
    tracing, metering = otel_cost.providers()
    hand = otel_cost.count_calls(otel_cost.by_hand(tracing, metering))
    hook = otel_cost.count_calls(otel_cost.by_hook(tracing, metering))
    tracing.shutdown()
    assert hook <= otel_cost.MOST * hand


def test_a_request_that_fires_nothing_has_neither_slug_nor_verdict(telemetry: Telemetry) -> None:
    telemetry.hook(AttemptStarted(None, 1, "call_1"))
    telemetry.hook(AttemptFinished(None, 1, None, 200, None, 0.1, "call_1"))  # type: ignore[arg-type]
    telemetry.hook(CallFinished(None, None, 1, 0.1, call_id="call_1"))  # type: ignore[arg-type]
    attempt, call = telemetry.finished()
    assert (attempt.name, call.name, call.status.status_code) == ("HTTP", "request", StatusCode.UNSET)
    assert dict(call.attributes or {}) == {"refold.call_id": "call_1", "refold.attempts": 1}
    assert telemetry.points("refold.client.call.duration") == [({}, 1)]
