"""A thread that owns a database connection, and runs one job after the other for event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, cast

import anyio.to_thread

from .._wire.loops import on_asyncio

T = TypeVar("T")

_Tell = Callable[[], object]

_Job = Callable[[], _Tell | None] | None
"""Does a job, and returns what tells its caller; or None, where nobody waits. None in its place ends the thread."""


class JobThread:
    """Runs jobs in the order they were given, in one daemon thread that starts with the first of them.

    What always holds: a job that was begun is finished, whoever is cancelled; one whose caller was cancelled before
    that is not begun. After a fork the child has a thread of its own.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._unfinished: deque[None] = deque()
        """One entry for each job that has not ended. Adding and removing are atomic."""
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._lock = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether no job runs or waits."""
        return not self._unfinished or self._pid != os.getpid()

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job, and return what it returns."""
        if on_asyncio():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[T] = loop.create_future()

            def tell(result: Any, error: BaseException | None) -> None:
                if not future.done():
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(error)

            def step() -> _Tell | None:
                if future.cancelled():
                    return None
                result, error = _outcome(job)
                return partial(loop.call_soon_threadsafe, tell, result, error)

            self._put(step)
            return await future
        return await anyio.to_thread.run_sync(self.run_sync, job, abandon_on_cancel=True)

    def run_sync(self, job: Callable[[], T]) -> T:
        """Run a job, and wait for it in this very thread."""
        future: Future[Any] = Future()

        def step() -> _Tell | None:
            if not future.set_running_or_notify_cancel():
                return None
            result, error = _outcome(job)
            return partial(future.set_result, result) if error is None else partial(future.set_exception, error)

        self._put(step)
        return cast("T", future.result())

    def stop(self) -> None:
        """End the thread after the jobs it has."""
        with self._lock:
            if self._thread is not None and self._pid == os.getpid():
                self._jobs.put(None)
            self._thread = None

    def _put(self, step: _Job) -> None:
        if self._thread is None or self._pid != os.getpid():
            with self._lock:
                if self._thread is None or self._pid != os.getpid():
                    self._jobs, self._unfinished, self._pid = SimpleQueue(), deque(), os.getpid()
                    work = (self._jobs, self._unfinished)
                    thread = threading.Thread(target=_work, args=work, name=self._name, daemon=True)
                    thread.start()
                    self._thread = thread
        self._unfinished.append(None)
        self._jobs.put(step)


def _outcome(job: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return job(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
        return None, error


def _work(jobs: SimpleQueue[_Job], unfinished: deque[None]) -> None:
    while (job := jobs.get()) is not None:
        tell = job()
        unfinished.popleft()  # before its caller goes on, and asks whether the thread is idle
        if tell is not None:
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                tell()
        del job, tell
