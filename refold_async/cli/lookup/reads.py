"""What commands that read from Refold have in common: a client, tables for people, and how failures end them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import anyio
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ... import ConfigurationError, InvalidRequestError, RefoldClient, RefoldError
from ..console.exits import EXIT_FAILED, EXIT_USAGE
from ..console.options import trusted
from ..console.words import in_options, with_cause

T = TypeVar("T")

MAX_WIDTH = 1_000_000
"""Characters of a line that goes to a file or a pipe."""

Account = Annotated[str | None, typer.Option(help="The end customer; or REFOLD_LINKED_ACCOUNT_ID.")]
BaseURL = Annotated[str | None, typer.Option(help="Where Refold is; or REFOLD_BASE_URL.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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

    try:
        return anyio.run(read)
    except (ConfigurationError, InvalidRequestError) as error:
        fail(error, EXIT_USAGE, as_json=as_json)
    except RefoldError as error:
        fail(error, EXIT_FAILED, as_json=as_json)


def fail(error: RefoldError, code: int, *, as_json: bool) -> NoReturn:
    """Print what went wrong, and end the command."""
    message = in_options(with_cause(error))
    if as_json:
        typer.echo(json.dumps({"error": type(error).__name__, "message": message, "exit_code": code}))
    else:
        typer.echo(message, err=True)
    raise typer.Exit(code) from None


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people; what is None stays empty."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        grid.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell_of(value)) for value in row))
    console = Console()
    if not console.is_terminal:  # what is piped on has each row on one line, and nothing cut off
        wide = Measurement.get(console, console.options.update(max_width=MAX_WIDTH), grid).maximum
        console = Console(width=max(wide, 1))
    console.print(grid)


def cell_of(value: object) -> str:
    """Return a value as text on one line, without what a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "".join(character if character.isprintable() else " " for character in str(value))


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
