"""A session token that is made again before it expires."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import anyio

from .._logging import logger
from .._types.errors import ConfigurationError, RefoldError
from .._wire.loops import running_loop

if TYPE_CHECKING:
    from ..client import RefoldClient
    from .tokens import SessionToken


UNKNOWN_LIFETIME = 300.0
"""Seconds for which a token is used whose answer did not say how long it is good."""


class SessionTokenSource:
    """A callable for `session_token=`: it makes a linked account's token, and a new one before it expires.

    It keeps one token. Callers that come while one is being made wait for it; where the one who asked is cancelled, the
    next asks. When a new one cannot be had, the old one is used for as long as it is good.

    :param client: a client with an API key.
    :param linked_account_id: whom the token speaks for.
    :param refresh_before: seconds; a token that is good for less is replaced. Of one with a short life, half its life.
    :param wall_clock: POSIX seconds.
    :raises ConfigurationError: for a client without an API key, or seconds that make no sense.
    """

    def __init__(
        self,
        client: RefoldClient,
        linked_account_id: str,
        refresh_before: float = 300.0,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(linked_account_id, str) or not linked_account_id.strip():
            raise ConfigurationError("SessionTokenSource needs the linked account's id, and not a blank one")
        if (
            isinstance(refresh_before, bool)
            or not isinstance(refresh_before, int | float)
            or not 0 <= refresh_before < math.inf
        ):
            raise ConfigurationError(f"refresh_before must be seconds, 0 or more, not {refresh_before!r}")
        self._tokens = client.session_tokens.by_clock(wall_clock)
        self._tokens.check()
        self._account = linked_account_id
        self._refresh_before = float(refresh_before)
        self._wall_clock = wall_clock
        self._token: SessionToken | None = None
        self._good_until = -math.inf
        self._replace_at = -math.inf
        self._lock: anyio.Lock | None = None
        self._loop: object = None

    async def __call__(self) -> str:
        """Return a token that is good.

        :raises RefoldError: when there is none, and none could be made.
        """
        token = self._token
        if token is not None and self._wall_clock() < self._replace_at:
            return token.token
        async with self._lock_of_this_loop():
            token = self._token
            if token is None or self._wall_clock() >= self._replace_at:
                token = await self._renew()
        return token.token

    def _lock_of_this_loop(self) -> anyio.Lock:
        loop = running_loop()
        if self._lock is None or self._loop is not loop:  # an earlier loop has ended, and whoever waited with it
            self._lock, self._loop = anyio.Lock(), loop
        return self._lock

    async def _renew(self) -> SessionToken:
        try:
            made = await self._tokens.create(self._account)
            if self._left(made) <= self._refresh_before:
                # The one that was handed out again is about to expire too.
                made = await self._tokens.create(self._account, force_refresh=True)
        except RefoldError as error:
            now = self._wall_clock()
            if self._token is None or now >= self._good_until:
                raise
            logger.warning("a session token could not be made, so the old one is used on: %s", error)
            # Not asked again by each call: half of what is left may pass.
            self._replace_at = now + (self._good_until - now) / 2
            return self._token
        left, now = self._left(made), self._wall_clock()
        self._token = made
        self._good_until = now + left
        self._replace_at = now + left - min(self._refresh_before, left / 2)
        return made

    def _left(self, token: SessionToken) -> float:
        """Return for how many seconds a token is good."""
        if token.expires_at is None:
            return UNKNOWN_LIFETIME * 2
        return token.expires_at.timestamp() - self._wall_clock()

    def __repr__(self) -> str:
        return f"<SessionTokenSource for {self._account!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SessionTokenSource does not pickle: it holds a credential. Make one where it is needed")
