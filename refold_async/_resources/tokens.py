"""Session tokens: credentials that speak for one linked account."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

from attrs import field, frozen

from .._api.plain import PlainRequest, Repeat
from .._core.plain import send_plain
from .._types.errors import ConfigurationError, InvalidRequestError, UnexpectedResponseError
from .channel import parse
from .decode import number, text, whole
from .organisation import OrganisationOptions, need_api_key

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._types.response import Response

PATH = "/api/v2/public/session-token"


@frozen(kw_only=True, eq=False)
class SessionToken:
    """A credential for one linked account. Its `repr` does not show it, and it does not pickle.

    :ivar token: what a client takes as `session_token=`.
    :ivar refresh_token: another secret; no use of it is documented. None where the answer had none.
    :ivar expires_at: until when the token is good, in UTC; None where the answer did not say.
    :ivar refresh_expires_at: until when the refresh token is good.
    """

    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any], now: float) -> Self:
        """Read a document. Its times are seconds left: a token that is still good is handed out again.

        :param now: POSIX seconds at which it was asked for.
        """
        return cls(
            token=text(document, "token") or "",
            refresh_token=text(document, "refresh_token"),
            expires_at=_after(now, document, "expires_in"),
            refresh_expires_at=_after(now, document, "refresh_expires_in"),
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SessionToken does not pickle: it is a credential. Pass its .token on by a safe way")


def _token_in(response: Response, now: float) -> SessionToken | None:
    document = parse(response)
    made = SessionToken.of(document if isinstance(document, dict) else {}, now)
    return made if made.token else None


def _after(now: float, document: Mapping[str, Any], name: str) -> datetime | None:
    seconds = number(document, name)
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(now, UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None


class SessionTokens:
    """Making session tokens, with an API key, and revoking the one that a client uses.

    :param sender: the client's.
    :param wall_clock: POSIX seconds.
    """

    def __init__(self, sender: Any, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._sender: Sender = sender
        self._wall_clock = wall_clock

    def by_clock(self, wall_clock: Callable[[], float]) -> SessionTokens:
        """Return the same by another clock."""
        return SessionTokens(self._sender, wall_clock=wall_clock)

    def check(self) -> None:
        """Raise what `create` raises for a client without an API key.

        :raises ConfigurationError: for a client with a session token.
        """
        need_api_key(self._sender, "session_tokens.create()")

    async def create(
        self, linked_account_id: str, *, force_refresh: bool = False, **options: Unpack[OrganisationOptions]
    ) -> SessionToken:
        """Return a session token for a linked account: the one it has, while that is good, or a new one.

        :param force_refresh: make a new one in any case. The earlier one stays good.
        :raises BadRequestError: for an account that does not exist; older versions of Refold answer with a
            `ServerError`.
        :raises ConfigurationError: for a client with a session token.
        :raises InvalidRequestError: for a blank account.
        """
        self.check()
        if not isinstance(linked_account_id, str) or not linked_account_id.strip():
            raise InvalidRequestError("linked_account_id must be the id of an end customer, and not blank")
        request = PlainRequest(
            "POST",
            PATH,
            params={"force_refresh": True} if force_refresh else None,
            document={"linked_account_id": linked_account_id},
            repeat=Repeat.FREELY,  # at worst there is one more token
            is_of_account=False,
        )
        asked_at = self._wall_clock()
        response = await send_plain(self._sender, request, **options)
        made = _token_in(response, asked_at)
        if made is None:
            # Without the body: there may be a token in it that was only not where we look. For the same reason no
            # variable of this frame, which its traceback keeps, is the document.
            raise UnexpectedResponseError(
                f"Refold answered {response.status_code}, but without a token: is base_url right?",
                status_code=response.status_code,
                delivery=None,
                attempts=response.attempts,
            )
        return made

    async def revoke(self, **options: Unpack[OrganisationOptions]) -> int:
        """Revoke the token of this client, and return how many were revoked: 1, or 0 if it was already.

        :raises ConfigurationError: for a client with an API key: make one with the token that is to be revoked.
        """
        if self._sender.credential.kind != "session_token":
            raise ConfigurationError(
                "session_tokens.revoke() revokes the token of its client, and this one has an API key: make a client "
                "with session_token="
            )
        request = PlainRequest("POST", PATH + "/revoke", repeat=Repeat.FREELY, is_of_account=False)
        document = parse(await send_plain(self._sender, request, **options))
        return (whole(document, "revoked_count") or 0) if isinstance(document, dict) else 0
