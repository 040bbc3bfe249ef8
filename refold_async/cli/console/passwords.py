"""Keeping passwords of URLs out of what `ps` shows of this process, and out of errors of usage."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from typer.core import TyperGroup

from .exits import EXIT_USAGE

_URL: Final = re.compile(rb"(?<=://)[^\0]*@")
_FIELD: Final = re.compile(rb"(?i)(?<=password)\s*=\s*(?:'(?:[^'\\\0]|\\[^\0])*'?|[^\s&\0]*)")


class Discreet(TyperGroup):
    """A group of commands whose errors of usage, which repeat arguments, repeat no password."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Parse the arguments of the group."""
        with _masking():
            return super().make_context(*arguments, **named)

    def invoke(self, *arguments: Any, **named: Any) -> Any:
        """Parse the arguments of a command, and run it."""
        with _masking():
            return super().invoke(*arguments, **named)


@contextlib.contextmanager
def _masking() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        said = getattr(error, "message", None)
        if getattr(error, "exit_code", None) == EXIT_USAGE and isinstance(said, str):
            error.message = masked(said.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
        raise


def hide_passwords() -> None:
    """Overwrite passwords of URLs and connection strings among the arguments, where the system allows that: on Linux.

    The arguments that Python has read stay as they are. Until this is called, `ps` shows them.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The 48th and 49th field: where the arguments begin and end. The name, which is in brackets, may have spaces.
        numbers = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(numbers[45]), int(numbers[46])
        if not begin:
            return
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(begin)
            before = memory.read(end - begin)
            after = masked(before)
            if after != before:
                memory.seek(begin)
                memory.write(after)


def masked(arguments: bytes) -> bytes:
    """Return arguments, which end with a zero each, with an `x` for each byte of a password."""

    def of_url(found: re.Match[bytes]) -> bytes:
        user, colon, password = found[0][:-1].partition(b":")
        return user + colon + b"x" * len(password) + b"@"

    def of_field(found: re.Match[bytes]) -> bytes:
        sign = found[0].index(b"=") + 1
        return found[0][:sign] + b"x" * (len(found[0]) - sign)

    return _FIELD.sub(of_field, _URL.sub(of_url, arguments))
