"""Rate limiters: the protocol, the one that lives in this process, and those that many processes share."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._adapt import adapt, is_limiter
from ._choose import default_name, limiter_for_client, limiter_from_environment
from ._protocol import Grant, PriorityRateLimiter, RateLimiter
from .memory import MemoryRateLimiter

if TYPE_CHECKING:
    from ._shared import OnOutage, SharedRateLimiter
    from ._url import limiter_from_setting, limiter_from_url
    from .postgres import PostgresRateLimiter
    from .redis import RedisRateLimiter
    from .sqlite import SQLiteRateLimiter

_LAZY = {
    "PostgresRateLimiter": "postgres",
    "RedisRateLimiter": "redis",
    "OnOutage": "_shared",
    "SQLiteRateLimiter": "sqlite",
    "SharedRateLimiter": "_shared",
    "limiter_from_setting": "_url",
    "limiter_from_url": "_url",
}

__all__ = [
    "Grant",
    "MemoryRateLimiter",
    "OnOutage",
    "PostgresRateLimiter",
    "PriorityRateLimiter",
    "RateLimiter",
    "RedisRateLimiter",
    "SQLiteRateLimiter",
    "SharedRateLimiter",
    "adapt",
    "default_name",
    "is_limiter",
    "limiter_for_client",
    "limiter_from_environment",
    "limiter_from_setting",
    "limiter_from_url",
]

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
