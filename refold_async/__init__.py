"""Send events to Refold and know whether each one fired."""

from typing import TYPE_CHECKING, Any

from ._core.settings import Sending
from ._types.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BatchStoppedError,
    CallbackError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidTriggerError,
    NotAttemptedError,
    NotFoundError,
    PacingTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
    ServerError,
    UnexpectedResponseError,
    WebhookBodyError,
    WebhookPayloadError,
    WebhookSignatureError,
)
from ._types.results import BatchInterruptedError, BatchResult, Outcome
from ._types.values import Delivery, Idempotency, RateLimit, Receipt, Response, Sent, Trigger
from ._version import __version__
from .client import RefoldClient
from .policies.retry import RetryPolicy

if TYPE_CHECKING:
    from ._types.outcome import AcceptedOutcome, FailedOutcome
    from .limiters import PostgresRateLimiter, RateLimiter, RedisRateLimiter, SQLiteRateLimiter
    from .policies.circuit import CircuitBreaker

__all__ = [
    "APIError",
    "AcceptedOutcome",
    "AuthenticationError",
    "BadRequestError",
    "BatchInterruptedError",
    "BatchResult",
    "BatchStoppedError",
    "CallbackError",
    "CircuitBreaker",
    "CircuitOpenError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "Delivery",
    "FailedOutcome",
    "Idempotency",
    "InvalidRequestError",
    "InvalidTriggerError",
    "NotAttemptedError",
    "NotFoundError",
    "Outcome",
    "PacingTimeoutError",
    "PermissionDeniedError",
    "PostgresRateLimiter",
    "RateLimit",
    "RateLimitedError",
    "RateLimiter",
    "Receipt",
    "RedisRateLimiter",
    "RefoldClient",
    "RefoldConnectionError",
    "RefoldError",
    "RefoldTimeoutError",
    "Response",
    "RetryPolicy",
    "SQLiteRateLimiter",
    "Sending",
    "Sent",
    "ServerError",
    "Trigger",
    "UnexpectedResponseError",
    "WebhookBodyError",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "__version__",
]

if not TYPE_CHECKING:  # a checker would take any name for one of ours
    _LAZY = {  # seldom used, so loaded at first use
        "AcceptedOutcome": "._types.outcome",
        "CircuitBreaker": ".policies.circuit",
        "FailedOutcome": "._types.outcome",
        "PostgresRateLimiter": ".limiters",
        "RateLimiter": ".limiters",
        "RedisRateLimiter": ".limiters",
        "SQLiteRateLimiter": ".limiters",
    }

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            from importlib import import_module

            return getattr(import_module(_LAZY[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
