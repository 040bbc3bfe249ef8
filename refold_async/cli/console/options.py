"""Options that commands share, and commands whose options are the fields of attrs classes."""

from __future__ import annotations

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


def parameters_of(group: type) -> list[inspect.Parameter]:
    """Return the parameters that a command needs to be able to fill an attrs class."""
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


def command_of(command: type, run: Callable[[Callable[[], Any], dict[str, Any]], None]) -> Callable[..., None]:
    """Return what typer makes a command of: a function with one parameter for each option of a command's groups.

    :param command: an attrs class whose fields are groups, attrs classes themselves; its docstring is the help.
    :param run: is given a function that makes the command, and all values by name; both may raise.
    """
    groups = get_type_hints(command)
    fields = {field.name: groups[field.name] for field in attrs.fields(command)}

    def function(**values: Any) -> None:
        def make() -> Any:
            return command(
                **{
                    name: group(**{field.name: values[field.name] for field in attrs.fields(group)})
                    for name, group in fields.items()
                }
            )

        run(make, values)

    parameters = [parameter for group in fields.values() for parameter in parameters_of(group)]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    function.__doc__ = command.__doc__
    return function
