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
    EventStateError,
    ExecutionFailedError,
    HeldError,
    InvalidRequestError,
    InvalidTriggerError,
    NotAttemptedError,
    NotFoundError,
    OutboxError,
    OutboxFileError,
    OutboxWriteError,
    PacingTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
    RetryLater,
    ServerError,
    UnexpectedResponseError,
    UnknownKeyError,
    WaitTimeoutError,
    WebhookBodyError,
    WebhookPayloadError,
    WebhookSignatureError,
)
from ._types.values import Delivery, Idempotency, RateLimit, Receipt, Sent, Trigger
from ._version import __version__
from .client import RefoldClient
from .policies.retry import RetryPolicy

if TYPE_CHECKING:
    from ._resources.definition import EventDefinition, EventField
    from ._resources.execution import Execution, ExecutionDetail, ExecutionNode, ExecutionStatus, Rerun
    from ._resources.executions import Executions
    from ._resources.pager import Page, Pager
    from ._resources.reconcile import Reconciliation, ReconciliationState
    from ._resources.token_source import SessionTokenSource
    from ._resources.tokens import SessionToken
    from ._resources.wait import Poll
    from ._types.outcome import AcceptedOutcome, FailedOutcome
    from ._types.response import Response
    from ._types.results import BatchInterruptedError, BatchResult, Outcome
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
    "EventDefinition",
    "EventField",
    "EventStateError",
    "Execution",
    "ExecutionDetail",
    "ExecutionFailedError",
    "ExecutionNode",
    "ExecutionStatus",
    "Executions",
    "FailedOutcome",
    "HeldError",
    "Idempotency",
    "InvalidRequestError",
    "InvalidTriggerError",
    "NotAttemptedError",
    "NotFoundError",
    "OutboxError",
    "OutboxFileError",
    "OutboxWriteError",
    "Outcome",
    "PacingTimeoutError",
    "Page",
    "Pager",
    "PermissionDeniedError",
    "Poll",
    "PostgresRateLimiter",
    "RateLimit",
    "RateLimitedError",
    "RateLimiter",
    "Receipt",
    "Reconciliation",
    "ReconciliationState",
    "RedisRateLimiter",
    "RefoldClient",
    "RefoldConnectionError",
    "RefoldError",
    "RefoldTimeoutError",
    "Rerun",
    "Response",
    "RetryLater",
    "RetryPolicy",
    "SQLiteRateLimiter",
    "Sending",
    "Sent",
    "ServerError",
    "SessionToken",
    "SessionTokenSource",
    "Trigger",
    "UnexpectedResponseError",
    "UnknownKeyError",
    "WaitTimeoutError",
    "WebhookBodyError",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "__version__",
]

if not TYPE_CHECKING:  # a checker would take any name for one of ours
    _LAZY = {  # seldom used, so loaded at first use
        "Execution": "._resources.execution",
        "ExecutionDetail": "._resources.execution",
        "ExecutionStatus": "._resources.execution",
        "Executions": "._resources.executions",
        "ExecutionNode": "._resources.execution",
        "Page": "._resources.pager",
        "Pager": "._resources.pager",
        "Poll": "._resources.wait",
        "Reconciliation": "._resources.reconcile",
        "ReconciliationState": "._resources.reconcile",
        "Rerun": "._resources.execution",
        "SessionTokenSource": "._resources.token_source",
        "SessionToken": "._resources.tokens",
        "EventField": "._resources.definition",
        "EventDefinition": "._resources.definition",
        "AcceptedOutcome": "._types.outcome",
        "BatchInterruptedError": "._types.results",
        "BatchResult": "._types.results",
        "CircuitBreaker": ".policies.circuit",
        "FailedOutcome": "._types.outcome",
        "Outcome": "._types.results",
        "PostgresRateLimiter": ".limiters",
        "RateLimiter": ".limiters",
        "RedisRateLimiter": ".limiters",
        "Response": "._types.response",
        "SQLiteRateLimiter": ".limiters",
    }

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(_LAZY[name], __name__), name)
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
