"""Options that commands share, and groups of options."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import attrs
import typer


def log_to_stderr(verbose: bool) -> bool:
    """Log each attempt to standard error, if asked to; else errors only, unless somebody has set logging up."""
    if verbose:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
        logging.getLogger("refold_async").setLevel(logging.DEBUG)
    else:
        logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    return verbose


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=log_to_stderr, help="Log each attempt to standard error.")
]


CACert = Annotated[
    Path | None,
    typer.Option(
        "--cacert",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        rich_help_panel="Client",
        help="A PEM file with the authorities to trust, in place of the usual ones.",
    ),
]


def trusted(cacert: Path | None) -> bool | str:
    """Return what the client takes as `verify=`. Nothing turns the checks off."""
    return True if cacert is None else str(cacert)


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function some of whose parameters are groups of options: attrs classes.

    Typer sees one parameter for each field of a group, in its place; the function is given the group.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if attrs.has(hint)}

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in attrs.fields(group)})
        function(**values)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters += _fields_of(groups[name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _fields_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is attrs.NOTHING else field.default,
        )
        for field in attrs.fields(group)
    ]
