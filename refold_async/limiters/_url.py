"""A shared rate limiter from a URL, as settings and the command line have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from .._types.errors import ConfigurationError
from .._types.values import RateLimit
from ._shared import SharedRateLimiter

_REDIS = ("redis", "rediss", "unix", "valkey", "valkeys")
_POSTGRES = ("postgres", "postgresql")


NAME_VARIABLE = "REFOLD_RATE_LIMIT_NAME"


def limiter_from_setting(url: str | None, setting: str, limit: RateLimit, **options: Any) -> SharedRateLimiter | None:
    """Return the limiter for a URL by the name in `REFOLD_RATE_LIMIT_NAME`; None without one.

    :param setting: what the error names.
    """
    if not url:
        return None
    try:
        return limiter_from_url(url, limit, name=os.environ.get(NAME_VARIABLE) or None, **options)
    except ConfigurationError as error:
        problem = str(error)
    del url  # so that no traceback shows it
    raise ConfigurationError(f"{setting}: {problem}")


def limiter_from_url(url: str, limit: RateLimit = RateLimit(), **options: Any) -> SharedRateLimiter:  # noqa: B008
    """Return the limiter for `redis://…`, `postgresql://…` or `sqlite:///path`.

    As with SQLAlchemy, `sqlite:///limit.db` is relative to the working directory, and `sqlite:////var/limit.db` is not.

    :param options: those of `SharedRateLimiter`.
    :raises ConfigurationError: for another URL, or where an extra is missing; the URL is not in the message.
    """
    make = _maker_of(url)
    refusal = ConfigurationError(
        "the URL of a shared rate limit begins with redis://, rediss://, postgresql:// or sqlite:///"
    )
    if make is not None:
        try:
            return make(url, limit, **options)
        except ConfigurationError as error:
            refusal = error
    del url  # so that no traceback shows it
    raise refusal.with_traceback(None) from None


def _maker_of(url: str) -> Callable[..., SharedRateLimiter] | None:
    scheme, separator, rest = url.partition("://")
    kind = scheme.lower().partition("+")[0] if separator else ""
    if kind in _REDIS:
        from .redis import RedisRateLimiter

        return RedisRateLimiter
    if kind in _POSTGRES:
        from .postgres import PostgresRateLimiter

        return PostgresRateLimiter
    return _in_file if kind == "sqlite" and rest.startswith("/") and len(rest) > 1 else None


def _in_file(url: str, limit: RateLimit, **options: Any) -> SharedRateLimiter:
    from .sqlite import SQLiteRateLimiter

    return SQLiteRateLimiter(unquote(url.partition("://")[2][1:]), limit, **options)
