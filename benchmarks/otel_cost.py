"""What the OpenTelemetry hook adds to a call, beside the same spans and records made by hand.

Run `python -m benchmarks.otel_cost`. Both sides use the SDK with exporters that drop what they get; the hook's side
builds the events too. Times are of the processor, in interleaved rounds; the ratio is the median of theirs. The numbers
of function calls do not depend on the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from refold_async import Delivery, Receipt, Trigger
from refold_async.hooks import AttemptFinished, AttemptStarted, CallFinished
from refold_async.otel import OpenTelemetry

ROUNDS = 41
CALLS = 500

MOST = 1.5
"""How many times as much as by hand the hook may cost."""


class Dropped(SpanExporter):
    """An exporter that drops its spans."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def by_hook(tracing: TracerProvider, metering: MeterProvider) -> Callable[[], None]:
    """Return what reports one accepted call through the hook, from the events that a client emits."""
    hook = OpenTelemetry(tracer_provider=tracing, meter_provider=metering)
    trigger = Trigger("pipedrive", "Deal Created", {"n": 1})
    receipt = Receipt(message="ok", status_code=200, request_id="req_1", attempts=1, elapsed=0.1, idempotency_key=None)

    def report() -> None:
        hook(AttemptStarted(trigger, 1, "call_1"))
        hook(AttemptFinished(trigger, 1, Delivery.ACCEPTED, 200, None, 0.1, "call_1"))
        hook(CallFinished(trigger, Delivery.ACCEPTED, 1, 0.1, receipt, call_id="call_1"))

    return report


def by_hand(tracing: TracerProvider, metering: MeterProvider) -> Callable[[], None]:
    """Return what makes the same spans and records with the API alone."""
    tracer, meter = tracing.get_tracer("by hand"), metering.get_meter("by hand")
    active = meter.create_up_down_counter("active_calls")
    durations = meter.create_histogram("call.duration")
    attempts = meter.create_counter("attempts")
    requests = meter.create_histogram("request.duration")

    def report() -> None:
        call = tracer.start_span(
            "trigger pipedrive",
            attributes={"refold.slug": "pipedrive", "refold.event": "Deal Created", "refold.call_id": "call_1"},
        )
        active.add(1)
        inside = trace.set_span_in_context(call)
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "server.address": "app.refold.ai",
            "server.port": 443,
        }
        attempt = tracer.start_span(
            "POST", inside, kind=trace.SpanKind.CLIENT, attributes={**attributes, "refold.attempt": 1}
        )
        token = context.attach(trace.set_span_in_context(attempt, inside))
        context.detach(token)
        attempt.set_attributes({"http.response.status_code": 200, "refold.delivery": "accepted"})
        attempt.end()
        attempts.add(1, {"refold.slug": "pipedrive", "refold.delivery": "accepted"})
        requests.record(0.1, {**attributes, "http.response.status_code": 200})
        active.add(-1)
        call.set_attributes({"refold.delivery": "accepted", "refold.attempts": 1, "refold.request_id": "req_1"})
        call.end()
        durations.record(0.1, {"refold.delivery": "accepted", "refold.slug": "pipedrive"})

    return report


def count_calls(report: Callable[[], None]) -> int:
    """Return how many functions, Python's and C's, one report calls."""
    report()
    calls = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        report()
    finally:
        sys.setprofile(None)
    return calls


def providers() -> tuple[TracerProvider, MeterProvider]:
    """Return an SDK that samples everything and exports nothing."""
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(Dropped(), max_queue_size=100_000))
    return tracing, MeterProvider([InMemoryMetricReader()])


def seconds(report: Callable[[], None]) -> float:
    """Return the seconds of the processor that one report takes."""
    started = time.thread_time()
    for _ in range(CALLS):
        report()
    return (time.thread_time() - started) / CALLS


def main() -> int:
    """Print both, and their ratio; 1 if the hook costs too much."""
    tracing, metering = providers()
    hand, hook = by_hand(tracing, metering), by_hook(tracing, metering)
    rounds = [(seconds(hand), seconds(hook)) for _ in range(ROUNDS)]
    tracing.shutdown()
    ratio = median(hook_took / hand_took for hand_took, hook_took in rounds)
    for name, report, times in zip(("by hand", "hook"), (hand, hook), zip(*rounds, strict=True), strict=True):
        print(f"{name:8}{median(times) * 1e6:6.1f} µs a call, {count_calls(report)} function calls")
    print(f"ratio   {ratio:6.2f} (at most {MOST})")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
