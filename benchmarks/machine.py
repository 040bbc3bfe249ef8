"""The machine: which core does what, what a process has used, and what must be known to judge the numbers."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

CLIENT: Final = 0
SERVER: Final = 1


def pin(role: int) -> None:
    """Keep this process on the core of the client or the server, where the system has two and lets it choose."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) > 1:
        os.sched_setaffinity(0, {allowed[role]})


def environment() -> dict[str, str]:
    """Return the environment without what contenders take settings from: proxies, and Refold's own variables.

    glibc's malloc maps and unmaps aiohttp's read buffer, at two page faults a request, or does not, by the luck of its
    heap. A threshold that nobody reaches takes the luck out, for everyone.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith(("_proxy", "pythondontwritebytecode")) and not name.startswith("REFOLD_")
    }
    return kept | {"MALLOC_MMAP_THRESHOLD_": "67108864", "PYTHONHASHSEED": "0"}


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of another process; nan where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def forget_peak() -> None:
    """Have `peak_bytes` count from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Return the most memory this process had at once, without that of the process that started it."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else int(found[1]) * 1024


def facts() -> dict[str, Any]:
    """Return what has to be known of the machine."""
    found = None
    with suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for name in sorted(set(packages)):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
