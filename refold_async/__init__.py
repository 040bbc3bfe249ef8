"""Async client for Refold: fire events, and know of each whether it fired."""

from ._client import RefoldClient
from ._types.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
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
from ._types.values import Delivery, Idempotency, RateLimit, Receipt, Trigger
from ._version import __version__
from .limiters import RateLimiter
from .policies.circuit import CircuitBreaker
from .policies.retry import RetryPolicy

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "BatchInterruptedError",
    "BatchResult",
    "CircuitBreaker",
    "CircuitOpenError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "Delivery",
    "Idempotency",
    "InvalidTriggerError",
    "NotAttemptedError",
    "NotFoundError",
    "Outcome",
    "PacingTimeoutError",
    "PermissionDeniedError",
    "RateLimit",
    "RateLimitedError",
    "RateLimiter",
    "Receipt",
    "RefoldClient",
    "RefoldConnectionError",
    "RefoldError",
    "RefoldTimeoutError",
    "RetryPolicy",
    "ServerError",
    "Trigger",
    "UnexpectedResponseError",
    "WebhookBodyError",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "__version__",
]
