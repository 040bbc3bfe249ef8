"""What the two batch calls give: all outcomes at the end, or each as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from operator import attrgetter
from types import TracebackType
from typing import Literal, Self

import anyio

from .._core.sender import Sender
from .._logging import logger
from .._types.errors import ConfigurationError
from .._types.results import BatchResult, Outcome
from .options import BatchOptions, Source
from .workers import Batch


async def send_all(sender: Sender, source: Source, options: BatchOptions) -> BatchResult:
    """Send everything, and give the outcomes in input order.

    :raises BatchInterruptedError: when the source raised.
    """
    outcomes: list[Outcome] = []

    async with Batch(sender, source, options, outcomes.append, lambda: None, streamed=False) as batch:
        await batch.ended.wait()
    outcomes.sort(key=attrgetter("index"))
    if batch.source_error is not None:
        raise batch.interruption(outcomes, "they are in .result")
    return BatchResult(outcomes)


class OutcomeStream(AbstractAsyncContextManager["OutcomeStream"], AsyncIterator[Outcome]):
    """The outcomes of a batch that runs for as long as the block does, as they complete or in input order.

    When all were given it raises `BatchInterruptedError`, if the source raised. Its `.result` holds those that
    nobody had taken when that happened: the source may have been endless, and they are all that is still held.
    """

    def __init__(self, sender: Sender, source: Source, options: BatchOptions, *, ordered: bool) -> None:
        self._ordered = ordered
        self._done: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._next_index = 0
        self._untaken: list[Outcome] | None = None
        self._news: anyio.Event | None = None
        self._finished = False
        self._told = False  # of what the source raised
        self._block: Literal["ahead", "inside", "over"] = "ahead"
        self._batch = Batch(sender, source, options, self._deliver, self._finish, streamed=True)

    async def __aenter__(self) -> Self:
        if self._block != "ahead":
            raise ConfigurationError("a stream runs once: call trigger_stream() again for another")
        await self._batch.__aenter__()
        self._block = "inside"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._block = "over"
        try:
            await self._batch.__aexit__(kind, error, traceback)
        finally:
            if self._batch.source_error is not None and not self._told:
                cause = type(self._batch.source_error).__name__
                logger.warning("the source of the batch raised %s, and the block was left without noticing", cause)

    def _deliver(self, outcome: Outcome) -> None:
        if self._batch.source_error is not None:
            self._note_interruption()
        if self._untaken is not None:
            self._untaken.append(outcome)
        if self._ordered:
            self._put_in_order(outcome)
        else:
            self._done.append(outcome)
        if self._news is not None:
            self._tell()

    def _finish(self) -> None:
        self._note_interruption()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    def _put_in_order(self, outcome: Outcome) -> None:
        self._early[outcome.index] = outcome
        while self._next_index in self._early:
            self._done.append(self._early.pop(self._next_index))
            self._next_index += 1

    def _note_interruption(self) -> None:
        if self._untaken is None and self._batch.source_error is not None:
            self._untaken = [*self._done, *self._early.values()]

    async def __anext__(self) -> Outcome:
        self._note_interruption()
        while not self._done or self._block != "inside":
            if self._block == "ahead" or (self._block == "over" and not self._finished):
                raise ConfigurationError(
                    "the outcomes of a stream are there only inside its block: "
                    "`async with client.trigger_stream(...) as outcomes:`, and in it `async for outcome in outcomes:`"
                )
            if self._batch.ended.is_set():
                self._finished = True
                if self._batch.source_error is not None and not self._told:
                    self._told = True
                    raise self._batch.interruption(self._untaken or (), "all were given, the last ones are in .result")
                raise StopAsyncIteration
            if self._news is None:
                self._news = anyio.Event()
            await self._news.wait()
        outcome = self._done.popleft()
        self._batch.release()
        return outcome
