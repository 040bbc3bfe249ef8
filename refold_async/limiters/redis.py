"""A rate limit for many processes, in Redis or Valkey."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from .._types.errors import ConfigurationError
from .._types.values import RateLimit
from ..policies.pacing import LONGEST_PAUSE
from ..policies.shared_pacing import Answer, Question
from ._link import Store
from ._queue import current_loop
from ._shared import OnOutage, SharedRateLimiter

_SCHEMES = {
    "redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss",
}  # fmt: skip
"""What a URL may begin with, and what redis-py calls it."""

_TIMEOUT = 2.0
"""Seconds after which redis-py ends what hangs; callers do not wait as long."""


class RedisStore:
    """The shared state under keys of one hash slot, which a script asks and changes in one step.

    :param now: microseconds, in place of the server's clock.
    """

    def __init__(self, client: Any, name: str, *, owned: bool, now: Callable[[], int] | None = None) -> None:
        self._client = client
        self._owned = owned
        self._now = now
        self._keys = tuple(f"{{refold:{name}}}:{part}" for part in ("state", "members", "limits"))
        self._script = files(__package__).joinpath("_pace.lua").read_text()
        self._digest = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()

    async def ask(self, question: Question) -> Answer:
        from redis.exceptions import NoScriptError

        limit = question.limit
        arguments = (
            *self._keys,
            question.member,
            f"{float(limit.rate)!r} {limit.burst}",
            question.era,
            question.epoch,
            question.held,
            " ".join(map(str, question.returned)),
            question.spent,
            int(question.wants),
            question.longest,
            question.pause,
            int(question.announces),
            int(question.rejoins),
            "" if self._now is None else self._now(),
        )
        try:
            reply = await self._client.evalsha(self._digest, len(self._keys), *arguments)
        except NoScriptError:  # a new server, or one whose scripts were flushed
            reply = await self._client.eval(self._script, len(self._keys), *arguments)
        era, epoch, go, slot, wait, members = map(int, reply[:6])
        return Answer(era, epoch, go, slot, wait, members, float(reply[6]), int(reply[7]), int(reply[8]))

    async def aclose(self) -> None:
        if self._owned:
            await self._client.aclose()


class RedisRateLimiter(SharedRateLimiter):
    """One limit for all processes that use the same Redis or Valkey, and the same name. Needs the extra `redis`.

    Works on asyncio. See `SharedRateLimiter` for the other parameters.

    :param url_or_client: `redis://…`, `rediss://…`, `unix://…`, `valkey://…`; or a client of `redis.asyncio`, also of
        Sentinel or a cluster, which stays yours to close, and serves one event loop.
    """

    def __init__(
        self,
        url_or_client: Any,
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        name: str | None = None,
        on_outage: OnOutage = "local",
        instances: int | None = None,
        max_retry_after: float = LONGEST_PAUSE,
    ) -> None:
        super().__init__(limit, name=name, on_outage=on_outage, instances=instances, max_retry_after=max_retry_after)
        try:
            import redis.asyncio
        except ImportError:
            raise ConfigurationError("RedisRateLimiter needs redis-py: pip install 'refold-async[redis]'") from None
        self._loop: Any = None
        if isinstance(url_or_client, str):
            made = _maker(url_or_client)
            if not isinstance(made, str):
                self._make, self._place = made
                self._owned = True
                return
            problem = made
        elif callable(getattr(url_or_client, "evalsha", None)) and not isinstance(url_or_client, redis.Redis):
            client = url_or_client
            self._make, self._place, self._owned = lambda: client, "Redis", False
            return
        else:
            problem = "url_or_client must be a URL, or a client of redis.asyncio"
        del url_or_client
        raise ConfigurationError(f"RedisRateLimiter: {problem}")

    def _connect(self, name: str) -> Store:
        if not self._owned:
            if self._loop not in (None, current_loop()):
                raise ConfigurationError(
                    "the Redis client of this rate limiter belongs to another event loop. Give a URL, or make a "
                    "limiter and a client for each loop"
                )
            self._loop = current_loop()
        return RedisStore(self._make(), name, owned=self._owned)


def _maker(url: str) -> tuple[Callable[[], Any], str] | str:
    """Return what makes a client, and what to call the server; or what is wrong with the URL."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return "the URL is not valid"
    if parts.scheme not in _SCHEMES:
        return f"the URL must begin with {', '.join(scheme + '://' for scheme in _SCHEMES)}"
    url = _SCHEMES[parts.scheme] + url[len(parts.scheme) :]
    place = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{port}"

    def make() -> Any:
        options: dict[str, Any] = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
        # A connection that was closed while idle must not look like an outage; so one try more, at once.
        options["retry"] = Retry(NoBackoff(), 1)
        return Redis.from_url(url, **options)

    try:
        make()
    except (ValueError, TypeError):
        return "the URL is not valid"
    return make, f"Redis at {place}"
