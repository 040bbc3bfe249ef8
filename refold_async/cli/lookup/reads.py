"""What commands that read from Refold have in common: a client, and options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ... import RefoldClient
from ..console.options import trusted
from ..console.output import run_or_fail

T = TypeVar("T")

Account = Annotated[str | None, typer.Option(help="The end customer; or REFOLD_LINKED_ACCOUNT_ID.")]
BaseURL = Annotated[str | None, typer.Option(help="Where Refold is; or REFOLD_BASE_URL.")]
Deadline = Annotated[float, typer.Option(min=0.1, help="Seconds for each request.")]


def read_with(
    use: Callable[[RefoldClient], Awaitable[T]],
    *,
    as_json: bool,
    base_url: str | None = None,
    cacert: Path | None = None,
    **options: Any,
) -> T:
    """Return what a function reads with a client; a failure is printed, and ends the command."""

    async def read() -> T:
        async with RefoldClient(base_url=base_url, verify=trusted(cacert), **options) as client:
            return await use(client)

    return run_or_fail(read, as_json=as_json)


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
