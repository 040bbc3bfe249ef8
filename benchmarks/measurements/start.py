"""What it costs to begin: the import, and a client, each in fresh interpreters, in turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from .. import machine
from ..process import described

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


def imports(module: str, *, after: str, rounds: int) -> list[dict[str, Any]]:
    """Import a module after asyncio and what it is built on."""
    return _run({module: IMPORT.format(after=after, module=module)}, rounds)


def clients(*, rounds: int) -> list[dict[str, Any]]:
    """Make a client of `refold_async`."""
    second = CLIENT.format(url="https://app.refold.ai", first="RefoldClient(**given)")
    return _run({SECOND: second, HTTP: CLIENT.format(url="http://127.0.0.1:9", first="")}, rounds)


def _run(programs: Mapping[str, str], rounds: int) -> list[dict[str, Any]]:
    """Run each program so many times; the first time, which compiles, is not counted."""
    rows: list[dict[str, Any]] = []
    for number in range(-1, rounds):
        for name, program in programs.items():
            row: dict[str, Any] = {"program": name, "round": number}
            command = [sys.executable, "-c", program]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=machine.environment(), timeout=LIMIT
                )
                row["cpu_ms"] = float(done.stdout)
            except subprocess.CalledProcessError as error:
                row["failed"] = (error.stderr.strip().splitlines() or [f"exit {error.returncode}"])[-1]
            except subprocess.TimeoutExpired as error:
                row["failed"] = described(error)
            if number >= 0:
                rows.append(row)
    return rows
