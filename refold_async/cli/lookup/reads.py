"""What commands that read from Refold have in common: a client, and options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from attrs import frozen

from ... import RefoldClient
from ..console.options import CACert, Verbose, trusted
from ..console.output import AsJSON, run_or_fail

T = TypeVar("T")

Account = Annotated[str | None, typer.Option(help="The end customer; or REFOLD_LINKED_ACCOUNT_ID.")]
BaseURL = Annotated[str | None, typer.Option(help="Where Refold is; or REFOLD_BASE_URL.")]


@frozen(kw_only=True)
class ReadOptions:
    """How to read from Refold, and how to print what was read."""

    cacert: CACert = None
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for each request.")] = 30.0
    as_json: AsJSON = False
    verbose: Verbose = False

    def read(
        self, use: Callable[[RefoldClient], Awaitable[T]], base_url: str | None, linked_account_id: str | None = None
    ) -> T:
        """Return what a function reads with a client; a failure is printed, and ends the command."""

        async def read() -> T:
            client = RefoldClient(
                base_url=base_url,
                linked_account_id=linked_account_id,
                verify=trusted(self.cacert),
                deadline=self.deadline,
            )
            async with client:
                return await use(client)

        return run_or_fail(read, as_json=self.as_json)


def to_moment(option: str, text: str | None) -> datetime | None:
    """Return a moment as options take it: ISO 8601; local time where no zone is named.

    :raises typer.BadParameter: for anything else.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no date and time, such as 2026-07-01T12:00", param_hint=option) from None
