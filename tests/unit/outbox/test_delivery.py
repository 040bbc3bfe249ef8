"""`deliver` by example: what each ending of a call makes of the row, and what a second delivery gets."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from refold_async import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConflictError,
    Delivery,
    HeldError,
    Idempotency,
    InvalidTriggerError,
    OutboxWriteError,
    RateLimitedError,
    Receipt,
    RefoldConnectionError,
    RefoldError,
    RetryLater,
    ServerError,
    Trigger,
    UnknownKeyError,
)
from refold_async.outbox._claim import Pace, backoff
from refold_async.outbox._delivery import deliver
from refold_async.outbox._row import Change, Row, encode_trigger, settle
from refold_async.policies.fence import State
from tests.fakes.outbox import MemoryStore, ScriptedClient

pytestmark = pytest.mark.anyio

TRIGGER = Trigger("crm", "Placed", {"id": 7}, linked_account_id="acme", instance_tag="t")


class Bench:
    """One event, a clock that a test moves, and a client that ends as the test says."""

    def __init__(self, *, window: float | None = None) -> None:
        self.now = 1_000_000.0
        self.mono = 0.0
        self.store = MemoryStore(clock=lambda: self.now)
        self.store.put(TRIGGER, "k")
        self.ending: Receipt | RefoldError = Receipt(message="queued", status_code=200, request_id="r", raw=b"{}")
        declared = None if window is None else Idempotency(header="X-Key", window=window)
        self.client = ScriptedClient(self._end, declared)
        self.pace = Pace(backoff=lambda _: 5.0, clock=lambda: self.mono)

    async def _end(self, call: dict[str, Any]) -> Receipt:
        if isinstance(self.ending, Receipt):
            return self.ending
        raise self.ending

    async def deliver(self) -> Receipt:
        return await deliver(self.store, self.client, "k", pace=self.pace)

    @property
    def row(self) -> Row:
        return self.store.rows["k"]


async def test_an_accepted_event_is_sent_once_and_its_receipt_is_replayed_as_it_was() -> None:
    bench = Bench()
    receipt = await bench.deliver()
    assert bench.row.state is State.ACCEPTED
    again = await bench.deliver()
    assert again == receipt
    assert again.raw == b"{}"
    assert len(bench.client.calls) == 1
    sent = bench.client.calls[0]
    assert (sent["slug"], sent["event"], sent["payload"]) == ("crm", "Placed", {"id": 7})
    assert (sent["linked_account_id"], sent["instance_tag"]) == ("acme", "t")


async def test_the_payload_of_an_accepted_event_is_dropped_unless_it_is_to_be_kept() -> None:
    bench = Bench()
    await bench.deliver()
    assert bench.row.load_trigger().payload is None
    bench = Bench()
    bench.store.keeps_payloads = True
    await bench.deliver()
    assert bench.row.load_trigger().payload == {"id": 7}


async def test_a_rejection_is_raised_again_as_it_was() -> None:
    bench = Bench()
    bench.ending = BadRequestError(
        "no such event", status_code=400, error_code="INVALID_EVENT", body="{}", delivery=Delivery.REJECTED, attempts=1
    )
    for _ in range(2):
        with pytest.raises(BadRequestError, match="no such event") as caught:
            await bench.deliver()
        assert (caught.value.status_code, caught.value.error_code) == (400, "INVALID_EVENT")
        assert caught.value.delivery is Delivery.REJECTED
    assert bench.row.state is State.REJECTED
    assert len(bench.client.calls) == 1


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (RateLimitedError("slow", status_code=429, delivery=Delivery.REJECTED, retry_after=40.0), 40.0),
        (AuthenticationError("who", status_code=401, delivery=Delivery.REJECTED), 5.0),
        (RefoldConnectionError("reset", delivery=Delivery.NOT_SENT), 5.0),
    ],
    ids=["429", "401", "not sent"],
)
async def test_what_did_not_fire_for_a_reason_that_passes_is_queued_and_due_later(
    error: RefoldError, delay: float
) -> None:
    bench = Bench()
    bench.ending = error
    with pytest.raises(RetryLater) as caught:
        await bench.deliver()
    assert caught.value.delay == delay
    assert caught.value.__cause__ is error
    assert (bench.row.state, bench.row.due) == (State.QUEUED, bench.now + delay)
    assert bench.row.sent is None
    with pytest.raises(RetryLater):
        await bench.deliver()
    assert len(bench.client.calls) == 1, "it was sent before it was due"
    bench.now += delay
    bench.ending = Receipt(message="queued", status_code=200)
    await bench.deliver()
    assert bench.row.state is State.ACCEPTED


async def test_what_may_have_fired_is_held_and_never_sent_again_by_itself() -> None:
    bench = Bench()
    bench.ending = ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)
    for _ in range(2):
        with pytest.raises(HeldError) as caught:
            await bench.deliver()
        assert caught.value.delivery is Delivery.AMBIGUOUS
        assert not caught.value.safe_to_resend
    assert bench.row.is_held
    assert len(bench.client.calls) == 1


async def test_a_conflict_on_a_key_that_was_used_before_is_held() -> None:
    bench = Bench()
    bench.ending = ConflictError("seen", status_code=409, delivery=Delivery.AMBIGUOUS)
    with pytest.raises(HeldError):
        await bench.deliver()


async def test_with_a_declared_window_it_is_sent_again_with_its_own_key_and_held_after_the_window() -> None:
    bench = Bench(window=300.0)
    bench.ending = ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)
    first = bench.now
    while bench.now < first + 240:
        with pytest.raises(RetryLater):
            await bench.deliver()
        bench.now += 5.0
    with pytest.raises(HeldError):
        await bench.deliver()
    assert bench.row.is_held
    assert len({call["idempotency_key"] for call in bench.client.calls}) == 1
    assert all(call["first_sent_at"].timestamp() == first for call in bench.client.calls[1:])
    assert len(bench.client.calls) > 10


async def test_a_program_that_is_interrupted_during_the_call_leaves_a_doubt() -> None:
    bench = Bench()

    async def interrupt(call: dict[str, Any]) -> Receipt:
        raise KeyboardInterrupt

    bench.client.ending = interrupt
    with pytest.raises(KeyboardInterrupt):
        await bench.deliver()
    assert bench.row.is_held


async def test_a_row_that_says_sending_is_left_alone_until_its_sender_counts_as_lost() -> None:
    bench = Bench()
    held: list[Any] = []

    async def look(call: dict[str, Any]) -> Receipt:
        assert bench.row.state is State.SENDING
        with pytest.raises(RetryLater):
            await deliver(bench.store, other, "k", pace=bench.pace)
        bench.now += 61.0
        with pytest.raises(HeldError) as caught:
            await deliver(bench.store, other, "k", pace=bench.pace)
        held.append(caught.value)
        return Receipt(message="late", status_code=200)

    other = ScriptedClient(look)
    bench.client.ending = look
    receipt = await bench.deliver()
    assert held
    assert receipt.message == "late"
    assert bench.row.state is State.ACCEPTED, "a late acceptance says more than a doubt"
    assert not other.calls


async def test_a_late_rejection_does_not_undo_a_doubt() -> None:
    bench = Bench()

    async def late(call: dict[str, Any]) -> Receipt:
        bench.now += 61.0
        with pytest.raises(HeldError):
            await bench.deliver()
        raise BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)

    bench.client.ending = late
    with pytest.raises(HeldError):
        await bench.deliver()
    assert bench.row.is_held


async def test_a_late_verdict_does_not_touch_what_somebody_settled_meanwhile() -> None:
    bench = Bench()

    async def late(call: dict[str, Any]) -> Receipt:
        bench.now += 61.0
        with pytest.raises(HeldError):
            await bench.deliver()
        await bench.store.move(bench.row, settle(bench.row, fired=False, keep_payload=False))
        raise ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)

    bench.client.ending = late
    with pytest.raises(RetryLater):
        await bench.deliver()
    assert bench.row.state is State.QUEUED


async def test_an_open_circuit_leaves_the_row_as_it_is() -> None:
    bench = Bench()
    before = bench.row

    async def refuse() -> None:
        raise CircuitOpenError("open")

    bench.client.before = refuse
    with pytest.raises(RetryLater):
        await bench.deliver()
    assert bench.row == before


async def test_a_connection_that_is_refused_makes_the_row_due_later() -> None:
    bench = Bench()

    async def refuse() -> None:
        raise RefoldConnectionError("refused")

    bench.client.before = refuse
    with pytest.raises(RetryLater):
        await bench.deliver()
    assert (bench.row.state, bench.row.attempt, bench.row.due) == (State.QUEUED, 0, bench.now + 5.0)


async def test_a_trigger_that_can_never_be_sent_is_rejected_without_an_attempt() -> None:
    bench = Bench()

    async def refuse() -> None:
        raise InvalidTriggerError("no account")

    bench.client.before = refuse
    for _ in range(2):
        with pytest.raises(InvalidTriggerError, match="no account"):
            await bench.deliver()
    assert (bench.row.state, bench.row.attempt) == (State.REJECTED, 0)


@pytest.mark.parametrize("failure", [InvalidTriggerError("no account"), RefoldConnectionError("refused")])
async def test_what_fails_here_while_another_process_sent_it_ends_as_its_row_says(failure: RefoldError) -> None:
    bench = Bench()

    async def refuse_after_another_has_sent() -> None:
        bench.client.before = None
        await bench.deliver()  # by a process with other settings, or another way to Refold
        raise failure

    bench.client.before = refuse_after_another_has_sent
    assert (await bench.deliver()).status_code == 200
    assert bench.row.state is State.ACCEPTED


async def test_a_process_that_stood_still_while_its_claim_was_written_sends_nothing() -> None:
    bench = Bench()

    async def freeze(name: str) -> None:
        if name == "moved" and bench.mono == 0.0:
            bench.mono = 16.0

    bench.store.gate = freeze
    with pytest.raises(RetryLater):
        await bench.deliver()
    assert bench.row.state is State.QUEUED


async def test_a_verdict_that_cannot_be_written_leaves_the_row_sending_and_never_queued() -> None:
    bench = Bench()

    class Full(MemoryStore):
        async def move(self, row: Row, change: Change) -> Row | None:
            if row.state.is_under_way:
                raise OutboxWriteError("the disk is full")
            return await super().move(row, change)

    store = Full(bench.store.rows, bench.store.clock)
    bench.ending = BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)
    with pytest.raises(OutboxWriteError) as caught:
        await deliver(store, bench.client, "k", pace=bench.pace)
    assert caught.value.delivery is Delivery.REJECTED
    assert bench.row.state is State.SENDING


async def test_a_key_that_nobody_put_is_named() -> None:
    with pytest.raises(UnknownKeyError, match="'nobody'"):
        await deliver(MemoryStore(), Bench().client, "nobody")


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Trigger("crm", "E", files={"f": b"x"}), "keeps no files"),
        (Trigger("crm", "E", {"a": object()}), "as JSON"),
        (Trigger("crm", "E", {"a": float("nan")}), "as JSON"),
        (Trigger("", "E"), "slug"),
        (Trigger("crm", "E", {"a": [{1: "b"}]}), "name of a field"),
        (Trigger("crm", "E", ordering_key="\ud800"), "no database keeps"),
        (Trigger("crm", "E", instance_tag="a\0b"), "no database keeps"),
        (Trigger("crm", "E", ordering_key=3), "ordering_key"),  # type: ignore[arg-type]
        ("crm", "takes a Trigger"),
    ],
)
async def test_what_an_outbox_cannot_keep_is_refused(trigger: Any, words: str) -> None:
    with pytest.raises(InvalidTriggerError, match=words):
        encode_trigger(trigger)


async def test_the_backoff_grows_and_is_bounded() -> None:
    assert all(0.5 * 2.0**n <= backoff(n) <= 2.0**n for n in range(8))
    assert 150 <= backoff(10_000) <= 300


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("by", ["scope", "task"])
async def test_an_event_whose_sender_is_cancelled_while_it_waits_for_the_response_is_held(by: str) -> None:
    bench = Bench()
    on_wire = anyio.Event()

    async def wait(call: dict[str, Any]) -> Receipt:
        on_wire.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def gate(name: str) -> None:
        await anyio.lowlevel.checkpoint()

    bench.client.ending, bench.store.gate = wait, gate
    if by == "task":
        task = asyncio.ensure_future(bench.deliver())
        await on_wire.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(bench.deliver)
            await on_wire.wait()
            group.cancel_scope.cancel()
    assert bench.row.is_held


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("at", ["move", "moved"])
async def test_an_event_whose_sender_is_cancelled_while_it_writes_its_claim_is_queued_again(at: str) -> None:
    bench = Bench()
    reached = anyio.Event()
    go_on = anyio.Event()

    async def gate(name: str) -> None:
        if name == at and not reached.is_set():
            reached.set()
            await go_on.wait()

    bench.store.gate = gate
    task = asyncio.ensure_future(bench.deliver())
    await reached.wait()
    task.cancel()
    await anyio.lowlevel.checkpoint()
    assert not task.done(), "the claim was left half written"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.row.state, bench.row.attempt) == (State.QUEUED, 1)
    assert (await bench.deliver()).status_code == 200
