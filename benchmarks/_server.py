"""The mock Refold in a process of its own, so that its cost is not counted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

API_KEY = "tk_mock_0000"


@contextmanager
def mock_server(*options: str) -> Iterator[tuple[str, int]]:
    """Serve without a rate limit; give the URL and the process id."""
    command = [sys.executable, "-u", "-c", "from refold_async.cli import main; main()"]
    command += ["mock-server", "--port", "0", "--rate", "0", "--keep", "100", "--seconds", "900", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[3], process.pid
        finally:
            process.terminate()
            process.stdout.read()
