"""The one place where the command line uses what the client does not show yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from .. import RefoldClient, Trigger
from ..transports._call import Call

Sending = Call
"""What `before_send` is given."""

READ_TIMEOUT: Final = 10.0
"""Seconds for a read that probes."""


def check(client: RefoldClient) -> Callable[[Trigger], Any]:
    """Return the very checks that are made before sending; they raise `InvalidTriggerError`."""
    return client._caller.encode  # noqa: SLF001


def as_sent(client: RefoldClient, trigger: Trigger) -> dict[str, Any]:
    """Return the request that a trigger would be, without the credential.

    :raises InvalidTriggerError: for a trigger that could not be sent.
    """
    url, headers, message = client._caller.encode(trigger)  # noqa: SLF001
    shown = ("linked_account_id", "config_id")
    ids = {name: headers[name] for name in shown if name in headers}
    more = {name: value for name, value in message.headers if name.lower() not in ("content-type", "content-length")}
    return {"method": "POST", "url": str(url), "headers": {**ids, **more}, "body": message.body.decode()}


def account_of(client: RefoldClient) -> tuple[str | None, str | None]:
    """Return the linked account and the configuration of rows that name none."""
    settings = client._caller.settings  # noqa: SLF001
    return settings.linked_account_id, settings.config_id


def with_before_send(client: RefoldClient, ask: Callable[[Sending], None]) -> RefoldClient:
    """Return a view of a client that asks before it writes anything of an attempt."""
    view = client.with_options()
    view._caller.before_send = ask  # noqa: SLF001
    return view


def trigger_of(sending: Sending) -> Trigger:
    """Return the trigger that is about to be sent."""
    assert sending.trigger is not None
    return sending.trigger


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
