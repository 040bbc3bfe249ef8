"""Run a command that may be silent for long, and say every few seconds that it still runs.

    python tools/heartbeat.py MESSAGE COMMAND [ARGUMENT...]

Its output is shown as it comes. The exit code is the command's.
"""

from __future__ import annotations

import subprocess
import sys
import time

EVERY = 5.0


def main(message: str, *command: str) -> int:
    """Run the command, with words around it."""
    say(f"{message} ...")
    started = time.monotonic()
    with subprocess.Popen(command) as process:
        while True:
            try:
                code = process.wait(timeout=EVERY)
            except subprocess.TimeoutExpired:
                say(f"  still at it, {time.monotonic() - started:.0f} s so far")
            else:
                break
    say(f"  {'done' if code == 0 else 'failed'} after {time.monotonic() - started:.0f} s")
    return code


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
