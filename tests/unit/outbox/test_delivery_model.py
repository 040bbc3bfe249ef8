"""`deliver` against a world in which it is known how often an event really fired, with workers that die anywhere."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from refold_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    DeadlineExceededError,
    Delivery,
    HeldError,
    Idempotency,
    InvalidTriggerError,
    RateLimitedError,
    Receipt,
    RefoldConnectionError,
    RefoldError,
    RetryLater,
    ServerError,
    Trigger,
)
from refold_async.outbox import SQLiteOutbox
from refold_async.outbox._claim import Pace
from refold_async.outbox._delivery import deliver
from refold_async.outbox._row import Change, Row, settle
from refold_async.policies.fence import State
from tests.fakes.outbox import MemoryStore, ScriptedClient

WINDOW = 300.0
DEADLINE = 30.0
SLACK = 20.0

REJECTIONS: dict[str, type[APIError]] = {"400": BadRequestError, "401": AuthenticationError, "429": RateLimitedError}
BEFORE = {"open": CircuitOpenError, "refused": RefoldConnectionError, "invalid": InvalidTriggerError}
ENDINGS = ["accepted", "hidden", "lost", "not sent", *REJECTIONS]


class DiedError(BaseException):
    """A worker was killed: nothing that it would do after this reaches the store."""


@define(eq=False)
class Worker:
    """A process that delivers one event. Its awaits end only when the machine says so."""

    machine: Any
    key: str
    at: str = ""
    gate: asyncio.Future[str] | None = None
    task: Any = None
    began: float = 0.0
    is_dead: bool = False
    results: list[Any] = field(factory=list)

    async def stop(self, at: str) -> str:
        if self.is_dead:
            raise DiedError
        self.at, self.gate = at, asyncio.get_running_loop().create_future()
        how = await self.gate
        if self.is_dead:
            raise DiedError
        return how

    def kill(self) -> None:
        self.is_dead = True
        if self.gate is not None and not self.gate.done():
            self.gate.set_result("")

    async def before(self) -> None:
        self.began = self.machine.now
        how = await self.stop("before")
        if how in BEFORE:
            raise BEFORE[how]("no", delivery=Delivery.NOT_SENT)

    async def fire(self, call: dict[str, Any]) -> Receipt:
        machine = self.machine
        limit = self.began + DEADLINE
        if call["first_sent_at"] is not None and machine.window is not None:
            limit = min(limit, call["first_sent_at"].timestamp() + machine.window.retry_within)
        how = await self.stop("write")
        if machine.now >= limit:
            raise DeadlineExceededError("too late", delivery=Delivery.NOT_SENT)
        if how in ("accepted", "hidden"):
            machine.fired(self.key, call["idempotency_key"])
        await self.stop("response")
        if how == "accepted" and machine.now < limit:
            return Receipt(message="queued", status_code=200)
        if how in REJECTIONS and machine.now < limit:
            raise REJECTIONS[how]("no", status_code=int(how), delivery=Delivery.REJECTED)
        if how == "not sent":
            raise RefoldConnectionError("reset", delivery=Delivery.NOT_SENT)
        raise ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)

    @property
    def is_quiet(self) -> bool:
        return self.task.done() or (self.gate is not None and not self.gate.done())

    async def run(self) -> None:
        store = GatedStore(self.machine.store, self.stop)
        client = ScriptedClient(self.fire, self.machine.window, self.before, self.machine.mint)
        pace = Pace(deadline=DEADLINE, slack=SLACK, backoff=lambda _: 5.0, clock=self.machine.clock)
        try:
            self.results.append(await deliver(store, client, self.key, pace=pace))
        except RefoldError as error:
            self.results.append(error)


@define(eq=False)
class GatedStore:
    """A store of which each step waits, before and after, until the machine says so."""

    inner: Any
    stop: Any
    keeps_payloads: bool = False

    async def load(self, key: str) -> Row | None:
        await self.stop("load")
        row: Row | None = await self.inner.load(key)
        return row

    async def move(self, row: Row, change: Change) -> Row | None:
        await self.stop("move")
        after: Row | None = await self.inner.move(row, change)
        await self.stop("moved")
        return after


class Deliveries(RuleBasedStateMachine):
    """Workers, a server with a memory for keys, time, and people who look."""

    @initialize(has_window=st.booleans(), keys=st.sampled_from([1, 1, 2]))
    def begin(self, has_window: bool, keys: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = 1_000_000.0
        self.window = Idempotency(header="X-Key", window=WINDOW) if has_window else None
        self.store = self.make_store()
        self.keys: list[str] = []
        self.workers: list[Worker] = []
        self.effects: dict[str, int] = {}
        self.remembered: dict[str, float] = {}
        self.doubted = False
        self.minted = 0
        for number in range(keys):
            self.put(Trigger("crm", "Placed", {"n": number}), str(number))

    # What a store on a disk does otherwise.

    def make_store(self) -> Any:
        """Return an empty store that goes by `now`."""
        return MemoryStore(clock=self.clock)

    def put(self, trigger: Trigger, key: str) -> None:
        self.store.put(trigger, key)
        self.keys.append(key)

    def end_store(self) -> None:
        """Leave nothing open."""

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    # The world.

    @property
    def rows(self) -> dict[str, Row]:
        """The rows, as the store has them."""

        async def load() -> dict[str, Row]:
            found = {key: await self.store.load(key) for key in self.keys}
            return {key: row for key, row in found.items() if row is not None}

        rows: dict[str, Row] = self.loop.run_until_complete(load())
        return rows

    def mint(self) -> str:
        self.minted += 1
        return f"key {self.minted}"

    def clock(self) -> float:
        return self.now

    def fired(self, key: str, idempotency_key: str | None) -> None:
        if self.window is not None and idempotency_key is not None:
            known = self.remembered.get(idempotency_key)
            if known is not None and self.now < known + WINDOW:
                return
            self.remembered[idempotency_key] = self.now
        self.effects[key] = self.effects.get(key, 0) + 1

    def spin(self, *dying: Worker) -> None:
        """Let the workers go on until each is at a gate, or done."""

        async def go_on() -> None:
            for _ in range(5000):
                for _ in range(12):  # where nothing but gates is waited for, a few turns bring it there
                    await asyncio.sleep(0)
                if all(worker.is_quiet for worker in [*self.workers, *dying]):
                    return
                await asyncio.sleep(0.0005)  # a database is at work
            raise AssertionError("a worker waits for something else than a gate")

        self.loop.run_until_complete(go_on())
        for worker in [each for each in self.workers if each.task.done()]:
            self.workers.remove(worker)
            for result in worker.results:
                self.check_result(worker.key, result)

    def check_result(self, key: str, result: Any) -> None:
        effects = self.effects.get(key, 0)
        if isinstance(result, Receipt):
            assert effects == 1, "it was said to be accepted, and did not fire"
        elif isinstance(result, HeldError):
            assert self.doubted, "an event was held without any reason"
        elif not isinstance(result, RetryLater):
            assert effects == 0, f"it fired, and {result!r} was raised"

    @rule(which=st.integers(0, 1))
    def start(self, which: int) -> None:
        if len(self.workers) < 4:
            self.begin_worker(self.keys[which % len(self.keys)])

    def begin_worker(self, key: str) -> Worker:
        worker = Worker(self, key)
        worker.task = self.loop.create_task(worker.run())
        self.workers.append(worker)
        self.spin()
        return worker

    @rule(which=st.integers(0, 1), at=st.sampled_from(["before", "move", "move"]), many=st.integers(2, 3))
    def crowd(self, which: int, at: str, many: int) -> None:
        """Let workers begin that all have read the same row, and want to take the same step."""
        for _ in range(min(many, 4 - len(self.workers))):
            self.begin_worker(self.keys[which % len(self.keys)])
        for worker in list(self.workers):
            while worker in self.workers and worker.at in ("load", "before") and worker.at != at:
                self.go_on(self.workers.index(worker), "", "accepted")

    @precondition(lambda self: self.workers)
    @rule(
        which=st.integers(0, 3),
        until=st.sampled_from(["", "before", "move", "moved", "write", "response", "response", "the end"]),
        how=st.sampled_from(ENDINGS + list(BEFORE)),
    )
    def go_on(self, which: int, until: str, how: str) -> None:
        """Let a worker do at least one step, and more until it is at the gate that is named."""
        worker = self.workers[which % len(self.workers)]
        for number in range(20):
            if number and until in ("", worker.at):
                break
            if worker.gate is None or worker.gate.done():
                break
            chosen = how if (worker.at == "before") == (how in BEFORE) else "accepted"
            chosen = "" if worker.at == "before" and how not in BEFORE else chosen
            self.doubted = self.doubted or (worker.at == "write" and chosen in ("hidden", "lost", "429", "not sent"))
            worker.gate.set_result(chosen)
            self.spin()

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3))
    def kill(self, which: int) -> None:
        worker = self.workers.pop(which % len(self.workers))
        self.doubted = True
        worker.kill()
        self.bury(worker)

    def bury(self, worker: Worker) -> None:
        self.spin(worker)
        assert worker.task.done()
        assert worker.task.cancelled() or isinstance(worker.task.exception(), DiedError)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3))
    def cancel(self, which: int) -> None:
        self.doubted = True
        self.workers[which % len(self.workers)].task.cancel()
        self.spin()

    @rule(seconds=st.sampled_from([0.5, 6.0, DEADLINE, DEADLINE + SLACK + 1, WINDOW]))
    def wait(self, seconds: float) -> None:
        # A worker that stands still for longer than a call can last has sent nothing, or its answer comes too late.
        self.doubted = True
        self.pass_time(seconds)

    @rule(which=st.integers(0, 1))
    def look(self, which: int) -> None:
        key = self.keys[which % len(self.keys)]
        row = self.rows.get(key)
        if row is not None and row.is_held and not any(each.key == key for each in self.workers):
            fired = self.effects.get(key, 0) > 0
            change = settle(row, fired=fired, keep_payload=False)
            self.loop.run_until_complete(self.store.move(row, change))

    @invariant()
    def rows_say_what_is_true(self) -> None:
        for key, row in self.rows.items():
            effects = self.effects.get(key, 0)
            assert effects <= 1, "it fired twice"
            if row.state is State.ACCEPTED:
                assert effects == 1, "its row says accepted, and it did not fire"
            elif not row.state.may_have_fired:
                assert effects == 0, f"it fired, and its row says {row.state}"

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        # Whoever is left is killed. After that one worker settles each event, or holds it: nothing is lost.
        for worker in list(self.workers):
            self.workers.remove(worker)
            worker.kill()
            self.bury(worker)
        self.doubted = True
        for key in self.keys:
            for _ in range(12):
                self.pass_time(DEADLINE + SLACK + 1)
                worker = self.begin_worker(key)
                for _ in range(60):
                    if worker not in self.workers:
                        break
                    self.go_on(0, "", "accepted")
                assert worker not in self.workers, f"it goes on for ever, at {worker.at}"
                self.rows_say_what_is_true()
            row = self.rows[key]
            assert row.state.is_final or row.is_held, f"nothing becomes of it: {row}"
        self.end_store()
        self.loop.close()


class DeliveriesInFile(Deliveries):
    """The same on a real file."""

    def make_store(self) -> Any:
        self.folder = tempfile.TemporaryDirectory()
        store = SQLiteOutbox(Path(self.folder.name) / "refold.db", synchronous="normal")
        store._clock = self.clock
        return store

    def put(self, trigger: Trigger, key: str) -> None:
        self.loop.run_until_complete(self.store.put(trigger, key=key))
        self.keys.append(key)

    def end_store(self) -> None:
        self.loop.run_until_complete(self.store.aclose())
        self.folder.cleanup()


def model_settings(examples: int) -> settings:
    """Return how many examples are played, of how many steps."""
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.reuse, Phase.generate],
    )


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = model_settings(200)

TestDeliveriesInFile = DeliveriesInFile.TestCase
TestDeliveriesInFile.settings = model_settings(50)
