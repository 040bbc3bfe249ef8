"""What commands print: tables for people, JSON for machines, and why they failed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn, TypeVar

import anyio
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ... import ConfigurationError, InvalidRequestError, InvalidTriggerError, RefoldError, UnknownKeyError
from .exits import EXIT_FAILED, EXIT_USAGE
from .words import in_options, with_cause

T = TypeVar("T")

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_USAGE: Final = (ConfigurationError, InvalidRequestError, InvalidTriggerError, UnknownKeyError)
_MAX_WIDTH: Final = 1_000_000
"""Characters of a line that goes to a file or a pipe."""


def run_or_fail(work: Callable[[], Awaitable[T]], *, as_json: bool) -> T:
    """Return what a function returns; its failure is printed, and ends the command."""
    try:
        return anyio.run(work)
    except RefoldError as error:
        fail(error, EXIT_USAGE if isinstance(error, _USAGE) else EXIT_FAILED, as_json=as_json)


def fail(error: RefoldError, code: int, *, as_json: bool) -> NoReturn:
    """Print what went wrong, and end the command."""
    message = in_options(with_cause(error))
    if as_json:
        print_json({"error": type(error).__name__, "message": message, "exit_code": code})
    else:
        typer.echo(message, err=True)
    raise typer.Exit(code) from None


def print_json(value: Any) -> None:
    """Print a JSON document on one line of standard output."""
    typer.echo(json.dumps(value))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people; what is None stays empty."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        grid.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell_of(value)) for value in row))
    console = Console()
    if not console.is_terminal:  # what is piped on has each row on one line, and nothing cut off
        wide = Measurement.get(console, console.options.update(max_width=_MAX_WIDTH), grid).maximum
        console = Console(width=max(wide, 1))
    console.print(grid)


def cell_of(value: object) -> str:
    """Return a value as text on one line, without what a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "".join(character if character.isprintable() else " " for character in str(value))
