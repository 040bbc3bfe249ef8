"""Callbacks on event loops of several threads do not get into each other's way."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from refold_async._wire.scope import TaskScope
from refold_async._wire.timer import LoopTimer

KIND = contextvars.ContextVar("KIND", default="none")


class Meeting:
    """Expires in the same moment as another one, in another thread."""

    until = -math.inf

    def __init__(self, both: threading.Barrier, done: asyncio.Event) -> None:
        self._both = both
        self._done = done
        self.kind = "never called"

    def expire(self, now: float) -> None:
        self.kind = KIND.get()
        self.until = math.inf
        self._done.set()
        self._both.wait(10)


def in_two_threads(main: Callable[[], Any]) -> list[BaseException]:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return failures


def test_timers_of_two_loops_go_off_at_the_same_time() -> None:
    both = threading.Barrier(2)
    kinds: list[str] = []

    async def main() -> None:
        KIND.set("of a request")
        done = asyncio.Event()
        timer, meeting = LoopTimer(asyncio.get_running_loop()), Meeting(both, done)
        timer.timed.add(meeting)
        timer.note(asyncio.get_running_loop().time())
        async with asyncio.timeout(10):
            await done.wait()
        kinds.append(meeting.kind)

    assert in_two_threads(main) == []
    assert kinds == ["none", "none"]


@pytest.mark.parametrize("count", [30])
def test_scopes_of_two_loops_end_their_tasks_although_another_thread_is_in_a_callback(count: int) -> None:
    """One loop stays within a callback of its timer while the other one's scope, and then its timer, have to act."""
    inside, leave = threading.Event(), threading.Event()
    ended: list[int] = []

    class Staying:
        until = -math.inf

        def expire(self, now: float) -> None:
            self.until = math.inf
            inside.set()
            leave.wait(20)

    async def stay() -> None:
        timer = LoopTimer(asyncio.get_running_loop())
        timer.timed.add(Staying())
        timer.note(asyncio.get_running_loop().time())
        await asyncio.sleep(0.001)
        assert inside.is_set()

    async def act() -> None:
        await asyncio.to_thread(inside.wait, 10)
        loop = asyncio.get_running_loop()
        timer = LoopTimer(loop)
        for number in range(count):
            scope = TaskScope(timer)
            scope.end_at(loop.time() + (0.0 if number % 2 else 0.001))
            async with asyncio.timeout(10):
                with scope:
                    await asyncio.Event().wait()
            ended.append(number)
        leave.set()

    mains = iter([stay, act])
    lock = threading.Lock()

    async def main() -> None:
        with lock:
            mine = next(mains)
        try:
            await mine()
        finally:
            if mine is act:
                leave.set()

    assert in_two_threads(main) == []
    assert ended == list(range(count))
