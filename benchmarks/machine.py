"""The machine: which core does what, what a process has used, and what must be known to judge the numbers."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

CLIENT: Final = 0
SERVER: Final = 1
ALLOWED: Final = tuple(sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ())
"""The cores this process might use when it began. Pinning changes what the system says."""


def core_for(role: int) -> int | None:
    """Return the core of the client or the server; None where there are not two to choose from."""
    return ALLOWED[role] if len(ALLOWED) > 1 else None


def pin(core: int | None) -> None:
    """Keep this process on one core; None leaves it where it is."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def plain_environment() -> dict[str, str]:
    """Return the environment without what clients take settings from: proxies, and Refold's own variables.

    glibc's malloc maps and unmaps aiohttp's read buffer, at two page faults a request, or does not, by the luck of its
    heap. A threshold that nobody reaches takes the luck out, for everyone.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("REFOLD_")
    }
    return kept | {"MALLOC_MMAP_THRESHOLD_": "67108864", "PYTHONHASHSEED": "0"}


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process with one thread; nan where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return float("nan")


def peak_bytes() -> int:
    """Return the most memory this process had at once, without that of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def facts() -> dict[str, Any]:
    """Return what has to be known of the machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for name in sorted(set(packages)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
