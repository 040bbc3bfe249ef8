"""How resources speak to Refold: one method for each kind of request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .._api.plain import PlainRequest, Repeat
from .._core.plain import send_plain
from .._types.errors import UnexpectedResponseError
from .._types.values import Unset

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._core.settings import TimeoutTypes
    from .._types.values import Response
    from ..policies.retry import RetryPolicy

PUBLIC = "/api/v2/public/"


class PerWait(TypedDict, total=False):
    """What each call of a resource takes besides its own arguments, one that waits too.

    :param linked_account_id: another end customer than the client's; the client's `config_id` does not come along.
    :param config_id: that customer's configuration.
    :param deadline: seconds for each request, its attempts and the waits between them included.
    :param retry: None to try once.
    """

    linked_account_id: str | None
    config_id: str | None
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset


class PerCall(PerWait, total=False):
    """What other calls take as well.

    :param timeout: seconds per attempt, or an `httpx.Timeout`.
    """

    timeout: TimeoutTypes | Unset


class Channel:
    """Sends the requests of resources, for a client or a view of it.

    :param sender: the client's.
    """

    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    async def read(
        self, path: str, params: Mapping[str, Any] | None = None, **options: Unpack[PerCall]
    ) -> tuple[dict[str, Any], Response]:
        """Get a JSON object.

        :raises RefoldError: with `delivery` None.
        """
        response = await send_plain(self.sender, PlainRequest("GET", PUBLIC + path, params=params), **options)
        return to_object(response, delivery=None), response

    async def write(
        self, path: str, *, repeat: Repeat, may_fire: bool = False, **options: Unpack[PerCall]
    ) -> tuple[dict[str, Any], Response]:
        """Post without a body. Whatever JSON comes back, an object or not, was a success.

        :raises RefoldError: with the verdict.
        """
        plain = PlainRequest("POST", PUBLIC + path, repeat=repeat, may_fire=may_fire)
        response = await send_plain(self.sender, plain, **options)
        document = parse(response)
        return document if isinstance(document, dict) else {}, response


def parse(response: Response) -> Any:
    """Return the document in a response; None where there is none."""
    try:
        return json.loads(response.raw) if response.raw else None
    except (ValueError, RecursionError):
        return None


def to_object(response: Response, *, delivery: None) -> dict[str, Any]:
    """Return the JSON object in a response.

    :raises UnexpectedResponseError: where there is none.
    """
    document = parse(response)
    if isinstance(document, dict):
        return document
    raise UnexpectedResponseError(
        f"the response was {response.status_code} but not a JSON object, so it may not be Refold's: check base_url",
        status_code=response.status_code,
        body=response.raw.decode("utf-8", "replace")[:4096],
        delivery=delivery,
        attempts=response.attempts,
    )
