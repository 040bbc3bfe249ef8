"""`batch --dry-run`: every row is checked as it would be before sending, and nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer

from .. import Trigger
from ._exits import EXIT_ACCEPTED, EXIT_FAILED, EXIT_USAGE
from ._input import InputError
from ._records import Origin
from ._source import BadRow, Source
from ._words import counted

_LONGEST_BODY = 2000
"""Characters of the first event's body that are shown to people."""


def check_rows(source: Source, as_sent: Callable[[Trigger], dict[str, Any]], as_json: bool) -> int:
    """Check the rows, print each bad one as it is found and the first good one, and return the exit code.

    The bad ones are not collected, so that there may be any number of them.

    :param as_sent: returns the request that a trigger would be.
    """
    good = bad = 0
    error: str | None = None
    first: dict[str, Any] | None = None
    if as_json:
        typer.echo('{"bad": [', nl=False)
    try:
        for item in source.rows():
            if not isinstance(item, BadRow):
                if good == 0:
                    first = _first(item, as_sent)
                    if not as_json:
                        _print_first(first)
                good += 1
                continue
            if as_json:
                fields = json.dumps({"line": item.line, "last_line": item.last, "message": item.problem})
                typer.echo(f"{', ' if bad else ''}{fields}", nl=False)
            else:
                typer.echo(f"{item.place}: {item.problem}", err=True)
            bad += item.count
            if not item.is_skippable:
                raise InputError(
                    f"{source.input.name}, {item.place}: what comes after it was not checked. Mend it first"
                )
    except InputError as problem:
        error = str(problem)
        typer.echo(error, err=True)
    code = EXIT_USAGE if error is not None else EXIT_FAILED if bad else EXIT_ACCEPTED
    if as_json:
        rest = {"rows": good + bad, "good": good, "error": error, "first": first, "exit_code": code}
        typer.echo(f"], {json.dumps(rest)[1:]}")
    elif error is None:
        left = f", {bad:,} cannot" if bad else ""
        typer.echo(f"{counted(good, 'row')} can be sent{left}. This was a dry run: nothing was sent.")
    return code


def _first(trigger: Trigger, as_sent: Callable[[Trigger], dict[str, Any]]) -> dict[str, Any]:
    assert isinstance(trigger.context, Origin)
    return {"line": trigger.context.line, **as_sent(trigger)}


def _print_first(first: dict[str, Any]) -> None:
    body = first["body"]
    if len(body) > _LONGEST_BODY:
        body = f"{body[:_LONGEST_BODY]}… ({len(body):,} characters)"
    lines = [f"{name}: {value}" for name, value in first["headers"].items()]
    shown = "\n".join(f"    {line}" for line in [f"{first['method']} {first['url']}", *lines, body])
    typer.echo(f"The first event, from line {first['line']}, as it would be sent:\n{shown}", err=True)
