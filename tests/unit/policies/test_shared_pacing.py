"""The arithmetic of a limit that processes share: the same promise as in one process."""

from __future__ import annotations

import json
from math import ceil

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import RateLimit
from refold_async.policies.pacing import FRESH_FOR
from refold_async.policies.shared_pacing import MICRO, REJOIN, Question, SharedState

from .test_pacing import check_pace

START = 1_800_000_000 * MICRO

LIMITS = st.sampled_from([RateLimit(), RateLimit(3, 5), RateLimit(1.9), RateLimit(0.5, 2), RateLimit(7.5, 2)])


@define
class Process:
    """A process that holds at most one slot, and knows what it was told."""

    name: str
    era: int = 0
    epoch: int = 0
    held: int = 0


def question(process: Process, limit: RateLimit, **more: object) -> Question:
    values = {"era": process.era, "epoch": process.epoch, "held": process.held, **more}
    return Question(process.name, limit, **values)  # type: ignore[arg-type]


@settings(max_examples=300)
@given(
    LIMITS,
    st.lists(
        st.tuples(
            st.integers(0, 3),  # which process
            st.sampled_from(["ask", "ask", "ask", "return", "die", "throttled"]),
            st.sampled_from([0, 1_000, 20_000]) | st.integers(0, 400_000),  # passes before
            st.integers(0, 20_000),  # from the grant to the write
            st.integers(0, 3_000_000),  # the pause
        ),
        max_size=120,
    ),
)
def test_whatever_the_processes_do_the_writes_of_all_keep_the_pace(
    limit: RateLimit, steps: list[tuple[int, str, int, int, int]]
) -> None:
    state, now = SharedState.new(START), START
    processes = [Process(str(number)) for number in range(4)]
    writes: list[float] = []
    paused_until = 0
    for number, what, passed, delay, pause in steps:
        now += passed
        process = processes[number]
        if what == "die":
            process.held = 0
        elif what == "throttled":
            answer = state.ask(question(process, limit, held=0, wants=False, pause=pause), now)
            process.era, process.held = answer.era, 0
            paused_until = max(paused_until, now + pause)
        elif what == "return" and process.held:
            answer = state.ask(question(process, limit, held=0, wants=False, returned=(process.held,)), now)
            process.held = 0
        else:
            answer = state.ask(question(process, limit), now)
            process.era, process.epoch = answer.era, answer.epoch
            if answer.go >= 0:
                assert now + answer.go >= paused_until, "granted in a pause"
                writes.append((now + answer.go + delay) / MICRO)
            process.held = answer.slot
        assert state.slots == sorted(state.slots)
        state = SharedState.from_dict(json.loads(json.dumps(state.to_dict())))
    check_pace(writes, limit)


def grants(limit: RateLimit, count: int, processes: int = 3) -> list[int]:
    """Play processes without end of work, each of which asks exactly when its slot is due."""
    state = SharedState.new(START)
    fleet = [Process(str(number)) for number in range(processes)]
    due = {process.name: START for process in fleet}
    times: list[int] = []
    while len(times) < count:
        process = min(fleet, key=lambda each: due[each.name])
        now = due[process.name]
        answer = state.ask(question(process, limit, announces=not times), now)
        process.era, process.epoch, process.held = answer.era, answer.epoch, answer.slot
        if answer.go >= 0:
            times.append(now)
        due[process.name] = now + answer.wait
    return times


@pytest.mark.parametrize("rate", [20, 1.9, 0.5, 7.5, 100, 1000])
@pytest.mark.parametrize("burst", [5, 30])
def test_a_backlog_uses_97_percent_of_the_rate(rate: float, burst: int) -> None:
    count = max(20, ceil(rate) * (20 if rate < 100 else 3))
    times = grants(RateLimit(rate, burst), count + 1)
    check_pace([time / MICRO for time in times], RateLimit(rate, burst))
    assert count / ((times[-1] - times[0]) / MICRO) >= 0.97 * rate


