"""Processes in which measurements take their turns, with a limit on how long each turn may take."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from . import machine

START_LIMIT: Final = 60.0
"""Seconds that the imports may take."""

_CONTEXT: Final = multiprocessing.get_context("spawn")
_STARTING: Final = Lock()


class TurnFailedError(Exception):
    """A contender raised, crashed or hung; the message says which."""


class Worker:
    """A process of its own. Its crash is its own, and a hang ends with its turn.

    :param module: the one whose `turn` is called.
    :param core: the core to keep it on: the client's or the server's.
    """

    def __init__(self, module: str, *, core: int = machine.CLIENT) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(module, core, theirs), daemon=True)
        with _starting():
            self._process.start()
        theirs.close()
        self._ready = False

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    def turn(self, *, limit: float, **arguments: Any) -> Any:
        """Have it take a turn.

        :param limit: seconds after which it is killed.
        :raises TurnFailedError: when it raised, crashed or hung. After the latter two it is gone for good.
        """
        if not self._ready:
            self._answer(START_LIMIT)
            self._ready = True
        try:
            self._pipe.send(arguments)
        except ConnectionError:
            raise self._crashed() from None
        return self._answer(limit)

    def _answer(self, limit: float) -> Any:
        if not self._pipe.poll(limit):
            self._process.kill()
            self._process.join()
            raise TurnFailedError(f"hung: killed after {limit:.0f} s")
        try:
            succeeded, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise self._crashed() from None
        if not succeeded:
            raise TurnFailedError(answer)
        return answer

    def _crashed(self) -> TurnFailedError:
        self._process.join()
        code = self._process.exitcode or 0
        return TurnFailedError(f"crashed ({f'signal {-code}' if code < 0 else f'exit {code}'})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        if self.alive:
            self._process.kill()
            self._process.join()
        self._process.close()


@contextmanager
def _starting() -> Iterator[None]:
    """Set the environment that a process is to have, while it is started: `multiprocessing` takes none."""
    with _STARTING:
        kept = dict(os.environ)
        os.environ.clear()
        os.environ.update(machine.environment())
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(kept)


def _work(module: str, core: int, pipe: Connection) -> None:
    """Take turns until the pipe is closed. What a contender prints is not for standard output."""
    os.dup2(2, 1)
    machine.pin(core)
    measurement = import_module(module)
    pipe.send((True, "ready"))
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, measurement.turn(**arguments)))
        except Exception as error:  # noqa: BLE001 - whatever a contender raises is its result
            pipe.send((False, described(error)))


def described(error: BaseException) -> str:
    """Return the type and message of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
