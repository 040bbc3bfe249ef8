"""What people and engines do with an event by its key: send it, look at it, and say what became of it. On any store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from .._types.errors import ConfigurationError, EventStateError, RetryLater, UnknownKeyError
from .._types.values import Receipt
from ..policies.fence import Event, State
from ._claim import Pace
from ._delivery import DeliveryClient, deliver_row
from ._row import Change, Row, again, digest_of, settle
from ._store import DeliveryStore

_BEHIND: Final = 5.0
"""Seconds after which to look again whether the event before it was settled."""


class OrderedStore(DeliveryStore, Protocol):
    """A store that knows the order within an ordering key."""

    async def is_behind(self, row: Row) -> bool:
        """Whether an event waits for an earlier one of its ordering key that neither fired nor was rejected."""


async def deliver_in_order(store: OrderedStore, client: DeliveryClient, key: str, *, pace: Pace | None) -> Receipt:
    """Do what `deliver` does, but not before the earlier events of its ordering key are settled.

    :raises RetryLater: while they are not.
    """
    row = await existing(store, key)
    if await store.is_behind(row):
        raise RetryLater("an earlier event of its ordering key is not settled", delay=_BEHIND)
    return await deliver_row(store, client, row, pace=pace)


async def existing(store: DeliveryStore, key: str) -> Row:
    """Return a row.

    :raises UnknownKeyError: for a key that was never put, or was pruned.
    """
    row = await store.load(key)
    if row is None:
        raise UnknownKeyError(f"the outbox has no event {key!r}: it was never put, rolled back, or pruned")
    return row


async def resolve(store: DeliveryStore, key: str, *, fired: bool) -> Row:
    """Say what became of an ambiguous event: True ends it as accepted, False queues it again.

    :raises EventStateError: for an event in another state.
    :raises UnknownKeyError: for a key that was never put, or was pruned.
    """
    return await _settle(
        store, key, State.AMBIGUOUS, "resolve", lambda row: settle(row, fired=fired, keep_payload=store.keeps_payloads)
    )


async def retry(store: DeliveryStore, key: str, *, fired_again: bool) -> Row:
    """Queue a rejected event again; with `fired_again` an accepted one.

    :raises EventStateError: for an event in another state, and an accepted one whose payload was dropped.
    :raises UnknownKeyError: for a key that was never put, or was pruned.
    """
    if not fired_again:
        return await _settle(store, key, State.REJECTED, "retry", lambda row: again(row, Event.RETRY))

    def fire_again(row: Row) -> Change:
        if digest_of(row.trigger) != row.digest:
            raise EventStateError(
                f"the payload of {key!r} was dropped once it was accepted (see keep_payloads=), so it cannot be "
                "fired again: put it once more"
            )
        return again(row, Event.FIRE_AGAIN)

    return await _settle(store, key, State.ACCEPTED, "retry", fire_again)


async def _settle(store: DeliveryStore, key: str, state: State, verb: str, change: Callable[[Row], Change]) -> Row:
    while True:
        row = await existing(store, key)
        if row.state is not state:
            cure = "it is being sent: wait for its verdict" if row.state.is_under_way else f"it is {row.state}"
            if row.state is State.ACCEPTED and verb == "retry":
                cure += "; say fired_again=True to fire it a second time"
            raise EventStateError(f"{verb}() takes an event that is {state}, and {key!r} is none: {cure}")
        after = await store.move(row, change(row))
        if after is not None:
            return after


def seconds(value: float) -> float:
    """Check a length of time.

    :raises ConfigurationError: for what cannot be one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ConfigurationError(f"seconds must be a number, 0 or more, not {value!r}")
    return float(value)