def test_a_late_process_gets_a_new_slot_and_the_old_one_is_given_back() -> None:
    limit = RateLimit(20, 1)
    state, process = SharedState.new(START), Process("late")
    for _ in range(2):
        answer = state.ask(question(process, limit), START)
        process.era, process.epoch, process.held = answer.era, answer.epoch, 0
    process.held = answer.slot
    late = answer.slot + round(FRESH_FOR * MICRO) + 1
    answer = state.ask(question(process, limit), late)
    assert answer.go < 0
    assert answer.slot == late, "as if the old one had not been"


def test_a_slot_further_away_than_wanted_is_not_taken() -> None:
    state, process = SharedState.new(START), Process("hurried")
    for _ in range(30):
        state.ask(question(process, RateLimit()), START)
    before = list(state.slots)
    answer = state.ask(question(process, RateLimit(), longest=100_000), START)
    assert (answer.slot, state.slots) == (0, before)
    assert answer.wait > 100_000


@settings(max_examples=100)
@given(st.integers(1, 3600 * MICRO), st.integers(0, 40))
def test_the_clock_set_back_stalls_nobody(back: int, before: int) -> None:
    state, process = SharedState.new(START), Process("a")
    for _ in range(before):
        answer = state.ask(question(process, RateLimit()), START)
        process.era, process.epoch = answer.era, answer.epoch
    process.held = 0 if not before else answer.slot
    answer = state.ask(question(process, RateLimit()), START - back)
    assert max(answer.go, answer.wait) <= 2 * MICRO


def test_the_clock_set_back_does_not_lift_a_pause() -> None:
    state, process = SharedState.new(START), Process("a")
    state.ask(question(process, RateLimit(), pause=30 * MICRO, wants=False), START)
    answer = state.ask(question(process, RateLimit()), START - 3600 * MICRO)
    assert answer.wait == 30 * MICRO


def test_a_429_voids_the_slots_that_are_held_and_slows_all_once() -> None:
    state, limit = SharedState.new(START), RateLimit(1, 1)
    held = Process("held")
    for _ in range(2):
        answer = state.ask(question(held, limit), START)
    held.era, held.epoch, held.held = answer.era, answer.epoch, answer.slot
    for _ in range(3):
        state.ask(question(Process("met it"), limit, pause=2 * MICRO, wants=False), START)
    answer = state.ask(question(held, limit), held.held)
    assert answer.go < 0
    assert answer.slot >= START + 2 * MICRO
    assert state.slowed == 1.0, "the floor"


def test_the_lowest_limit_holds_until_its_process_has_gone() -> None:
    state = SharedState.new(START)
    state.ask(question(Process("low"), RateLimit(5, 2)), START)
    answer = state.ask(question(Process("high"), RateLimit()), START + MICRO)
    assert (answer.rate, answer.burst, answer.members) == (5, 2, 2)
    answer = state.ask(question(Process("high"), RateLimit()), START + 40 * MICRO)
    assert (answer.rate, answer.burst, answer.members) == (20, 5, 1)


def test_what_was_sent_without_the_shared_state_counts_once_it_is_back() -> None:
    state = SharedState.new(START)
    process = Process("alone")
    answer = state.ask(question(process, RateLimit(), spent=20), START)
    assert answer.wait > MICRO


def test_a_state_that_was_lost_begins_as_if_the_whole_rate_had_been_used() -> None:
    """Whoever knew another one says so, and all are told to go their own way until they come back together."""
    state = SharedState.new(START)
    lost = [question(Process(name, era=7), RateLimit(), spent=3) for name in "abc"]
    answers = [state.ask(each, START + n) for n, each in enumerate(lost)]
    assert [answer.opens for answer in answers] == [REJOIN - n for n in range(3)]
    waits = [answer.wait + n for n, answer in enumerate(answers)]
    assert waits == sorted(waits)
    assert waits[0] >= REJOIN + MICRO // 20
    assert state.ask(question(Process("d", era=7), RateLimit(), spent=1), START + REJOIN).opens == 0


@pytest.mark.parametrize(("used_lately", "opens"), [(0, REJOIN), (3, 0)])
def test_one_that_comes_back_joins_those_who_never_lost_the_server(used_lately: int, opens: int) -> None:
    """But if nobody has used the shared rate, the server was away for all, and they come back together."""
    state = SharedState.new(START)
    for number in range(used_lately):
        state.ask(question(Process("another"), RateLimit()), START + number)
    answer = state.ask(question(Process("a"), RateLimit(), rejoins=True, wants=False), START + 10)
    assert answer.opens == opens
    again = state.ask(question(Process("b"), RateLimit(), rejoins=True, wants=False), START + 1010)
    assert again.opens == max(0, opens - 1000), "the next one does not put it off"


