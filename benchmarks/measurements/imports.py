"""How long a contender takes to import: each in fresh interpreters, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from ..contender import Contender

PROGRAM: Final = (
    "import asyncio, time; start = time.perf_counter(); import {}; print((time.perf_counter() - start) * 1e3)"
)
LIMIT: Final = 60.0


def run(contenders: Mapping[str, Contender], *, rounds: int) -> list[dict[str, Any]]:
    """Import each in a fresh interpreter, after asyncio; the first time, which compiles, is not counted."""
    modules = {contender.imports for contender in contenders.values()}
    rows: list[dict[str, Any]] = []
    for number in range(-1, rounds):
        for module in sorted(modules):
            row = {"imports": module, "round": number, **_import(module)}
            if number >= 0 or "failed" in row:
                rows.append(row)
            if "failed" in row:
                modules = modules - {module}
    return rows


def _import(module: str) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(module)],
            capture_output=True, text=True, check=True, env=env, timeout=LIMIT,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        return {"failed": (error.stderr.strip().splitlines() or ["it did not import"])[-1]}
    except subprocess.TimeoutExpired:
        return {"failed": f"hung: killed after {LIMIT:.0f} s"}
    return {"milliseconds": float(done.stdout)}
