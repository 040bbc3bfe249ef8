"""Mocks in processes of their own, all behind one port: for load that one core cannot serve."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from attrs import define, frozen

from ._host import bind
from .ledger import Totals
from .server import MockRefold

START_WITHIN = 30.0
"""Seconds that a process has to say that it serves."""


@frozen
class Usage:
    """What the mocks have counted and used so far.

    :ivar totals: the counts of all ledgers together.
    :ivar cpu: seconds of CPU, of all processes together.
    """

    totals: Totals
    cpu: float


@define(eq=False)
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection


class MockProcesses:
    """Runs the same mock in several processes. The kernel spreads connections over them (Linux).

    They share nothing: neither a limit nor the keys of repeats, nor runs. Each has a part of the requests in its
    ledger, and `usage` adds up the counts. States: new, then running between `start` and `stop`, then stopped for good.

    :param options: arguments of `MockRefold` for each process, in order; they must be picklable.
    :param host: the address to bind.
    :param port: 0 for any free one.
    :ivar url: the base URL to give to clients, once started.
    :ivar api_key: the API key that is accepted, once started.
    :raises ValueError: where this system cannot share a port, or no options are given.
    """

    def __init__(self, options: Sequence[Mapping[str, Any]], *, host: str = "127.0.0.1", port: int = 0) -> None:
        if not options:
            raise ValueError("at least one process is needed")
        if len(options) > 1 and not hasattr(socket, "SO_REUSEPORT"):
            raise ValueError("this system cannot share a port between processes: use one")
        self._options = options
        self._host = host
        self._port = port
        self._workers: list[_Worker] = []
        self.url = ""
        self.api_key = ""

    def start(self) -> None:
        """Start the processes, and wait until all of them serve.

        :raises OSError: where they cannot listen.
        :raises RuntimeError: where a process ends instead.
        """
        context = multiprocessing.get_context("spawn")
        port, shared = self._port, len(self._options) > 1
        if shared and port:  # shared among these, and with nobody else
            bind(self._host, port).close()
        try:
            for options in self._options:
                ours, theirs = context.Pipe()
                arguments = ({**options, "host": self._host, "port": port, "reuse_port": shared}, theirs)
                process = context.Process(target=_serve, args=arguments, name="MockRefold", daemon=True)
                process.start()
                theirs.close()  # so that the pipe ends when the process does
                worker = _Worker(process, ours)
                self._workers.append(worker)
                self.url, self.api_key, port = _receive(worker)
        except BaseException:
            self.stop()
            raise

    def usage(self) -> Usage:
        """Return what all processes have counted and used so far."""
        totals, cpu = Totals(), 0.0
        for worker in self._workers:
            worker.pipe.send("usage")
        for worker in self._workers:
            usage = _receive(worker)
            totals.add(usage.totals)
            cpu += usage.cpu
        return Usage(totals, cpu)

    def stop(self) -> None:
        """Stop all processes; does nothing where there are none."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join(5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _receive(worker: _Worker) -> Any:
    """Return the next message of a process, or raise what it sent."""
    try:
        if not worker.pipe.poll(START_WITHIN):
            raise RuntimeError(f"a mock's process has not answered within {START_WITHIN:g} s")
        message = worker.pipe.recv()
    except EOFError:
        raise RuntimeError("a mock's process ended by itself") from None
    if isinstance(message, Exception):
        raise message
    return message


def _serve(options: Mapping[str, Any], pipe: Connection) -> None:
    """Serve until the other end of the pipe is closed, be it because that process has died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one decides
    server = MockRefold(**options)
    try:
        server.start()
    except OSError as error:
        pipe.send(error)
        return
    pipe.send((server.url, server.api_key, server.port))
    try:
        while pipe.recv():
            pipe.send(Usage(server.ledger.totals, time.process_time()))
    except (EOFError, ConnectionError):
        pass
    finally:
        server.stop()
