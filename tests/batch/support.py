"""What the tests of batches share: triggers with numbers, sources that count, and a record of outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
from attrs import define, field

from refold_async import Outcome, Trigger


def trigger(n: int, key: str | None = None) -> Trigger:
    """Give a trigger that the wire can tell by its number."""
    return Trigger("pipedrive", "Deal Created", {"n": n}, ordering_key=key)


class Rows:
    """A source that counts what was pulled, and notes how it was left.

    :param count: how many there are; None for no end.
    :param fails_at: the number at which it raises.
    """

    def __init__(self, count: int | None, *, fails_at: int | None = None, key: str | None = None) -> None:
        self._count = count
        self._fails_at = fails_at
        self._key = key
        self.pulled = 0
        self.closed = False

    def __iter__(self) -> Generator[Trigger]:
        try:
            while self._count is None or self.pulled < self._count:
                if self.pulled == self._fails_at:
                    raise OSError("the disk is gone")
                self.pulled += 1
                yield trigger(self.pulled - 1, self._key)
            if self.pulled == self._fails_at:
                raise OSError("the disk is gone")
        finally:
            self.closed = True

    async def asynchronous(self, seconds: float = 0.0) -> AsyncIterator[Trigger]:
        """Give them as an async generator that waits so long before each."""
        with closing(iter(self)) as rows:
            while True:
                await anyio.sleep(seconds)
                row = next(rows, None)
                if row is None:
                    return
                yield row


@define
class Told:
    """What `on_outcome` was told."""

    outcomes: list[Outcome] = field(factory=list)

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    @property
    def indexes(self) -> list[int]:
        """In the order in which they came."""
        return [outcome.index for outcome in self.outcomes]

    @property
    def kinds(self) -> list[str]:
        """The verdict of each, or the name of its error, in input order."""
        ordered = sorted(self.outcomes, key=lambda outcome: outcome.index)
        return [outcome.delivery.value if outcome.ok else type(outcome.error).__name__ for outcome in ordered]


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Hold that no task is left of those that are started in the block, where the loop tells."""
    before = _tasks()
    yield
    assert _tasks() <= before


def _tasks() -> set[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()  # trio's nurseries leave none