@pytest.mark.parametrize(
    ("rate", "ages", "is_quiet"),
    [
        (20, [], True),
        (20, [200, 1], True),
        (20, [200, 1, 0], False),  # half the rate, or more, for a quarter of a second
        (20, [251, 250, 200, 1], True),
        (20, [200, 1, -1, -50], True),  # what others will send is not sent yet
        (0.5, [], True),
        (0.5, [4000], True),
        (0.5, [2000], False),  # a longer look at a rate that is low
        (8, [249], False),
        (8, [251], True),
        (9, [249], True),
    ],
)
def test_half_the_rate_in_use_shows_that_others_never_lost_the_server(
    rate: float, ages: list[int], is_quiet: bool
) -> None:
    state = SharedState.new(START)
    state.slots = [START - 1000 * age for age in ages]
    answer = state.ask(question(Process("a"), RateLimit(rate), rejoins=True, wants=False), START)
    assert answer.opens == (REJOIN if is_quiet else 0)


@pytest.mark.parametrize(
    ("era", "after", "opens"),
    [(0, 0, 0), (START, 0, 0), (7, 0, REJOIN), (7, REJOIN, REJOIN), (7, REJOIN + 1, 0)],
)
def test_only_one_who_knew_another_state_tells_that_it_was_lost_and_only_at_first(
    era: int, after: int, opens: int
) -> None:
    state = SharedState.new(START)
    assert state.ask(question(Process("a", era=era), RateLimit()), START + after).opens == opens


@pytest.mark.parametrize(("longest", "is_taken"), [(-1, True), (0, False), (49_999, False), (50_000, True)])
def test_a_slot_is_taken_up_to_the_longest_wait(longest: int, is_taken: bool) -> None:
    state, limit = SharedState.new(START), RateLimit(20, 1)
    first = state.ask(question(Process("a"), limit), START)
    answer = state.ask(question(Process("a", era=first.era), limit, longest=longest), START)
    assert (answer.wait, answer.slot) == (50_000, START + 50_000 if is_taken else 0)


@pytest.mark.parametrize(("late", "members"), [(30 * MICRO, 2), (30 * MICRO + 1, 1), (-30 * MICRO, 2)])
def test_a_process_is_counted_for_30_seconds_after_it_was_heard_of(late: int, members: int) -> None:
    state = SharedState.new(START)
    state.ask(question(Process("gone"), RateLimit()), START)
    assert state.ask(question(Process("here"), RateLimit()), START + late).members == members


def test_a_429_slows_by_30_percent_and_the_rate_comes_back_in_six_seconds() -> None:
    state, limit = SharedState.new(START), RateLimit(10, 1)
    state.ask(question(Process("a"), limit, pause=MICRO, wants=False), START)
    gaps = []
    for seconds in (1, 3, 7.1):
        slots = [state.ask(question(Process("a", era=START), limit), START + round(seconds * MICRO)).slot for _ in "ab"]
        gaps.append(slots[1] - slots[0])
    assert gaps == [pytest.approx(MICRO / rate, abs=2) for rate in (7, 8, 10)]


@pytest.mark.parametrize("back", [0, 1_000, 20_000, 20_001, 3600 * MICRO])
@pytest.mark.parametrize("sent", [1, 4, 5, 20])
def test_the_clock_set_back_makes_no_room(back: int, sent: int) -> None:
    """It is as if no time had passed: what was sent until then still counts."""
    state, limit, now = SharedState.new(START), RateLimit(20, 5), START
    for _ in range(sent):
        answer = state.ask(question(Process("a", era=START), limit), now)
        now += answer.wait
    state.ask(question(Process("a", era=START), limit, wants=False), now)
    waits = [SharedState.from_dict(state.to_dict()).ask(question(Process("a", era=START), limit), at).wait
             for at in (now, now - back)]  # fmt: skip
    assert waits[1] == pytest.approx(waits[0], abs=2)
