"""The events that a client's `hooks=` are given, as they happen."""

from __future__ import annotations

from attrs import frozen

from ._hooks import Hook
from ._types.errors import RefoldError
from ._types.values import Delivery, Receipt, Trigger

__all__ = [
    "AttemptFinished",
    "AttemptStarted",
    "CallFinished",
    "Hook",
    "HookEvent",
    "RateLimitPaused",
    "RateLimitWaited",
    "RetryScheduled",
]


@frozen
class AttemptStarted:
    """A request is about to be tried; `attempt` counts from 1."""

    trigger: Trigger | None
    attempt: int


@frozen
class AttemptFinished:
    """A request ended: with a status, or with an error, whose class is named."""

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    status_code: int | None
    error: str | None
    elapsed: float


@frozen
class RetryScheduled:
    """The call will be tried again in `delay` seconds; `delivery` is the verdict of the attempt that failed."""

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    delay: float


@frozen
class RateLimitWaited:
    """An attempt was held back by the limiter for `waited` seconds."""

    trigger: Trigger | None
    waited: float


@frozen
class RateLimitPaused:
    """A 429 paused the shared limiter; `retry_after` is what the server asked for, in seconds."""

    trigger: Trigger | None
    retry_after: float | None


@frozen
class CallFinished:
    """A call ended, also one that was cancelled or never sent. This is the last event of each call."""

    trigger: Trigger | None
    delivery: Delivery
    attempts: int
    elapsed: float
    receipt: Receipt | None = None
    error: RefoldError | None = None


HookEvent = AttemptStarted | AttemptFinished | RetryScheduled | RateLimitWaited | RateLimitPaused | CallFinished
"""Any of them; take them apart with `match` or `isinstance`."""
