"""The near end of a worker: giving it turns, with a limit on how long each may take."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from . import machine
from .worker import READY

START_LIMIT = 60.0
"""Seconds that the imports may take."""


class TurnFailedError(Exception):
    """A contender raised, crashed or hung; the message says which."""


class Worker:
    """A process in which a measurement takes its turns. Its crash is its own, and a hang ends with its turn.

    :param measurement: the module whose `turn` is called.
    :param under: the command of a tool that runs the process, such as valgrind.
    """

    def __init__(self, measurement: str, *, under: Sequence[str] = ()) -> None:
        self._ready = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        core = machine.core_for(machine.CLIENT)
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "benchmarks.worker", measurement, *([] if core is None else [str(core)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=machine.plain_environment(),
        )

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def turn(self, *, limit: float, **arguments: Any) -> Any:
        """Have it take a turn.

        :param limit: seconds after which it is killed.
        :raises TurnFailedError: when it raised, crashed or hung. After the latter two it is gone for good.
        """
        if not self.alive:
            raise TurnFailedError(self._how_it_ended())
        assert self.process.stdin is not None
        if not self._ready:
            self._ready = self._read_line(START_LIMIT) == READY.encode()
        try:
            self.process.stdin.write(json.dumps(arguments).encode() + b"\n")
        except BrokenPipeError:
            self.process.wait()
            raise TurnFailedError(self._how_it_ended()) from None
        answer = json.loads(self._read_line(limit))
        if "failed" in answer:
            raise TurnFailedError(answer["failed"])
        return answer["ok"]

    def _read_line(self, limit: float) -> bytes:
        assert self.process.stdout is not None
        end = time.monotonic() + limit
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.process.kill()
                    self.process.wait()
                    raise TurnFailedError(f"hung: killed after {limit:.0f} s")
                read = os.read(self.process.stdout.fileno(), 65536)
                if not read:
                    self.process.wait()
                    raise TurnFailedError(self._how_it_ended())
                line += read
        return line

    def _how_it_ended(self) -> str:
        code = self.process.returncode
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        return f"crashed ({how}): {lines[-1][:200] if lines else 'silently'}"

    def close(self) -> None:
        """End the process; it gets five seconds to leave by itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
