"""Which limiter a client has."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from .._types.values import UNSET, RateLimit, Unset
from ..policies.pacing import LONGEST_PAUSE
from ._adapt import adapt
from ._protocol import PriorityRateLimiter, RateLimiter
from .memory import MemoryRateLimiter

if TYPE_CHECKING:
    from ._shared import SharedRateLimiter

URL_VARIABLE = "REFOLD_RATE_LIMIT"


def default_name(base_url: str, api_key: str) -> str:
    """Return what a limit is called after: 16 hexadecimal digits, from which the key cannot be derived."""
    return hashlib.sha256(f"{base_url}\n{api_key}".encode()).hexdigest()[:16]


def limiter_for_client(
    setting: RateLimit | RateLimiter | None | Unset = UNSET,
    *,
    longest_pause: float | None,
    default_name: str | None,
) -> tuple[PriorityRateLimiter | None, bool]:
    """Return the limiter for a client's setting, and whether the client has to close it.

    :param setting: left out, it is what the variable `REFOLD_RATE_LIMIT` says, and 20 a second with a burst of 5
        otherwise.
    :param longest_pause: that a 429 can cause, in seconds, where that is shorter than the usual one.
    :param default_name: what a shared limit without a name is called; None if there is nothing to derive it from.
    :raises ConfigurationError: for a variable that cannot be, and for a shared limit that needs a name.
    """
    pause = LONGEST_PAUSE if longest_pause is None else min(longest_pause, LONGEST_PAUSE)
    if setting is None:
        return None, False
    limiter: Any = setting
    is_owned = False
    if isinstance(setting, Unset):
        limiter = limiter_from_environment(max_retry_after=pause)
        is_owned = limiter is not None
        if limiter is None:
            limiter = RateLimit()
    if isinstance(limiter, RateLimit):
        return MemoryRateLimiter(limiter, max_retry_after=pause), False
    bind = getattr(limiter, "bind", None)
    if callable(bind):
        bind(default_name)
    return adapt(limiter), is_owned


def limiter_from_environment(
    limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
    **options: Any,
) -> SharedRateLimiter | None:
    """Return the limiter that `REFOLD_RATE_LIMIT` asks for, by the name in `REFOLD_RATE_LIMIT_NAME`; None without it.

    :param options: those of `SharedRateLimiter`.
    :raises ConfigurationError: naming the variable.
    """
    url = os.environ.get(URL_VARIABLE)
    if not url:
        return None
    from ._url import limiter_from_setting

    return limiter_from_setting(url, URL_VARIABLE, limit, **options)
