"""A shared rate limiter from a URL, as settings and the command line have it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from .._types.errors import ConfigurationError
from .._types.values import RateLimit
from ._shared import SharedRateLimiter

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys")
_POSTGRES = ("postgres", "postgresql")


def limiter_from_url(url: str, limit: RateLimit = RateLimit(), **options: Any) -> SharedRateLimiter:  # noqa: B008
    """Return the limiter for `redis://…`, `postgresql://…` or `sqlite:///path`.

    As with SQLAlchemy, `sqlite:///limit.db` is relative to the working directory, and `sqlite:////var/limit.db` is not.

    :param options: those of `SharedRateLimiter`.
    :raises ConfigurationError: for another URL, or where an extra is missing; the URL is not in the message.
    """
    scheme, separator, rest = url.partition("://")
    kind = scheme.lower().partition("+")[0] if separator else ""
    if kind in _REDIS:
        from .redis import RedisRateLimiter

        return RedisRateLimiter(url, limit, **options)
    if kind in _POSTGRES:
        from .postgres import PostgresRateLimiter

        return PostgresRateLimiter(url, limit, **options)
    if kind == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from .sqlite import SQLiteRateLimiter

        return SQLiteRateLimiter(unquote(rest[1:]), limit, **options)
    del url, rest
    raise ConfigurationError(
        "the URL of a shared rate limit begins with redis://, rediss://, postgresql:// or sqlite:///"
    )
