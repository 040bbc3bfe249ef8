"""The fence against a world in which it is known how often an event really fired."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from refold_async import Delivery
from refold_async.policies.fence import (
    TRANSITIONS,
    VERDICTS,
    Event,
    Sent,
    State,
    TransitionError,
    event_for,
    send_until,
    step,
)

NO, MAYBE, YES = "did not fire", "may have fired", "fired"

HAVE_FIRED = {
    State.QUEUED: NO,
    State.SENDING: MAYBE,
    State.AMBIGUOUS: MAYBE,
    State.RESENDING: MAYBE,
    State.ACCEPTED: YES,
    State.REJECTED: NO,
}


class World(RuleBasedStateMachine):
    """Attempts that fire or not, senders that die or speak late, people who look, and the state that is kept of it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.QUEUED
        self.fired = 0
        self.unfinished: list[bool] = []  # of each attempt whose sender has not told its verdict: whether it fired
        self.lost: list[bool] = []  # the same of attempts whose sender was taken for lost

    def move(self, event: Event) -> None:
        self.state = step(self.state, event)

    @precondition(lambda self: Event.SEND in TRANSITIONS[self.state])
    @rule(fires=st.booleans())
    def send(self, fires: bool) -> None:
        assert not self.unfinished, "two attempts are under way"
        self.move(Event.SEND)
        self.fired += fires
        self.unfinished.append(fires)

    @precondition(lambda self: self.unfinished)
    @rule(is_seen=st.booleans(), passes=st.booleans())
    def end(self, is_seen: bool, passes: bool) -> None:
        self.move(self.verdict_on(self.unfinished.pop(), is_seen, passes))

    @staticmethod
    def verdict_on(fired: bool, is_seen: bool, passes: bool) -> Event:
        if not is_seen:
            return Event.DOUBT
        return Event.ACCEPT if fired else Event.DEFER if passes else Event.REJECT

    @precondition(lambda self: self.unfinished)
    @rule()
    def lose(self) -> None:
        self.lost.append(self.unfinished.pop())
        self.move(Event.LOST)

    @precondition(lambda self: self.lost and self.state is State.AMBIGUOUS)
    @rule(is_seen=st.booleans(), passes=st.booleans())
    def tell_late(self, is_seen: bool, passes: bool) -> None:
        self.move(self.verdict_on(self.lost.pop(), is_seen, passes))

    @precondition(lambda self: self.state is State.AMBIGUOUS)
    @rule()
    def look(self) -> None:
        self.move(Event.CONFIRM if self.fired else Event.DENY)

    @precondition(lambda self: self.state is State.REJECTED)
    @rule()
    def retry(self) -> None:
        self.move(Event.RETRY)

    @precondition(lambda self: self.state is State.ACCEPTED)
    @rule()
    def fire_again(self) -> None:
        self.move(Event.FIRE_AGAIN)
        self.fired, self.lost = 0, []

    @invariant()
    def the_state_says_what_is_known(self) -> None:
        says = HAVE_FIRED[self.state]
        assert self.state.may_have_fired == (says is not NO)
        if says is NO:
            assert self.fired == 0
        elif says is YES:
            assert self.fired > 0
        if self.state is State.SENDING:
            assert self.fired <= 1

    @invariant()
    def it_says_whether_an_attempt_is_under_way(self) -> None:
        assert self.state.is_under_way == bool(self.unfinished)


TestWorld = World.TestCase


@given(events=st.lists(st.sampled_from([*VERDICTS, Event.LOST, Event.SEND])))
def test_without_a_person_or_a_second_send_an_event_is_sent_until_its_first_end_and_never_forgotten(
    events: list[Event],
) -> None:
    state = State.QUEUED
    doubted = False
    for event in events:
        if event not in TRANSITIONS[state]:
            with pytest.raises(TransitionError):
                step(state, event)
            continue
        state = step(state, event)
        doubted = doubted or event in (Event.DOUBT, Event.LOST)
        assert not (doubted and state in (State.QUEUED, State.REJECTED, State.SENDING)), "a doubt was forgotten"


