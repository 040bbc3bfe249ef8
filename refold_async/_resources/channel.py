"""How resources speak to Refold: one method for each kind of request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from .._api.plain import PlainRequest, Repeat
from .._api.response import parse_json
from .._core.plain import send_plain
from .._core.settings import RequestOptions
from .._types.errors import UnexpectedResponseError

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._types.response import Response

PUBLIC = "/api/v2/public/"


class Channel:
    """Sends the requests of resources, for a client or a view of it.

    :param sender: the client's.
    """

    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    async def read(
        self, path: str, params: Mapping[str, Any] | None = None, **options: Unpack[RequestOptions]
    ) -> tuple[dict[str, Any], Response]:
        """Get a JSON object.

        :raises RefoldError: with `delivery` None.
        """
        response = await send_plain(self.sender, PlainRequest("GET", PUBLIC + path, params=params), **options)
        return to_object(response, delivery=None), response

    async def write(
        self, path: str, *, repeat: Repeat, may_fire: bool = False, **options: Unpack[RequestOptions]
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
        return parse_json(response.raw) if response.raw else None
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
