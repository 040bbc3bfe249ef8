"""Ctrl-C in a real process: once, what is on the wire gets a second; twice, it ends at once. Every row is told of."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import sys

import anyio

from refold_async.testing import Fault, MockRefold
from tests.batch.support import Told, trigger

ROWS = map(trigger, range(1000))


async def main():
    told = Told()
    with MockRefold(rate_limit=None) as server:
        arrived = []

        def stall_all_but_ten(entry):
            arrived.append(entry)
            if len(arrived) == 30:
                print("ready", flush=True)
            return Fault.stall_head() if entry.payload["n"] >= 10 else None

        server.plan(stall_all_but_ten)
        async with server.client(rate_limit=None, timeout=50, deadline=50) as client:
            try:
                if sys.argv[2] == "many":
                    await client.trigger_many(ROWS, on_outcome=told)
                else:
                    async with client.trigger_stream(ROWS, on_outcome=told) as outcomes:
                        async for _ in outcomes:
                            pass
            finally:
                print(told.kinds.count("accepted"), told.kinds.count("BatchStoppedError"), len(told.kinds))


try:
    anyio.run(main, backend=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("backend", "call", "times"),
    [("asyncio", "many", 1), ("asyncio", "stream", 2), ("trio", "many", 2), ("trio", "stream", 1)],
)
def test_ctrl_c(backend: str, call: str, times: int) -> None:
    command = [sys.executable, "-c", PROGRAM, backend, call]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            began = time.monotonic()
            output, _ = process.communicate(timeout=150)
        finally:
            process.kill()
    # Python's own: an interrupt may strike between the making of a coroutine, in whatever library, and its await.
    lines = [line for line in output.splitlines() if "RuntimeWarning" not in line]
    assert lines == ["10 20 30", "interrupted"], output
    assert time.monotonic() - began < 4, "not the five seconds of leaving early, nor the fifty of the deadline"
