"""What has to be known of a machine to judge numbers that were measured on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from . import cores


def facts() -> dict[str, Any]:
    """Give the machine, its load, and who was pinned to which core."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_allowed": len(cores.ALLOWED) or None,
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "client_core": cores.core_for(cores.CLIENT),
        "server_core": cores.core_for(cores.SERVER),
    }


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Give the version of each package that is installed."""
    found = {}
    for name in sorted(set(distributions)):
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
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _memory_gb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1e6) for line in lines if line.startswith("MemTotal:")), None)
