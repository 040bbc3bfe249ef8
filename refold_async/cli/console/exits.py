"""How the commands end."""

from __future__ import annotations

from typing import NoReturn

import typer

EXIT_ACCEPTED, EXIT_FAILED, EXIT_USAGE, EXIT_AMBIGUOUS = 0, 1, 2, 3


def stop(message: str) -> NoReturn:
    """Print what was wrong with the usage, and exit."""
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_USAGE)
