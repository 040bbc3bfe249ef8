"""The relay on a clock that jumps: what it sends, in which order, and what it does while Refold is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from refold_async import (
    AuthenticationError,
    BadRequestError,
    Delivery,
    Receipt,
    RefoldConnectionError,
    RefoldError,
    ServerError,
    Trigger,
)
from refold_async.outbox import EventHeld, Pace, Relay, RelayPaused, RelayResumed, State
from refold_async.outbox._row import settle
from tests.fakes.clock import run
from tests.fakes.outbox import MemoryStore, ScriptedClient

ACCEPTED = Receipt(message="queued", status_code=200)
DOUBT = ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)
EPOCH = 1_700_000_000.0


class World:
    """A store, a service that can be away, and what the relay told."""

    def __init__(self, folder: Path, *, seconds_per_call: float = 0.1) -> None:
        self.store = MemoryStore(clock=lambda: EPOCH + anyio.current_time(), path=folder / "refold.db")
        self.client = ScriptedClient(self._end)
        self.client.request = self._read
        self.told: list[Any] = []
        self.fired: list[tuple[float, str]] = []
        self.reads = 0
        self.seconds_per_call = seconds_per_call
        self.service: Callable[[str], RefoldError | None] = lambda event: None
        self.answers_reads: Callable[[], bool] = lambda: True
        self.most = 0
        self.now = 0

    def put(self, *keys: str, ordering_key: str | None = None) -> None:
        for key in keys:
            self.store.put(Trigger("crm", key, ordering_key=ordering_key), key)
        for listener in self.store.listeners:
            listener()

    async def _end(self, call: dict[str, Any]) -> Receipt:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(self.seconds_per_call)
        finally:
            self.now -= 1
        error = self.service(call["event"])
        if error is not None:
            raise error
        self.fired.append((anyio.current_time(), call["event"]))
        return ACCEPTED

    async def _read(self, *arguments: Any, **named: Any) -> None:
        self.reads += 1
        if not self.answers_reads():
            raise RefoldConnectionError("refused")

    def relay(self, **options: Any) -> Relay:
        options.setdefault("pace", Pace(backoff=lambda _: 2.0))
        return Relay(self.store, self.client, hooks=[self.told.append], prune_after=None, **options)  # type: ignore[arg-type]

    @property
    def names(self) -> list[str]:
        return [event for _, event in self.fired]

    def states(self) -> set[State]:
        return {row.state for row in self.store.rows.values()}


def test_events_are_sent_in_their_order_and_a_put_is_sent_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put("a", "b")
        async with world.relay(max_concurrency=1):
            await anyio.sleep(100)
            assert world.names == ["a", "b"]
            put_at = anyio.current_time()
            world.put("c")
            await anyio.sleep(1)
        assert world.fired[-1] == (put_at + world.seconds_per_call, "c")
        assert world.states() == {State.ACCEPTED}

    run("asyncio", main)


def test_no_more_are_under_way_than_allowed_and_all_places_are_used(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put(*(str(n) for n in range(50)))
        begun = anyio.current_time()
        async with world.relay(max_concurrency=5):
            await anyio.sleep(10)
        assert world.most == 5
        assert world.fired[49][0] - begun < 50 / 5 * world.seconds_per_call * 1.2

    run("asyncio", main)


def test_events_of_one_ordering_key_go_one_after_the_other_and_wait_behind_a_held_one(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put("a1", "a2", "a3", ordering_key="a")
        world.put("b1", "b2", ordering_key="b")
        world.service = lambda event: DOUBT if event == "a2" else None
        async with world.relay():
            await anyio.sleep(1000)
            assert world.names == ["a1", "b1", "b2"]
            assert world.store.rows["a2"].is_held
            assert [each.status.key for each in world.told] == ["a2"]
            assert isinstance(world.told[0], EventHeld)
            row = world.store.rows["a2"]
            await world.store.move(row, settle(row, fired=True, keep_payload=False))
            world.put("wake")
            await anyio.sleep(10)
        assert world.names == ["a1", "b1", "b2", "wake", "a3"] or world.names == ["a1", "b1", "b2", "a3", "wake"]

    run("asyncio", main)


def test_a_rejected_event_does_not_block_its_ordering_key(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put("a1", "a2", ordering_key="a")
        rejection = BadRequestError("no", status_code=400, delivery=Delivery.REJECTED)
        world.service = lambda event: rejection if event == "a1" else None
        async with world.relay():
            await anyio.sleep(10)
        assert world.names == ["a2"]
        assert not world.told

    run("asyncio", main)


def test_an_outage_of_an_hour_pauses_probes_with_reads_and_fires_everything_afterwards(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        ends = anyio.current_time() + 3600

        def is_away() -> bool:
            return anyio.current_time() < ends

        refused = RefoldConnectionError("refused", delivery=Delivery.NOT_SENT)
        world.service = lambda event: refused if is_away() else None
        world.answers_reads = lambda: not is_away()
        world.put(*(str(n) for n in range(100)))
        async with world.relay(max_concurrency=10):
            await anyio.sleep(3500)
            calls, reads = len(world.client.calls), world.reads
            assert calls <= 20, "the relay goes on sending into an outage"
            assert 600 <= reads <= 720
            await anyio.sleep(1000)
        assert sorted(world.names) == sorted(str(n) for n in range(100))
        assert [type(each) for each in world.told] == [RelayPaused, RelayResumed]
        assert world.told[1].seconds == pytest.approx(3600, abs=20)

    run("asyncio", main)


def test_what_an_outage_holds_is_at_most_what_was_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        ends = anyio.current_time() + 3600
        world.service = lambda event: DOUBT if anyio.current_time() < ends else None
        world.answers_reads = lambda: anyio.current_time() >= ends  # silence, for reads as well
        world.put(*(str(n) for n in range(100)))
        async with world.relay(max_concurrency=10):
            await anyio.sleep(5000)
        held = [row for row in world.store.rows.values() if row.is_held]
        assert len(held) <= 10
        assert len(world.fired) == 100 - len(held)

    run("asyncio", main)


def test_what_waits_for_its_slot_when_the_relay_pauses_is_not_sent(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        slot = anyio.Lock()

        async def wait_for_slot() -> None:
            async with slot:
                await anyio.sleep(1.0)

        world.client.before = wait_for_slot
        ends = anyio.current_time() + 600
        world.service = lambda event: DOUBT if anyio.current_time() < ends else None
        world.answers_reads = lambda: anyio.current_time() >= ends
        world.put(*(str(n) for n in range(40)))
        async with world.relay(max_concurrency=20):
            await anyio.sleep(500)
            assert {str(row.state) for row in world.store.rows.values() if not row.is_held} == {"queued"}
            await anyio.sleep(1000)
        held = [row.key for row in world.store.rows.values() if row.is_held]
        assert len(held) == 5, "it sent events into an outage that it knew of"
        assert sorted(world.names + held, key=int) == [str(n) for n in range(40)]

    run("asyncio", main)


def test_answers_that_were_on_their_way_when_an_outage_began_do_not_keep_the_relay_sending(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path, seconds_per_call=0.0)
        begins, ends = anyio.current_time() + 5, anyio.current_time() + 600
        slow = iter(range(1, 100))

        async def end(call: dict[str, Any]) -> Receipt:
            if anyio.current_time() < begins:
                await anyio.sleep(begins - anyio.current_time() + next(slow))  # answered, one a second, afterwards
            elif anyio.current_time() < ends:
                raise DOUBT
            world.fired.append((anyio.current_time(), call["event"]))
            return ACCEPTED

        world.client.ending = end
        world.answers_reads = lambda: anyio.current_time() >= ends
        world.put(*(str(n) for n in range(100)))
        async with world.relay(max_concurrency=10):
            await anyio.sleep(2000)
        held = [row for row in world.store.rows.values() if row.is_held]
        assert 1 <= len(held) <= 10
        assert len(world.fired) == 100 - len(held)

    run("asyncio", main)


def test_a_key_that_is_wrong_for_an_hour_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(tmp_path)
        ends = anyio.current_time() + 3600
        wrong = AuthenticationError("wrong key", status_code=401, delivery=Delivery.REJECTED)
        world.service = lambda event: wrong if anyio.current_time() < ends else None
        world.put(*(str(n) for n in range(50)))
        async with world.relay(max_concurrency=5):
            await anyio.sleep(3599)
            assert len(world.client.calls) < 40
            assert world.states() == {State.QUEUED}
            await anyio.sleep(1000)
        assert sorted(world.names) == sorted(str(n) for n in range(50))
        assert [type(each) for each in world.told] == [RelayPaused, RelayResumed]

    with caplog.at_level(logging.WARNING, "refold_async"):
        run("asyncio", main)
    assert any("pauses" in record.message and "wrong key" in record.message for record in caplog.records)


def test_what_a_dead_sender_left_is_told_of_as_held(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put("k")
        row = world.store.rows["k"]
        from refold_async.outbox._row import begin

        change = begin(row, key=None, place="x", retry_within=None, lost_after=60.0)
        await world.store.move(row, change)
        async with world.relay():
            await anyio.sleep(59)
            assert world.store.rows["k"].state is State.SENDING
            await anyio.sleep(5)
        assert world.store.rows["k"].is_held
        assert [type(each) for each in world.told] == [EventHeld]
        assert not world.client.calls

    run("asyncio", main)


def test_a_relay_that_begins_tells_of_what_is_held_already(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.put("a", "b")
        world.service = lambda event: DOUBT
        async with world.relay():
            await anyio.sleep(1)
        world.told.clear()
        async with world.relay():
            await anyio.sleep(1)
        assert [each.status.key for each in world.told] == ["a", "b"]

    with caplog.at_level(logging.ERROR, "refold_async"):
        run("asyncio", main)
    assert any("2 events may have fired" in record.message for record in caplog.records)


def test_what_is_under_way_when_the_block_ends_may_finish(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path, seconds_per_call=3.0)
        world.put("a")
        async with world.relay():
            await anyio.sleep(1)
        assert world.names == ["a"]
        assert world.states() == {State.ACCEPTED}
        assert not world.store.listeners

    run("asyncio", main)


def test_what_takes_longer_than_the_grace_is_cancelled_and_held(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path, seconds_per_call=30.0)
        world.put("a")
        async with world.relay():
            await anyio.sleep(1)
        assert world.store.rows["a"].is_held

    run("asyncio", main)


def test_what_is_raised_in_the_block_comes_out_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        with pytest.raises(ZeroDivisionError):
            async with world.relay():
                await anyio.sleep(1)
                raise ZeroDivisionError

    run("asyncio", main)


def test_a_second_relay_of_a_file_waits_and_takes_over(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        first, second = world.relay(), world.relay()

        async def run_first() -> None:
            async with first:
                await anyio.sleep(10)

        async with anyio.create_task_group() as group:
            group.start_soon(run_first)
            await anyio.sleep(1)
            async with second:
                await anyio.sleep(5)
                assert (first.is_active, second.is_active) == (True, False)
                await anyio.sleep(6)
                assert (first.is_active, second.is_active) == (False, True)
                world.put("a")
                await anyio.sleep(2)
        assert world.names == ["a"]

    run("asyncio", main)


class Abort(BaseException):
    """Not an `Exception`, and nothing that ends a program."""


async def _later() -> None:
    raise AssertionError("a hook is not awaited")


HOOKS: dict[str, Callable[[], object]] = {
    "an error": lambda: (_ for _ in ()).throw(ZeroDivisionError()),
    "no Exception": lambda: (_ for _ in ()).throw(Abort()),
    "a cancellation": lambda: (_ for _ in ()).throw(asyncio.CancelledError()),
    "a group": lambda: (_ for _ in ()).throw(BaseExceptionGroup("mine", [Abort()])),
    "a coroutine": _later,
}


@pytest.mark.parametrize("amiss", HOOKS)
def test_a_hook_that_fails_stops_nothing(tmp_path: Path, amiss: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> object:
        return HOOKS[amiss]()

    async def main() -> None:
        world = World(tmp_path)
        world.service = lambda event: DOUBT if event == "a" else None
        world.put("a", "b")
        hooks: list[Any] = [fail, world.told.append]
        relay = Relay(world.store, world.client, hooks=hooks, prune_after=None, max_concurrency=1)  # type: ignore[arg-type]
        async with relay:
            await anyio.sleep(10)
        assert world.names == ["b"]
        assert [type(each) for each in world.told] == [EventHeld], "the other hook is told all the same"

    run("asyncio", main)
    assert "a hook of the outbox on EventHeld" in caplog.text
