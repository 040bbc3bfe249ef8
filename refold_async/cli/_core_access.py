"""The one place where the command line uses what the client does not show yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import RefoldClient, Trigger
from ..transports._call import Call

Sending = Call
"""What `before_send` is given."""


def check(client: RefoldClient) -> Callable[[Trigger], Any]:
    """Return the very checks that are made before sending; they raise `InvalidTriggerError`."""
    return client._caller.encode  # noqa: SLF001


def account_of(client: RefoldClient) -> tuple[str | None, str | None]:
    """Return the linked account and the configuration of rows that name none."""
    settings = client._caller.settings  # noqa: SLF001
    return settings.linked_account_id, settings.config_id


def with_before_send(client: RefoldClient, ask: Callable[[Sending], None]) -> RefoldClient:
    """Return a view of a client that asks before it writes anything of an attempt."""
    view = client.with_options()
    view._caller.before_send = ask  # noqa: SLF001
    return view
