"""For any schedule of latencies, failures, cancellations, slow consumers and ordering keys, the promises hold.

The clock jumps, and so a schedule always goes the same way and hours of it take no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import anyio
import httpx
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import (
    AuthenticationError,
    BatchInterruptedError,
    ClientClosedError,
    Delivery,
    InvalidTriggerError,
    NotAttemptedError,
    Outcome,
    RateLimit,
    RefoldError,
    RetryPolicy,
    Trigger,
)
from refold_async.limiters import MemoryRateLimiter
from tests.batch.support import leaving_nothing, trigger
from tests.fakes.clock import BACKENDS, run
from tests.fakes.transport import FakeTransport, Reply, client_over

SECONDS = st.sampled_from([0.0, 0.0, 0.1, 1.0, 3.0, 20.0, 70.0])
"""Within a grace of one and of five seconds, beyond them, and beyond a deadline of thirty."""


@define
class Row:
    """A row of the input, and what becomes of it."""

    kind: Literal["fine", "invalid", "no trigger"]
    key: str | None
    waits: float
    """Before an async source gives it."""
    takes: float
    ending: int | str
    fails_first: int
    """How many attempts are refused before."""

    def answer(self, before: int) -> Reply:
        if before < self.fails_first:
            return Reply(httpx.ConnectError("refused"), seconds=self.takes / 2)
        ending = {"reset": httpx.ReadError("reset"), "odd": LookupError("odd")}.get(str(self.ending), self.ending)
        return Reply(ending, seconds=self.takes)  # type: ignore[arg-type]

    def given(self, n: int) -> Any:
        if self.kind == "no trigger":
            return {"n": n}
        return trigger(n, self.key) if self.kind == "fine" else Trigger("", "x", ordering_key=self.key)


ROWS = st.builds(
    Row,
    kind=st.sampled_from(["fine"] * 12 + ["invalid", "no trigger"]),
    key=st.sampled_from([None, None, None, "a", "a", "b", "c"]),
    waits=st.sampled_from([0.0] * 6 + [0.5, 30.0]),
    takes=SECONDS,
    ending=st.sampled_from([200] * 10 + [404, 401, 500, "reset", "odd"]),
    fails_first=st.sampled_from([0] * 8 + [1, 5]),
)


@define
class Schedule:
    """A whole run: the rows, the options, and what the caller does."""

    rows: list[Row]
    raises_at: int | None
    is_async: bool
    max_concurrency: int
    look_ahead: int | None
    ordered: bool
    stop_on: tuple[type[Exception], ...]
    on_key_failure: Literal["continue", "stop"]
    retry: RetryPolicy | None
    limit: RateLimit | None
    pauses: list[float]
    """How long the consumer takes over each outcome, over and over."""
    leaves_after: int | None
    raises: bool
    """When it leaves."""
    cancelled_at: float | None
    closes_at: float | None
    pulled: int = field(init=False, default=0)

    @property
    def most_held(self) -> int:
        if all(row.key is None for row in self.rows):
            return self.max_concurrency
        return self.max_concurrency + (4 * self.max_concurrency if self.look_ahead is None else self.look_ahead)

    def source(self) -> Any:
        return self._slowly() if self.is_async else self._at_once()

    def _at_once(self) -> Iterator[Any]:
        for n, row in enumerate(self.rows):
            if n == self.raises_at:
                raise OSError("the disk is gone")
            self.pulled += 1
            yield row.given(n)

    async def _slowly(self) -> AsyncIterator[Any]:
        for n, row in enumerate(self.rows):
            if row.waits:
                await anyio.sleep(row.waits)
            if n == self.raises_at:
                raise OSError("the disk is gone")
            self.pulled += 1
            yield row.given(n)


SCHEDULES = st.builds(
    Schedule,
    rows=st.lists(ROWS, max_size=40),
    raises_at=st.none() | st.integers(0, 40),
    is_async=st.booleans(),
    max_concurrency=st.integers(1, 6),
    look_ahead=st.none() | st.integers(0, 8),
    ordered=st.booleans(),
    stop_on=st.sampled_from(
        [(), (AuthenticationError,), (AuthenticationError,), (RefoldError,), (InvalidTriggerError,)]
    ),
    on_key_failure=st.sampled_from(["continue", "stop"]),
    retry=st.sampled_from([None, None, RetryPolicy()]),
    limit=st.sampled_from([None, None, RateLimit(2, 1), RateLimit()]),
    pauses=st.lists(SECONDS, min_size=1, max_size=5),
    leaves_after=st.none() | st.none() | st.integers(0, 20),
    raises=st.booleans(),
    cancelled_at=st.none() | st.none() | st.sampled_from([0.0, 0.05, 0.1, 1.0, 2.5, 19.99, 45.0]),
    closes_at=st.sampled_from([None] * 5 + [0.5, 10.0]),
)


class EnoughError(Exception):
    """What the consumer raises."""


class Watch:
    """Holds what must be so at every moment, and keeps the outcomes."""

    def __init__(self, schedule: Schedule, wire: FakeTransport) -> None:
        self.schedule = schedule
        self.wire = wire
        self.outcomes: dict[int, Outcome] = {}
        self.taken = 0
        self.most_held = 0
        self.over = False
        self.problems: list[str] = []

    def __call__(self, outcome: Outcome) -> None:
        self.problems += ["told of twice"] * (outcome.index in self.outcomes)  # what is raised here is only logged
        self.problems += ["told of after the end"] * self.over
        self.outcomes[outcome.index] = outcome
        self.most_held = max(self.most_held, self.schedule.pulled - self.taken)


def options_of(schedule: Schedule, watch: Watch) -> dict[str, Any]:
    return {
        "max_concurrency": schedule.max_concurrency,
        "look_ahead": schedule.look_ahead,
        "stop_on": schedule.stop_on,
        "on_key_failure": schedule.on_key_failure,
        "on_outcome": watch,
    }


def client_of(schedule: Schedule, wire: FakeTransport) -> Any:
    limiter = None if schedule.limit is None else MemoryRateLimiter(schedule.limit, clock=anyio.current_time)
    return client_over(wire, rate_limit=limiter, retry=schedule.retry)


def check_truth(schedule: Schedule, wire: FakeTransport, watch: Watch) -> None:
    """One outcome for each that was pulled, and each says what the wire has seen."""
    outcomes = watch.outcomes
    assert not watch.problems
    assert sorted(outcomes) == list(range(schedule.pulled))
    answered = dict(wire.answered)
    for n, outcome in outcomes.items():
        row = schedule.rows[n]
        given = row.given(n)
        assert outcome.index == n
        assert outcome.trigger == given or outcome.trigger.context == given
        assert outcome.ok == (outcome.receipt is not None) == (outcome.error is None)
        assert outcome.error is None or outcome.error.trigger is outcome.trigger
        tried = wire.started.count(n)
        assert outcome.attempts == tried
        if row.kind != "fine":
            assert outcome.delivery is Delivery.NOT_SENT
            assert isinstance(outcome.error, InvalidTriggerError | NotAttemptedError | ClientClosedError)
        elif n in answered:
            expected = {200: Delivery.ACCEPTED, 500: Delivery.AMBIGUOUS}.get(answered[n], Delivery.REJECTED)
            assert outcome.delivery is expected
        elif tried > row.fails_first:
            assert outcome.delivery is Delivery.AMBIGUOUS, "it was reset, or cut off"
        elif wire.cut_off[n]:
            assert outcome.delivery is Delivery.AMBIGUOUS, "cut off while it connected, which this wire cannot tell"
        else:
            assert outcome.delivery is Delivery.NOT_SENT


def check_order(schedule: Schedule, wire: FakeTransport, outcomes: dict[int, Outcome]) -> None:
    """One at a time and in order for each key; given up after a failure, if so told."""
    assert wire.most_in_flight <= schedule.max_concurrency
    for key in ("a", "b", "c"):
        numbers = [n for n, row in enumerate(schedule.rows) if row.key == key and row.kind != "no trigger"]
        ended = 0.0
        failed = False
        for n in numbers:
            if n in outcomes and schedule.on_key_failure == "stop" and failed:
                assert isinstance(outcomes[n].error, NotAttemptedError)
                assert n not in wire.spans
            for began, end in wire.spans.get(n, []):
                assert began >= ended
                ended = end
            failed = failed or (n in outcomes and not outcomes[n].ok)


def check_stop(schedule: Schedule, wire: FakeTransport, watch: Watch) -> None:
    """Once an error in `stop_on` was told of, nothing more is sent."""
    stops = [outcome for outcome in watch.outcomes.values() if isinstance(outcome.error, schedule.stop_on)]
    if stops:
        told = list(watch.outcomes)
        first = told.index(stops[0].index)
        later = [watch.outcomes[n] for n in told[first + 1 :]]
        assert sum(outcome.attempts > 0 for outcome in later) < schedule.max_concurrency


async def cancelling(schedule: Schedule, client: Any, call: Any) -> bool:
    """Make the call, and do to it what the schedule says; whether it was cancelled."""
    with leaving_nothing():
        async with anyio.create_task_group() as group:
            if schedule.closes_at is not None:
                group.start_soon(close_at, schedule.closes_at, client)
            with anyio.CancelScope() as scope:
                if schedule.cancelled_at is not None:
                    group.start_soon(cancel_at, schedule.cancelled_at, scope)
                await call()
            group.cancel_scope.cancel()
    return scope.cancelled_caught


async def cancel_at(seconds: float, scope: anyio.CancelScope) -> None:
    await anyio.sleep(seconds)
    scope.cancel()


async def close_at(seconds: float, client: Any) -> None:
    await anyio.sleep(seconds)
    await client.aclose()


@settings(max_examples=300)
@given(SCHEDULES, st.sampled_from(list(BACKENDS)))
def test_trigger_many(schedule: Schedule, backend: str) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: schedule.rows[n].answer(before))
        watch = Watch(schedule, wire)
        result: Any = None
        interruptions: list[BatchInterruptedError] = []
        async with client_of(schedule, wire) as client:

            async def call() -> None:
                nonlocal result
                try:
                    result = await client.trigger_many(schedule.source(), **options_of(schedule, watch))
                except BatchInterruptedError as error:
                    interruptions.append(error)
                    result = error.result

            cancelled = await cancelling(schedule, client, call)
            watch.over = True
            assert wire.in_flight == 0
        check_truth(schedule, wire, watch)
        check_order(schedule, wire, watch.outcomes)
        check_stop(schedule, wire, watch)
        for error in interruptions:
            assert isinstance(error.__cause__, OSError)
            assert schedule.raises_at == schedule.pulled
        if not cancelled:
            assert [outcome.index for outcome in result] == list(range(schedule.pulled))
            assert list(result) == [watch.outcomes[n] for n in sorted(watch.outcomes)]
            everything = len(schedule.rows) if schedule.raises_at is None else schedule.raises_at
            assert schedule.pulled == min(everything, len(schedule.rows)), "all of the input is accounted for"

    run(backend, main)


@settings(max_examples=300)
@given(SCHEDULES, st.sampled_from(list(BACKENDS)))
def test_trigger_stream(schedule: Schedule, backend: str) -> None:
    async def main() -> None:
        wire = FakeTransport(lambda n, before: schedule.rows[n].answer(before))
        watch = Watch(schedule, wire)
        taken: list[Outcome] = []
        endings = Counter[str]()
        interruptions: list[BatchInterruptedError] = []
        async with client_of(schedule, wire) as client:

            async def consume() -> None:
                stream = client.trigger_stream(
                    schedule.source(), **options_of(schedule, watch), ordered=schedule.ordered
                )
                async with stream as outcomes:
                    async for outcome in outcomes:
                        taken.append(outcome)
                        watch.taken += 1
                        await anyio.sleep(schedule.pauses[len(taken) % len(schedule.pauses)])
                        if len(taken) == schedule.leaves_after:
                            if schedule.raises:
                                raise EnoughError
                            endings["left"] += 1
                            return
                    endings["end"] += 1

            async def call() -> None:
                try:
                    await consume()
                except EnoughError:
                    endings["raised"] += 1
                except BatchInterruptedError as error:
                    endings["interrupted"] += 1
                    interruptions.append(error)

            endings["cancelled"] += await cancelling(schedule, client, call)
            watch.over = True
            assert wire.in_flight == 0
        assert endings.total() == 1 or (endings.total() == 2 and endings["cancelled"]), "perhaps while it was left"
        for error in interruptions:
            assert isinstance(error.__cause__, OSError)
            assert {outcome.index for outcome in error.result} <= {outcome.index for outcome in taken}
            assert len(error.result) <= schedule.most_held
        check_truth(schedule, wire, watch)
        check_order(schedule, wire, watch.outcomes)
        check_stop(schedule, wire, watch)
        assert watch.most_held <= schedule.most_held
        indexes = [outcome.index for outcome in taken]
        assert len(set(indexes)) == len(indexes), "none is given twice"
        assert all(watch.outcomes[outcome.index] is outcome for outcome in taken)
        if schedule.ordered:
            assert indexes == list(range(len(indexes)))
        if endings["end"] or endings["interrupted"]:
            assert sorted(indexes) == list(range(schedule.pulled)), "all that was pulled is given"

    run(backend, main)
