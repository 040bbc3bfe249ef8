"""The options of `batch` that concern its rows."""

from __future__ import annotations

import enum
from functools import partial
from typing import Annotated

import typer
from attrs import frozen


class InputFormat(enum.StrEnum):
    """How the input is written."""

    JSONL = "jsonl"
    CSV = "csv"


_rows = partial(typer.Option, rich_help_panel="Rows")


@frozen(kw_only=True)
class InputOptions:
    """Where the rows are, and what they have in common."""

    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or CSV; - for standard input.")]
    input_format: Annotated[
        InputFormat | None, _rows("--format", help="CSV where the name ends in .csv, else JSON Lines.")
    ] = None
    slug: Annotated[str | None, _rows("--slug", help="For rows without one.")] = None
    event: Annotated[str | None, _rows("--event", help="For rows without one.")] = None
    linked_account_id: Annotated[
        str | None, _rows("--linked-account-id", help="For rows without one; or REFOLD_LINKED_ACCOUNT_ID.")
    ] = None
    config_id: Annotated[
        str | None, _rows("--config-id", help="That customer's configuration; or REFOLD_CONFIG_ID.")
    ] = None
    instance_tag: Annotated[str | None, _rows("--instance-tag", help="A label for all executions.")] = None
    skip_invalid: Annotated[
        bool, _rows("--skip-invalid", help="Leave out rows that cannot be sent, and send the rest.")
    ] = False
    dry_run: Annotated[bool, _rows("--dry-run", help="Check every row and send nothing.")] = False