@pytest.mark.parametrize("state", State)
def test_each_state_says_what_becomes_of_it(state: State) -> None:
    assert set(TRANSITIONS) == set(State)
    if state.is_under_way:
        assert set(TRANSITIONS[state]) == {*VERDICTS, Event.LOST}, "an attempt must be able to end in any way, once"
    if state.is_final:
        assert not set(TRANSITIONS[state]) & {Event.SEND, Event.LOST, *VERDICTS}
    assert (State.QUEUED in TRANSITIONS[state].values()) or state in (State.QUEUED, State.RESENDING)


def test_every_state_can_be_reached_from_queued() -> None:
    reached = {State.QUEUED}
    for _ in State:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(State)


def test_a_step_that_is_not_in_the_table_is_refused_by_name() -> None:
    with pytest.raises(TransitionError, match="SEND is not allowed in SENDING"):
        step(State.SENDING, Event.SEND)


@pytest.mark.parametrize(
    ("delivery", "status_code", "retry_after", "event"),
    [
        (Delivery.ACCEPTED, 202, None, Event.ACCEPT),
        (Delivery.AMBIGUOUS, None, None, Event.DOUBT),
        (Delivery.AMBIGUOUS, 503, 5.0, Event.DOUBT),
        (Delivery.AMBIGUOUS, 409, None, Event.DOUBT),
        (Delivery.NOT_SENT, None, None, Event.DEFER),
        (Delivery.REJECTED, 401, None, Event.DEFER),
        (Delivery.REJECTED, 403, None, Event.DEFER),
        (Delivery.REJECTED, 429, 1.0, Event.DEFER),
        (Delivery.REJECTED, 503, 1.0, Event.DEFER),
        (Delivery.REJECTED, 400, 1.0, Event.DEFER),
        (Delivery.REJECTED, 400, None, Event.REJECT),
        (Delivery.REJECTED, 404, None, Event.REJECT),
        (Delivery.REJECTED, None, None, Event.REJECT),
    ],
)
def test_a_verdict_moves_the_fence(
    delivery: Delivery, status_code: int | None, retry_after: float | None, event: Event
) -> None:
    assert event_for(delivery, status_code=status_code, retry_after=retry_after) is event


FIRST = Sent("k", "header x", 100.0)


@pytest.mark.parametrize(
    ("later", "covered"),
    [
        (Sent("k", "header x", 150.0), FIRST),
        (Sent("k", "header y", 150.0), Sent(None, "header y", 100.0)),
        (Sent("other", "header x", 150.0), Sent(None, "header x", 100.0)),
        (Sent(None, "header x", 150.0), Sent(None, "header x", 100.0)),
    ],
)
def test_one_key_covers_attempts_only_if_all_of_them_carried_it_in_one_place(later: Sent, covered: Sent) -> None:
    assert FIRST.also(later) == covered


@pytest.mark.parametrize(
    ("state", "sent", "now", "place", "retry_within", "asked", "until"),
    [
        (State.QUEUED, None, 0, "", None, False, math.inf),
        (State.SENDING, FIRST, 100, "header x", 240, True, None),
        (State.RESENDING, FIRST, 100, "header x", 240, True, None),
        (State.ACCEPTED, None, 100, "header x", 240, True, None),
        (State.REJECTED, None, 100, "header x", 240, True, None),
        (State.AMBIGUOUS, FIRST, 100, "header x", 240, False, 340),
        (State.AMBIGUOUS, FIRST, 339, "header x", 240, False, 340),
        (State.AMBIGUOUS, FIRST, 340, "header x", 240, False, None),
        (State.AMBIGUOUS, FIRST, 99, "header x", 240, False, None),
        (State.AMBIGUOUS, FIRST, 100, "header y", 240, False, None),
        (State.AMBIGUOUS, FIRST, 100, "header x", None, False, None),
        (State.AMBIGUOUS, Sent(None, "header x", 100), 100, "header x", 240, False, None),
        (State.AMBIGUOUS, None, 100, "header x", 240, False, None),
        (State.AMBIGUOUS, None, 100, "header x", None, True, math.inf),
    ],
)
def test_what_may_have_fired_is_sent_again_only_on_request_or_with_its_key_in_time(
    state: State,
    sent: Sent | None,
    now: float,
    place: str,
    retry_within: float | None,
    asked: bool,
    until: float | None,
) -> None:
    assert send_until(state, sent, now=now, place=place, retry_within=retry_within, asked=asked) == until
