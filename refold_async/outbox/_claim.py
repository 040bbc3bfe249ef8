"""The fence of one call: the row says that it is being sent before the first byte can leave."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, frozen

from .._types.errors import RefoldError
from .._types.values import Receipt
from ._complete import complete
from ._row import Change, Row, begin, postpone
from ._store import DeliveryStore

if TYPE_CHECKING:
    from .._core.settings import Sending


def backoff(attempt: int) -> float:
    """Return the seconds until the next attempt: 1, 2, 4 … 300, of which up to half are left off by chance."""
    return min(300.0, 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)


@frozen
class Pace:
    """How deliveries are timed.

    :ivar deadline: seconds that one call may take, its wait for the rate limit included.
    :ivar slack: further seconds after which a sender that said nothing counts as lost: for the last write of its
        verdict, and for clocks that run at different speeds.
    :ivar freshness: seconds that a claim may take to be written. A process that was frozen meanwhile does not send.
    :ivar backoff: the seconds until the next attempt, from the number of attempts.
    :ivar clock: seconds that only grow.
    """

    deadline: float = 30.0
    slack: float = 30.0
    freshness: float = 15.0
    backoff: Callable[[int], float] = backoff
    clock: Callable[[], float] = time.monotonic


class ClaimRefusedError(RefoldError):
    """Another sender was faster, or this process was frozen: this attempt is not made."""


@define(eq=False)
class Claim:
    """The fence of one call, as its `before_send`.

    What always holds: `row` is the row that this attempt wrote, if it did; `has_sent` is false for as long as no byte
    of it can have left; and `ending` is what Refold said to it, if anything.
    """

    store: DeliveryStore
    pace: Pace
    before: Row
    place: str
    retry_within: float | None
    check: Callable[[], None] | None = None
    row: Row | None = None
    has_sent: bool = False
    ending: Receipt | RefoldError | None = None

    async def __call__(self, sending: Sending) -> None:
        if self.check is not None:
            self.check()
        started = self.pace.clock()
        mine = self.row
        lost_after = self.pace.deadline + self.pace.slack
        if mine is None:
            change = begin(
                self.before,
                key=sending.idempotency_key,
                place=self.place,
                retry_within=self.retry_within,
                lost_after=lost_after,
            )
        else:  # asked again before the same attempt, because its connection broke before the first byte
            change = postpone(mine, lost_after)
        was_kept = await self._take(mine or self.before, change)
        if not was_kept:
            raise ClaimRefusedError("another sender was faster; nothing was sent")
        if self.pace.clock() - started > self.pace.freshness:
            raise ClaimRefusedError("this process stood still before it could send; nothing was sent")
        self.has_sent = True

    async def _take(self, row: Row, change: Change) -> bool:
        self.has_sent = False
        kept = False

        async def take() -> None:
            nonlocal kept
            found = await self.store.move(row, change)
            if found is not None:
                self.row, kept = found, True

        await complete(take)
        return kept
