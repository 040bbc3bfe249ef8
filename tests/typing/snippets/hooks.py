"""Hooks: a function that takes every event apart."""

from __future__ import annotations

from typing import assert_never, assert_type

from refold_async import Delivery, RefoldClient
from refold_async.hooks import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    Hook,
    HookEvent,
    RateLimitPaused,
    RateLimitWaited,
    RetryScheduled,
)
from refold_async.otel import OpenTelemetry


def describe(event: HookEvent) -> str:
    match event:
        case AttemptStarted():
            return f"attempt {event.attempt}"
        case AttemptFinished(status_code=status):
            assert_type(status, int | None)
            return f"status {status}"
        case RetryScheduled() | RateLimitWaited() | RateLimitPaused():
            return type(event).__name__
        case CallFinished(delivery=delivery):
            assert_type(delivery, Delivery)
            return delivery.value
        case _:
            assert_never(event)


def watch(event: HookEvent) -> None:
    print(describe(event))


HOOKS: list[Hook] = [watch, OpenTelemetry()]


def client() -> RefoldClient:
    return RefoldClient(hooks=HOOKS)
