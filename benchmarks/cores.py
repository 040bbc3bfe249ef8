"""Keeping client and server on cores of their own, and reading what a process has used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CLIENT: Final = 0
SERVER: Final = 1

ALLOWED: Final = tuple(sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ())
"""The cores this process might use when it began; none where the system does not say. Pinning itself changes that."""


def core_for(role: int) -> int | None:
    """Give a core for the client or the server; None where there are not two to choose from."""
    return ALLOWED[role] if len(ALLOWED) > 1 else None


def pin(core: int | None) -> None:
    """Keep this process on one core; None leaves it where it is."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def cpu_seconds(pid: int) -> float:
    """Give what a process with one thread has used, user and system time; nan where the system does not say.

    `schedstat` counts in nanoseconds; `stat`, where that is missing, in clock ticks.
    """
    try:
        nanoseconds = Path(f"/proc/{pid}/schedstat").read_text().split()[0]
    except OSError:
        return _ticks(pid)
    return int(nanoseconds) / 1e9


def _ticks(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """Give the most memory this process had at once, in bytes; 0 where the system does not say.

    `getrusage` would also count what the process that started it had.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
