"""What is the organisation's, and no linked account's: it needs an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from .._types.errors import ConfigurationError
from .._types.values import Unset

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._core.settings import TimeoutTypes
    from ..policies.retry import RetryPolicy


class OrganisationOptions(TypedDict, total=False):
    """What each call takes besides its own arguments; what is left out is the client's.

    :param timeout: seconds per attempt, or an `httpx.Timeout`; None for no limit.
    :param deadline: seconds for the whole call; None for no limit.
    :param retry: None to try once.
    """

    timeout: TimeoutTypes | Unset
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset


def need_api_key(sender: Sender, what: str) -> None:
    """Refuse a call that Refold answers for API keys only.

    :raises ConfigurationError: for a client with a session token.
    """
    if sender.credential.kind != "api_key":
        raise ConfigurationError(
            f"client.{what} needs an API key: a session token may not, for it speaks for one linked account. Make a "
            "client with api_key="
        )
