"""What a request that is no trigger returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Response:
    """Refold's answer to a request that is no trigger.

    :param status_code: the HTTP status, 2xx.
    :param raw: the body as it was received, decompressed.
    :param headers: the header fields, names in lower case; those of one name are joined by commas.
    :param request_id: Refold's id for the request, where it gave one.
    :param attempts: how many times the request was tried.
    :param elapsed: seconds from the call to the end of the response, waits included.
    """

    status_code: int
    raw: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    request_id: str | None = None
    attempts: int = 1
    elapsed: float = 0.0

    def json(self) -> Any:
        """Return the JSON document in the body; None where there is no body."""
        return json.loads(self.raw) if self.raw else None
