"""What a store of events must be able to do, so that any engine can deliver them."""

from __future__ import annotations

from typing import Protocol

from ._row import Change, Row


class DeliveryStore(Protocol):
    """Keeps the rows of an outbox, durably, where all senders see the same.

    Its own clock makes all stamps, so that hosts need not agree on the time.
    """

    @property
    def keeps_payloads(self) -> bool:
        """Whether the payload of an accepted event stays."""

    async def load(self, key: str) -> Row | None:
        """Return a row with the store's time in `now`; None if there is none of this key.

        :raises OutboxError: when it cannot be read.
        """

    async def move(self, row: Row, change: Change) -> Row | None:
        """Take one step: one atomic `UPDATE … WHERE key AND state AND attempt`, durable when it returns.

        Where the change says ACCEPTED or REJECTED, and rows of the same ordering key wait, they may be due now.

        :returns: the row as it is now; None if another was faster, and nothing was changed.
        :raises OutboxError: when it cannot be written; then nothing was changed, or nobody knows.
        """
