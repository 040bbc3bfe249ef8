"""One event, from its row to its verdict: what any engine calls, as often as it likes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define

from .._types.errors import RefoldError, RetryLater, UnknownKeyError
from .._types.values import Idempotency, Receipt
from ..policies.fence import State, place_of, send_until
from ._claim import Claim, ClaimRefusedError, Pace
from ._ending import abandon, accepted, failed, held
from ._row import Change, Row, hold, lose
from ._store import DeliveryStore
from ._verdict import load_error, load_receipt

if TYPE_CHECKING:
    from .._core.settings import BeforeSend


class DeliveryClient(Protocol):
    """What is needed of a `RefoldClient`."""

    @property
    def idempotency(self) -> Idempotency | None:
        """The declared window, if any."""

    async def trigger(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        instance_tag: str | None = None,
        idempotency_key: str | None = None,
        first_sent_at: datetime | None = None,
        deadline: float | None = None,
        retry: None = None,
        before_send: BeforeSend | None = None,
    ) -> Receipt:
        """Fire one event."""


@define(eq=False)
class Pass:
    """The permission of a gate to make one call.

    :ivar began: when it was given, by the event loop's clock.
    """

    began: float


class DeliveryGate(Protocol):
    """Where events wait before their calls; `Gate` is one."""

    async def enter(self) -> Pass:
        """Wait until one more call may be made; then it must `leave`.

        :raises RetryLater: when that takes too long.
        """

    def check(self, one: Pass) -> None:
        """Check that the call may still be made.

        :raises CircuitOpenError: if it may not.
        """

    def leave(self, one: Pass, ending: Receipt | RefoldError | None) -> None:
        """Learn from the end of the call; None if it says nothing of Refold."""


async def deliver(store: DeliveryStore, client: DeliveryClient, key: str, *, pace: Pace | None = None) -> Receipt:
    """Send an event of an outbox, unless it is known what became of it. Any engine may call this, as often as it likes.

    It never fires an event twice, however often it is called and killed: what may have fired is sent again only with
    its own key, within the window that the client declares.

    :param key: as `put` returned it.
    :returns: the receipt; the first one again for an event that was accepted before.
    :raises RetryLater: call it again after `delay` seconds: it was not sent, or is being sent by another.
    :raises HeldError: it may have fired, and somebody must look. Do not call it again before that.
    :raises RefoldError: the rejection; the same one again for an event that was rejected before.
    :raises UnknownKeyError: for a key that was never put.
    :raises OutboxError: when the store fails.
    """
    row = await store.load(key)
    if row is None:
        raise UnknownKeyError(f"the outbox has no event {key!r}: it was never put, rolled back, or pruned")
    return await deliver_row(store, client, row, pace=pace)


async def deliver_row(
    store: DeliveryStore,
    client: DeliveryClient,
    row: Row,
    *,
    pace: Pace | None = None,
    gate: DeliveryGate | None = None,
) -> Receipt:
    """Do what `deliver` does for a row that was read just now.

    :param gate: what is to be sent goes through it, and is checked again once its slot was granted. Where the gate
        raises the row stays as it is.
    """
    pace = pace or Pace()
    idempotency = client.idempotency
    place = place_of(idempotency)
    retry_within = None if idempotency is None else idempotency.retry_within
    while True:
        ready = await _until_ready(store, row, place, retry_within)
        if isinstance(ready, Receipt):
            return ready
        claim = Claim(store, pace, ready, place, retry_within)
        try:
            return await (_send(client, claim) if gate is None else _send_through(gate, client, claim))
        except ClaimRefusedError:
            row = await _load(store, row.key)


async def _send_through(gate: DeliveryGate, client: DeliveryClient, claim: Claim) -> Receipt:
    one = await gate.enter()
    claim.check = lambda: gate.check(one)
    try:
        return await _send(client, claim)
    finally:
        gate.leave(one, claim.ending)


async def _until_ready(store: DeliveryStore, row: Row, place: str, retry_within: float | None) -> Row | Receipt:
    """Return the row if it may be sent now, or its receipt.

    :raises RefoldError: as `deliver` does.
    """
    while True:
        change: Change
        if row.state is State.ACCEPTED:
            return load_receipt(row.verdict)
        if row.state is State.REJECTED:
            raise load_error(row.verdict)
        if row.is_held:
            raise held(row)
        if not row.is_due:
            words = "it is being sent" if row.state.is_under_way else "it is not due yet"
            raise RetryLater(words, delay=0.0 if row.due is None else row.due - row.now)
        if row.state is State.QUEUED:
            return row
        if row.state.is_under_way:
            change = lose(row)
        else:
            until = send_until(State.AMBIGUOUS, row.sent, now=row.now, place=place, retry_within=retry_within)
            if until is not None and row.send_until is not None and row.now < row.send_until:
                return row
            change = hold(row)
        row = await store.move(row, change) or await _load(store, row.key)


async def _load(store: DeliveryStore, key: str) -> Row:
    row = await store.load(key)
    if row is None:
        raise UnknownKeyError(f"the event {key!r} was pruned")
    return row


async def _send(client: DeliveryClient, claim: Claim) -> Receipt:
    """Make the call, and write its verdict."""
    before = claim.before
    trigger = before.load_trigger()
    sent = before.sent
    failure: RefoldError
    try:
        receipt = await client.trigger(
            trigger.slug,
            trigger.event,
            trigger.payload,
            linked_account_id=trigger.linked_account_id,
            config_id=trigger.config_id,
            instance_tag=trigger.instance_tag,
            idempotency_key=trigger.idempotency_key if sent is None else sent.key,
            first_sent_at=None if sent is None else datetime.fromtimestamp(sent.at, UTC),
            deadline=claim.pace.deadline,
            retry=None,
            before_send=claim,
        )
    except RefoldError as error:
        failure = error
        claim.ending = None if isinstance(error, ClaimRefusedError) else error
    except BaseException:  # cancelled: nobody will be told of its response
        await abandon(claim)
        raise
    else:
        await accepted(claim, receipt)
        return receipt
    raise await failed(claim, failure)
