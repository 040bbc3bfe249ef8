"""The circuit breaker: when it opens, who may probe, and that nothing but an answer closes it."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import refold_async
from refold_async import CircuitBreaker, CircuitOpenError, Delivery
from refold_async.policies.circuit import CircuitState, Probe, is_outage

FAILURES, EVERY = 3, 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(FAILURES, EVERY, clock=clock)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    assert [breaker.record_outage() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    return breaker


class Breakers(RuleBasedStateMachine):
    """Any order of attempts, probes and waiting; `probes` are those that were not ended yet."""

    probes = Bundle("probes")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(FAILURES, EVERY, clock=self.clock)
        self.in_a_row = 0
        self.is_open = False
        self.current: Probe | None = None
        self.earliest = math.inf

    @rule()
    def meet_an_outage(self) -> None:
        opened = self.breaker.record_outage()
        self.in_a_row += not self.is_open
        assert opened == (not self.is_open and self.in_a_row == FAILURES)
        if opened:
            self.is_open, self.earliest = True, self.clock.now + EVERY

    @rule()
    def get_an_answer(self) -> None:
        assert self.breaker.record_answer() == self.is_open
        self.is_open, self.in_a_row, self.current = False, 0, None

    @rule(seconds=st.floats(0, 7))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def wait_as_long_as_it_says(self) -> None:
        seconds = self.breaker.seconds_to_probe()
        if seconds < math.inf:
            self.clock.now = max(self.clock.now + seconds, self.earliest)
            assert self.breaker.seconds_to_probe() == 0

    @rule(target=probes)
    def ask_for_a_probe(self) -> Any:
        probe = self.breaker.begin_probe()
        due = self.is_open and self.current is None and self.clock.now >= self.earliest
        assert (probe is not None) == due
        if probe is None:
            return multiple()
        self.current = probe
        return probe

    @rule(probe=consumes(probes))
    def succeed(self, probe: Probe) -> None:
        probe.succeeded()
        self.is_open, self.in_a_row, self.current = False, 0, None

    @rule(probe=consumes(probes), sent=st.booleans())
    def fail(self, probe: Probe, sent: bool) -> None:
        (probe.failed if sent else probe.dropped)()
        if probe is self.current:
            self.current = None
            self.earliest = self.clock.now + EVERY if sent else self.earliest

    @invariant()
    def it_is_closed_only_by_an_answer_and_probed_by_one(self) -> None:
        expected = CircuitState.PROBING if self.current else CircuitState.OPEN if self.is_open else CircuitState.CLOSED
        assert self.breaker.state is expected
        assert self.breaker.is_closed == (not self.is_open)


TestBreakers = Breakers.TestCase


def test_failures_count_only_in_a_row(breaker: CircuitBreaker) -> None:
    for _ in range(FAILURES - 1):
        breaker.record_outage()
    breaker.record_answer()
    for _ in range(FAILURES - 1):
        breaker.record_outage()
    assert breaker.is_closed


def test_a_stale_probe_that_fails_does_not_end_the_one_after_it(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += EVERY
    stale = breaker.begin_probe()
    breaker.record_answer()
    opened(breaker)
    clock.now += EVERY
    assert stale is not None
    assert breaker.begin_probe() is not None
    stale.failed()
    assert breaker.state is CircuitState.PROBING


def test_a_dropped_probe_may_be_followed_by_another_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    assert breaker.begin_probe() is None
    assert breaker.seconds_to_probe() == EVERY
    clock.now += EVERY
    probe = breaker.begin_probe()
    assert probe is not None
    probe.dropped()
    assert breaker.seconds_to_probe() == 0


@pytest.mark.parametrize(
    ("status_code", "is_refold", "outage"),
    [
        (None, True, True), (500, True, True), (502, True, True), (503, True, True), (504, True, True),
        (599, True, True), (200, False, True), (501, True, False), (200, True, False), (302, True, False),
        (400, True, False), (401, True, False), (404, True, False), (408, True, False), (429, True, False),
    ],
)  # fmt: skip
def test_only_what_says_nothing_about_the_event_is_an_outage(
    status_code: int | None, is_refold: bool, outage: bool
) -> None:
    assert is_outage(status_code=status_code, is_refold=is_refold) is outage
    if is_refold:
        assert is_outage(status_code=status_code) is outage, "an answer is Refold's unless something else is said"


@pytest.mark.parametrize("failures", [0, -1, 1.5, True, None, "5"])
def test_failures_must_be_a_whole_number_above_zero(failures: Any) -> None:
    with pytest.raises(ValueError, match=r"failures must be .* not "):
        CircuitBreaker(failures)


@pytest.mark.parametrize("seconds", [0, -1.0, math.inf, math.nan, True, None, "5"])
def test_probe_every_must_be_seconds_above_zero(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"probe_every must be .* not "):
        CircuitBreaker(probe_every=seconds)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 0.001), (1000, 86_400.0)])
def test_the_least_and_the_most_that_make_sense_are_taken(failures: int, seconds: float, clock: Clock) -> None:
    breaker = CircuitBreaker(failures, seconds, clock=clock)
    assert [breaker.record_outage() for _ in range(failures)] == [False] * (failures - 1) + [True]
    assert breaker.seconds_to_probe() == pytest.approx(seconds)
    assert not breaker.record_outage()


def test_nothing_but_the_two_numbers_is_taken_by_position() -> None:
    parameters = inspect.signature(CircuitBreaker).parameters
    assert [(each.name, each.kind.name) for each in parameters.values()] == [
        ("failures", "POSITIONAL_OR_KEYWORD"),
        ("probe_every", "POSITIONAL_OR_KEYWORD"),
        ("clock", "KEYWORD_ONLY"),
    ]


@pytest.mark.parametrize("first", ["failed", "dropped", "succeeded"])
@pytest.mark.parametrize("second", ["failed", "dropped"])
def test_a_probe_that_is_ended_twice_counts_once(
    breaker: CircuitBreaker, clock: Clock, first: str, second: str
) -> None:
    opened(breaker)
    clock.now += EVERY
    probe = breaker.begin_probe()
    assert probe is not None
    getattr(probe, first)()
    state, due = breaker.state, breaker.seconds_to_probe()
    clock.now += 1.0
    getattr(probe, second)()
    assert breaker.state is state is not CircuitState.PROBING
    assert breaker.seconds_to_probe() == max(0.0, due - 1.0)


def test_an_open_circuit_is_an_error_of_its_own() -> None:
    error = CircuitOpenError("no connection")
    assert isinstance(error, refold_async.RefoldError)
    assert (error.delivery, error.safe_to_resend) == (Delivery.NOT_SENT, True)
    assert repr(CircuitBreaker()) == "<CircuitBreaker closed, failures=5, probe_every=5.0>"
