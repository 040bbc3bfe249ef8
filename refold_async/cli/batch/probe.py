"""The read that asks whether Refold works again. It carries no credential: any answer but 5xx will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ... import RefoldClient

READ_TIMEOUT: Final = 10.0
"""Seconds for a read that probes."""


def reader(client: RefoldClient) -> Callable[[], Awaitable[int]]:
    """Return a function that makes one read, and returns the status that answered it.

    It raises what kept it from being answered.
    """

    async def read() -> int:
        session = client.session
        url = session.base_url.copy_with(path=session.base_url.path.rstrip("/") + "/api/v2/public/execution")
        with anyio.fail_after(READ_TIMEOUT):
            response = await session.get(url, params={"limit": "1"}, timeout=READ_TIMEOUT)
        return response.status_code

    return read
