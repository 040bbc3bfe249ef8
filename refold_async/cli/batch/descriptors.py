"""How many connections fit into the file descriptors that the process may open."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_RESERVE: Final = 10
"""Descriptors for the event loop, the journal, the leftovers, name lookups, and modules that are loaded late."""

_EACH: Final = 2
"""Descriptors for a connection: while it is made, two addresses of the host may be tried side by side."""

_FOLDERS: Final = ("/proc/self/fd", "/dev/fd")
_GUESS: Final = 10


def affordable_connections(wanted: int) -> int:
    """Return how many connections may be open at a time; at least 1.

    The soft limit is raised as far as that helps and is allowed. More than fits would fail row after row; with fewer,
    rows wait for a connection.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    needed = _open_now() + _RESERVE + _EACH * wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if raised > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        except (OSError, ValueError):  # macOS has a further limit
            pass
    return max(1, min(wanted, (soft - _open_now() - _RESERVE) // _EACH))


def _open_now() -> int:
    for folder in _FOLDERS:
        try:
            return sum(1 for _ in Path(folder).iterdir())
        except OSError:
            continue
    return _GUESS
