"""The reference of the command line, made from the options that the commands have."""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any

from sphinx.util.rst import escape

TITLE = "The command line's options"


def command_page() -> str:
    """Return the page that lists every command, its arguments and its options."""
    import typer.main

    from refold_async.cli.app import app

    text = f"{TITLE}\n{'=' * len(TITLE)}\n\n"
    text += "The same as ``refold-async COMMAND --help``. How to use them is on the page :doc:`/command-line`.\n\n"
    group: Any = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        title = f"refold-async {name}"
        text += f"{title}\n{'-' * len(title)}\n\n.. program:: {title}\n\n"
        text += f"{escape(inspect.cleandoc(command.help or ''))}\n\n"
        for panel, params in panels(command).items():
            if panel:
                text += f".. rubric:: {panel}\n\n"
            text += "".join(described(param) for param in params)
    return text


def panels(command: Any) -> dict[str, list[Any]]:
    """Return a command's parameters by the heading under which `--help` shows them."""
    found: dict[str, list[Any]] = defaultdict(list)
    for param in command.params:
        found[getattr(param, "rich_help_panel", None) or ""].append(param)
    return found


def described(param: Any) -> str:
    """Return the entry of one argument or option."""
    names = [*param.opts, *param.secondary_opts]
    head = f".. option:: {', '.join(names)}" if names[0].startswith("-") else f".. describe:: {names[0].upper()}"
    text = escape((param.help or "").strip())
    if not param.required and param.default not in (None, False, ()):
        text += f" Default: {escape(str(param.default))}."
    return f"{head}\n\n   {text}\n\n"
