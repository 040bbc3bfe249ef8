"""The other end of a worker: giving it turns, with a limit on how long each may take."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any, Self

from . import cores
from .worker import READY

START_LIMIT = 60.0
"""Seconds that the imports may take."""


def plain_environment() -> dict[str, str]:
    """Give the environment without what clients take settings from: proxies, and Refold's own variables."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("REFOLD_")
    }


class TurnFailedError(Exception):
    """A contender raised, crashed or hung; the message says which."""


class Worker:
    """A contender in a process of its own. Its crash is its own, and a hang ends with its turn.

    :param measurement: the name of the measurement's module, whose `turn` is called.
    :param contender: the name of the contender's file.
    """

    def __init__(self, measurement: str, contender: str) -> None:
        self._ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        core = cores.core_for(cores.CLIENT)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", measurement, contender, *([] if core is None else [str(core)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=plain_environment(),
        )

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def turn(self, *, limit: float, **arguments: Any) -> Any:
        """Have it take a turn.

        :param limit: seconds after which it is killed.
        :raises TurnFailedError: when it raised, crashed or hung. After the latter two it is gone for good.
        """
        if not self.alive:
            raise TurnFailedError(self._how_it_ended())
        assert self._process.stdin is not None
        if not self._ready:
            self._ready = self._read_line(START_LIMIT) == READY.encode()
        try:
            self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
        except BrokenPipeError:
            self._process.wait()
            raise TurnFailedError(self._how_it_ended()) from None
        line = self._read_line(limit)
        answer = json.loads(line)
        if "failed" in answer:
            raise TurnFailedError(answer["failed"])
        return answer["ok"]

    def _read_line(self, limit: float) -> bytes:
        assert self._process.stdout is not None
        end = time.monotonic() + limit
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    self._process.kill()
                    self._process.wait()
                    raise TurnFailedError(f"hung: killed after {limit:.0f} s")
                read = os.read(self._process.stdout.fileno(), 65536)
                if not read:
                    self._process.wait()
                    raise TurnFailedError(self._how_it_ended())
                line += read
        return line

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        self._errors.seek(0)
        said = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return (
            f"crashed ({f'signal {-code}' if code < 0 else f'exit {code}'}): {said[-1][:200] if said else 'silently'}"
        )

    def close(self) -> None:
        """End the process; it gets two seconds to leave by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
