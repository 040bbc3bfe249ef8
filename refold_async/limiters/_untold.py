"""Grants of which nobody has said yet whether they were used."""

from __future__ import annotations

import asyncio
import os

from ._queue import is_closed

_running_loop = asyncio._get_running_loop  # noqa: SLF001 - documented, and returns None where none runs


class UntoldGrants:
    """How many grants are under way, on which event loop.

    A grant whose event loop was closed is never told, and is not always collected either: something may hold on to the
    task that had it. So it is `forgotten` as soon as somebody has to wait. The same holds for those which stayed behind
    in the parent process. On trio each task ends before its loop. Its owner's lock guards all of it.
    """

    __slots__ = ("_counts", "_process")

    def __init__(self) -> None:
        self._counts: dict[asyncio.AbstractEventLoop | None, int] = {}
        self._process = os.getpid()

    def add(self) -> asyncio.AbstractEventLoop | None:
        """Note one on the running event loop. Returns the loop, by which it is taken out."""
        loop = _running_loop()
        self._counts[loop] = self._counts.get(loop, 0) + 1
        return loop

    def remove(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Take out one that is told now. Returns whether it was still there: False once it was forgotten."""
        count = self._counts.get(loop, 0)
        if count > 1:
            self._counts[loop] = count - 1
        elif count:
            del self._counts[loop]
        return count > 0

    def forget(self) -> int:
        """Take out those that nobody will tell. Returns how many they were."""
        counts = self._counts
        if self._process != os.getpid():
            self._process = os.getpid()
            self._counts = {}
            return sum(counts.values())
        return sum([counts.pop(loop) for loop in list(counts) if is_closed(loop)])
