"""The command line, `refold-async`; it needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without the extra, say how to get it."""
    try:
        import rich  # noqa: F401 - only to see whether it is there
        import typer  # noqa: F401
    except ImportError:
        sys.exit("refold-async's command line needs typer and rich: pip install 'refold-async[cli]'")
    from .console.passwords import hide_passwords

    hide_passwords()
    from .app import app
    from .console.streams import forgiving_streams

    with forgiving_streams():
        app(prog_name="refold-async")
