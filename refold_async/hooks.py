"""The events that a client's `hooks=` are given."""

from ._hooks import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    Hook,
    HookEvent,
    RateLimitPaused,
    RateLimitWaited,
    RetryScheduled,
)

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
