"""The policies as `httpx` transports, each useful alone inside anyone's `httpx.AsyncClient`."""

from .concurrency import ConcurrencyTransport
from .rate_limit import RateLimitTransport
from .retry import RetryTransport

__all__ = ["ConcurrencyTransport", "RateLimitTransport", "RetryTransport"]
