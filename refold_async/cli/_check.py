"""`batch --dry-run`: every row is checked as it would be before sending, and nothing is sent."""

from __future__ import annotations

import json

import typer

from ._exits import EXIT_ACCEPTED, EXIT_FAILED, EXIT_USAGE
from ._input import InputError
from ._progress import counted
from ._source import BadRow, Source


def check_rows(source: Source, as_json: bool) -> int:
    """Check the rows, tell of each bad one as it is found, and give the exit code.

    The bad ones are not collected, so that there may be any number of them.
    """
    good = bad = 0
    error: str | None = None
    if as_json:
        typer.echo('{"bad": [', nl=False)
    try:
        for item in source.rows():
            if not isinstance(item, BadRow):
                good += 1
                continue
            if as_json:
                fields = json.dumps({"line": item.line, "message": item.problem})
                typer.echo(f"{', ' if bad else ''}{fields}", nl=False)
            else:
                typer.echo(f"line {item.line}: {item.problem}", err=True)
            bad += 1
    except InputError as problem:
        error = str(problem)
        typer.echo(error, err=True)
    code = EXIT_USAGE if error is not None else EXIT_FAILED if bad else EXIT_ACCEPTED
    if as_json:
        rest = {"rows": good + bad, "good": good, "error": error, "exit_code": code}
        typer.echo(f"], {json.dumps(rest)[1:]}")
    elif error is None:
        left = f", {bad:,} cannot" if bad else ""
        typer.echo(f"{counted(good, 'row')} can be sent{left}. This was a dry run: nothing was sent.")
    return code
