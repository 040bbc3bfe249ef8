"""What it costs to begin: an import, and a client, each in fresh interpreters, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .. import machine

LIMIT: Final = 60.0

IMPORT: Final = """
import time, asyncio, {after}
start = time.process_time(); import {module}; print((time.process_time() - start) * 1e3)
"""
CLIENT: Final = """
import time
from refold_async import RefoldClient
given = {{"api_key": "tk_1", "linked_account_id": "acct_1", "base_url": {url!r}}}
{first}
start = time.process_time(); RefoldClient(**given); print((time.process_time() - start) * 1e3)
"""
SECOND: Final = "the second for https://"
HTTP: Final = "the first for http://"
CLIENTS: Final = {
    SECOND: CLIENT.format(url="https://app.refold.ai", first="RefoldClient(**given)"),
    HTTP: CLIENT.format(url="http://127.0.0.1:9", first=""),
}


def imports(modules: Iterable[str], *, rounds: int, after: str = "asyncio") -> list[dict[str, Any]]:
    """Import each module after another, such as the one it is built on, and after asyncio."""
    programs = {module: IMPORT.format(after=after, module=module) for module in modules}
    return [row | {"after": after} for row in _run(programs, rounds)]


def clients(*, rounds: int) -> list[dict[str, Any]]:
    """Make a client of `refold_async`."""
    return _run(CLIENTS, rounds)


def _run(programs: Mapping[str, str], rounds: int) -> list[dict[str, Any]]:
    """Run each program so many times; the first time, which compiles, is not counted."""
    rows: list[dict[str, Any]] = []
    left = dict(programs)
    for number in range(-1, rounds):
        for name, program in list(left.items()):
            row = {"program": name, "round": number, **_milliseconds(program)}
            if number >= 0 or "failed" in row:
                rows.append(row)
            if "failed" in row:
                del left[name]
    return rows


def _milliseconds(program: str) -> dict[str, Any]:
    machine.set_environment()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env, timeout=LIMIT
        )
    except subprocess.CalledProcessError as error:
        return {"failed": (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]}
    except subprocess.TimeoutExpired:
        return {"failed": f"hung: killed after {LIMIT:.0f} s"}
    return {"cpu_ms": float(done.stdout)}
