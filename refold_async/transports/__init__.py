"""The policies and the wire as `httpx` transports, each useful alone inside anyone's `httpx.AsyncClient`."""

from typing import TYPE_CHECKING, Any

from .concurrency import ConcurrencyTransport
from .rate_limit import RateLimitTransport
from .retry import RetryTransport

if TYPE_CHECKING:
    from .pool import PoolState, PoolTransport

__all__ = ["ConcurrencyTransport", "PoolState", "PoolTransport", "RateLimitTransport", "RetryTransport"]


def __getattr__(name: str) -> Any:
    if name in ("PoolState", "PoolTransport"):  # brings in httpcore, which takes a while and is not always needed
        from . import pool

        return getattr(pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
