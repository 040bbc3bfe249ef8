"""An hour without Refold for workers of procrastinate, on a clock that jumps. Rows and jobs are in memory."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

import anyio
import pytest

pytest.importorskip("procrastinate")
import anyio.lowlevel
import procrastinate
from procrastinate.testing import InMemoryConnector

from refold_async import (
    AuthenticationError,
    CircuitOpenError,
    Delivery,
    Receipt,
    RefoldClient,
    RefoldConnectionError,
    RefoldError,
    RetryLater,
    Trigger,
)
from refold_async.outbox import EventHeld, RelayPaused, RelayResumed
from refold_async.outbox import _jobs as sql
from refold_async.outbox._gate import Gate
from refold_async.outbox._pause import Pause, PauseState
from refold_async.outbox.procrastinate import Outbox
from tests.cli.batch.test_outage import BEGINS, HOUR, PAGES, REFUSED, SILENCE
from tests.fakes.clock import run
from tests.fakes.outbox import MemoryStore, ScriptedClient

from .test_relay_outage import Uneven

EVENTS, PROCESSES, CONCURRENCY = 1200, 2, 5
EPOCH = 1_700_000_000.0


class Jobs:
    """What procrastinate does with the jobs of all processes.

    :ivar runs: how often a job was begun.
    """

    def __init__(self) -> None:
        self.store = MemoryStore(clock=lambda: EPOCH + anyio.current_time())
        self.waiting: list[tuple[float, str]] = []
        self.ended: dict[str, str] = {}
        self.runs = 0
        self.moved = anyio.Event()

    def put(self, key: str, trigger: Trigger) -> None:
        self.store.put(trigger, key)
        self.add(0.0, key)

    def add(self, at: float, key: str) -> None:
        heapq.heappush(self.waiting, (at, key))
        self.moved.set()
        self.moved = anyio.Event()

    def hurry(self) -> None:
        """What `_jobs.HURRY` does."""
        now, waiting = anyio.current_time(), self.waiting
        self.waiting = []
        for at, key in waiting:
            due = self.store.rows[key].due
            self.add(min(at, now) if due is not None and due <= EPOCH + now else at, key)

    async def next(self) -> str:
        while True:
            wait = self.waiting[0][0] - anyio.current_time() if self.waiting else 3600.0
            if wait <= 0:
                return heapq.heappop(self.waiting)[1]
            moved = self.moved
            with anyio.move_on_after(wait):
                await moved.wait()


class WorkerOutbox(Outbox):
    """The outbox of one worker process."""

    def __init__(self, jobs: Jobs, **options: Any) -> None:
        super().__init__(procrastinate.App(connector=InMemoryConnector()), **options)
        self.jobs = jobs
        self.load, self.move = jobs.store.load, jobs.store.move  # type: ignore[method-assign]

    async def is_behind(self, row: Any) -> bool:
        return False

    async def _execute(self, statement: str, values: Any) -> list[Any]:
        assert statement == sql.HURRY
        self.jobs.hurry()
        return []

    async def work(self) -> None:
        """Run jobs, one after the other: one of the places of a worker."""
        task = self._app.tasks[self._task]
        strategy = task.retry_strategy
        assert strategy is not None
        while True:
            key = await self.jobs.next()
            self.jobs.runs += 1
            try:
                await task(key=key)
            except Exception as error:  # noqa: BLE001 - as procrastinate does
                decision = strategy.get_retry_decision(exception=error, job=None)  # type: ignore[arg-type]
                if decision is None:
                    self.jobs.ended[key] = "failed"
                else:
                    assert decision.retry_at is not None
                    now = procrastinate.utils.utcnow()
                    self.jobs.add(anyio.current_time() + (decision.retry_at - now).total_seconds(), key)
            else:
                self.jobs.ended[key] = "succeeded"


@pytest.mark.parametrize("outage", [REFUSED, PAGES, SILENCE])
def test_after_an_hour_without_refold_workers_have_fired_every_event_but_what_was_in_flight(
    outage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refold_async._core.lifecycle.OTHER_RATE", 1e6)  # the pace of reads goes by a real clock
    service, told = Uneven(outage), list[Any]()

    async def main() -> None:
        jobs = Jobs()
        for number in range(EVENTS):
            jobs.put(str(number), Trigger("crm", "Placed", {"n": number}))
        client = RefoldClient(api_key="tk_1", linked_account_id="acct_1", rate_limit=None, transport=service)
        async with client, anyio.create_task_group() as group:
            for _ in range(PROCESSES):
                outbox = WorkerOutbox(jobs, client=client, hooks=[told.append])
                for _ in range(CONCURRENCY):
                    group.start_soon(outbox.work)
            await anyio.sleep(BEGINS + HOUR)
            before, runs = len(service.fired), jobs.runs
            await anyio.sleep(900)
            group.cancel_scope.cancel()
        held = {int(key) for key, row in jobs.store.rows.items() if row.is_held}
        assert BEGINS * 15 < before < EVENTS - 100, "the outage was not in the middle"
        assert runs - before < (HOUR + 60) * PROCESSES * CONCURRENCY / 5, "jobs are put off faster than they wait"
        assert len(service.fired) == len(set(service.fired)), "fired twice"
        assert set(service.fired) == set(range(EVENTS)) - held
        assert jobs.ended == {str(n): "failed" if n in held else "succeeded" for n in range(EVENTS)}
        if outage == REFUSED:
            assert not held
        else:
            assert 1 <= len(held) <= PROCESSES * CONCURRENCY
        assert service.triggers_in_outage <= 2 * PROCESSES * CONCURRENCY, "workers went on sending into the outage"
        assert HOUR / 16 <= len(service.reads) / PROCESSES <= HOUR / 5, "each process makes one read at a time"
        assert max(row.attempt for row in jobs.store.rows.values()) <= 2, "attempts were burnt"
        assert {each.status.key for each in told if isinstance(each, EventHeld)} == {str(n) for n in held}

    run("asyncio", main)
    pauses = [type(each) for each in told if not isinstance(each, EventHeld)]
    assert pauses == [RelayPaused] * PROCESSES + [RelayResumed] * PROCESSES


def test_a_key_that_is_wrong_for_an_hour_costs_workers_nothing() -> None:
    async def main() -> None:
        jobs, fired, calls, told = Jobs(), list[str](), list[float](), list[Any]()
        ends = anyio.current_time() + HOUR

        async def end(call: dict[str, Any]) -> Receipt:
            await anyio.sleep(0.1)
            calls.append(anyio.current_time())
            if anyio.current_time() < ends:
                raise AuthenticationError("wrong key", status_code=401, delivery=Delivery.REJECTED)
            fired.append(call["event"])
            return Receipt(message="queued", status_code=200)

        for number in range(100):
            jobs.put(str(number), Trigger("crm", str(number)))
        async with anyio.create_task_group() as group:
            for _ in range(PROCESSES):
                outbox = WorkerOutbox(jobs, client=ScriptedClient(end), hooks=[told.append])
                for _ in range(CONCURRENCY):
                    group.start_soon(outbox.work)
            await anyio.sleep(HOUR - 1)
            assert len(calls) <= PROCESSES * (CONCURRENCY + 20)
            assert {str(row.state) for row in jobs.store.rows.values()} == {"queued"}
            await anyio.sleep(1000)
            group.cancel_scope.cancel()
        assert sorted(fired, key=int) == [str(n) for n in range(100)]
        assert set(jobs.ended.values()) == {"succeeded"}
        assert [type(each) for each in told] == [RelayPaused] * PROCESSES + [RelayResumed] * PROCESSES
        assert min(at for at in calls if at >= ends) - ends <= 310

    run("asyncio", main)


def test_while_reads_are_answered_and_triggers_are_not_one_event_goes_first_ever_more_rarely() -> None:
    async def main() -> None:
        jobs = Jobs()
        ends = anyio.current_time() + HOUR

        async def end(call: dict[str, Any]) -> Receipt:
            await anyio.sleep(0.1)
            if anyio.current_time() < ends:
                raise RefoldError("?", delivery=Delivery.AMBIGUOUS)
            return Receipt(message="queued", status_code=200)

        async def read(*_: Any, **__: Any) -> None:
            return None

        for number in range(100):
            jobs.put(str(number), Trigger("crm", str(number)))
        client = ScriptedClient(end)
        client.request = read
        async with anyio.create_task_group() as group:
            outbox = WorkerOutbox(jobs, client=client)
            for _ in range(CONCURRENCY):
                group.start_soon(outbox.work)
            await anyio.sleep(HOUR + 1000)
            group.cancel_scope.cancel()
        held = [key for key, row in jobs.store.rows.items() if row.is_held]
        assert CONCURRENCY <= len(held) <= CONCURRENCY + 20
        assert sorted(jobs.ended.values()) == ["failed"] * len(held) + ["succeeded"] * (100 - len(held))

    run("asyncio", main)


def refused() -> RefoldError:
    return RefoldConnectionError("refused", delivery=Delivery.NOT_SENT)


def test_a_job_that_is_cancelled_while_it_probes_leaves_that_to_another() -> None:
    async def main() -> None:
        reads = list[float]()

        async def read() -> bool:
            reads.append(anyio.current_time())
            await anyio.sleep(3.0)
            return True

        gate = Gate(Pause(read, 1, probe_every=5.0), "the worker", patience=20.0)
        for _ in range(5):
            gate.leave(await gate.enter(), refused())
        begun = anyio.current_time()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await anyio.sleep(6.0)
        assert reads == [begun + 5.0], "one read at a time"
        waiting.pop(0).cancel()
        await anyio.sleep(4.0)
        assert len(reads) == 2
        done = [each for each in waiting if each.done()]
        assert len(done) == 1, "one event goes first"
        await anyio.sleep(2.0)
        assert sum(each.done() for each in waiting) == 1
        gate.leave(await done[0], Receipt(message="queued", status_code=200))
        await anyio.lowlevel.checkpoint()
        assert all(each.done() for each in waiting)
        assert gate.pause.state is PauseState.RUNNING

    run("asyncio", main)


def test_an_event_that_goes_first_and_is_cancelled_lets_another_go_first() -> None:
    async def main() -> None:
        async def read() -> bool:
            return True

        gate = Gate(Pause(read, 1, probe_every=5.0), "the worker", patience=20.0)
        for _ in range(5):
            gate.leave(await gate.enter(), refused())
        gate.leave(await gate.enter(), None)
        one = await gate.enter()
        with pytest.raises(RetryLater) as caught:
            await gate.enter()
        assert 5 <= caught.value.delay <= 60
        gate.check(one)
        gate.leave(one, refused())
        assert gate.pause.state is PauseState.PAUSED

    run("asyncio", main)


def test_a_call_that_entered_before_the_pause_is_not_made_in_it() -> None:
    async def main() -> None:
        async def read() -> bool:
            return False

        gate = Gate(Pause(read, 1), "the worker")
        passes = [await gate.enter() for _ in range(6)]
        for each in passes[:5]:
            gate.check(each)
            gate.leave(each, refused())
        with pytest.raises(CircuitOpenError):
            gate.check(passes[5])
        gate.leave(passes[5], None)
        with pytest.raises(RetryLater):
            await gate.enter()

    run("asyncio", main)
