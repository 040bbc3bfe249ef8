"""What the mock Refold costs for each request, its ledger on: its own CPU time, driven by the floor."""

from __future__ import annotations

import time
from typing import Any

from refold_async.testing import MockRefold

from .. import machine
from ..process import TurnFailedError, Worker
from .cost import Case

_running: list[MockRefold] = []


def turn(*, start: bool = False) -> dict[str, Any]:
    """Start the mock and return where it is, or return the CPU time that its process has used."""
    if not start:
        return {"cpu": time.process_time()}
    server = MockRefold(rate_limit=None)
    server.start()
    _running.append(server)
    return {"url": server.url, "api_key": server.api_key}


def run(*, rounds: int, requests: int) -> list[dict[str, Any]]:
    """Drive it, and read what each request has cost; the first round warms it up and is not counted."""
    rows: list[dict[str, Any]] = []
    case = Case("floor", rows=requests).as_row()
    with (
        Worker(f"{__package__}.mock", core=machine.SERVER) as mock,
        Worker(f"{__package__}.cost") as driver,
    ):
        try:
            target = mock.turn(limit=30.0, start=True)
            for number in range(-1, rounds):
                before = mock.turn(limit=30.0)["cpu"]
                sent = driver.turn(limit=60.0, case=case, target=target, server_pid=0)
                cpu = mock.turn(limit=30.0)["cpu"] - before
                if number >= 0:
                    cpu_us = cpu / sent["requests"] * 1e6
                    rows.append({"round": number, "rate": sent["rate"], "cpu_us": cpu_us})
        except TurnFailedError as error:
            rows.append({"round": 0, "failed": str(error)})
    return rows
