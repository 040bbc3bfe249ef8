"""The options of `batch` that concern its rows."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from attrs import frozen

from ... import ConfigurationError
from .decode import check_encoding
from .input import STANDARD_INPUT
from .settings import Empty, InputFormat, Reading, format_of, parse_delimiter, parse_types

_rows = partial(typer.Option, rich_help_panel="Rows")


@frozen(kw_only=True)
class ReadingOptions:
    """Where rows are, how they are written, and what they have in common."""

    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or CSV; - for standard input.")]
    input_format: Annotated[
        InputFormat | None, _rows("--format", help="CSV where the name ends in .csv or .tsv, else JSON Lines.")
    ] = None
    delimiter: Annotated[
        str | None, _rows("--delimiter", help="Between the cells of CSV, where the header leaves it open.")
    ] = None
    encoding: Annotated[
        str | None,
        _rows("--encoding", help="Of the text, such as cp1252; UTF-8 and what a byte order mark says need none."),
    ] = None
    types: Annotated[
        list[str] | None,
        _rows(
            "--types", metavar="NAME=TYPE,…", help="Columns of CSV that are number, bool or json; else they are text."
        ),
    ] = None
    empty: Annotated[
        Empty | None, _rows("--empty", help="What an empty cell of CSV is in the payload; text if left out.")
    ] = None
    multiline_cells: Annotated[
        bool, _rows("--multiline-cells", help="Cells of CSV may hold lines that look like rows.")
    ] = False
    slug: Annotated[str | None, _rows("--slug", help="For rows without one.")] = None
    event: Annotated[str | None, _rows("--event", help="For rows without one.")] = None
    linked_account_id: Annotated[
        str | None, _rows("--linked-account-id", help="For rows without one; or REFOLD_LINKED_ACCOUNT_ID.")
    ] = None

    def make_reading(self, limit: int | None = None) -> Reading:
        """Return how the rows are read.

        :raises ConfigurationError: for options that make no sense.
        """
        form = self.input_format or format_of(self.file)
        if form is not InputFormat.CSV:
            needing = {
                "--delimiter": self.delimiter is not None,
                "--types": bool(self.types),
                "--empty": self.empty is not None,
                "--multiline-cells": self.multiline_cells,
            }
            for name in (name for name, is_given in needing.items() if is_given):
                shown = STANDARD_INPUT if self.file == "-" else self.file
                raise ConfigurationError(
                    f"{name} is for CSV, and {shown} is read as JSON Lines: if it is CSV, say --format csv"
                )
        return Reading(
            format=form,
            delimiter=None if self.delimiter is None else parse_delimiter(self.delimiter),
            encoding=None if self.encoding is None else check_encoding(self.encoding),
            types=parse_types(self.types or ()),
            empty=self.empty or Empty.TEXT,
            limit=limit,
            multiline_cells=self.multiline_cells,
        )


@frozen(kw_only=True)
class InputOptions(ReadingOptions):
    """Those, and which of the rows are sent."""

    config_id: Annotated[
        str | None, _rows("--config-id", help="That customer's configuration; or REFOLD_CONFIG_ID.")
    ] = None
    instance_tag: Annotated[str | None, _rows("--instance-tag", help="A label for all executions.")] = None
    limit: Annotated[int | None, _rows("--limit", min=1, help="Send so many rows at most, for a first try.")] = None
    skip_invalid: Annotated[
        bool, _rows("--skip-invalid", help="Leave out rows that cannot be sent, and send the rest.")
    ] = False
    dry_run: Annotated[bool, _rows("--dry-run", help="Check every row, show the first event, and send nothing.")] = (
        False
    )
