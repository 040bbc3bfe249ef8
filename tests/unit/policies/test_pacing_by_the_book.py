"""The pacer beside the rule as it is written down, which looks at every write there ever was."""

from __future__ import annotations

from math import ceil, inf

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import RateLimit
from refold_async.policies.pacing import FRESH_FOR, LONGEST_PAUSE, Pacer, pause_after

from .test_pacing import DELAYS, LIMITS

CLOSE = 1e-6


@define
class Book:
    """The rule, without a thought for speed.

    The bucket loses one for each write, and gets `rate` back a second; no write may find less than one in it, were all
    unsent ones written, too. And no `n / rate` seconds have more than `n = ceil(rate)` of them.
    """

    limit: RateLimit
    unsent: int = 0
    counted: list[float] = field(factory=list)
    empty_until: float = -inf
    slowed: float | None = None
    paused_until: float = -inf

    def rate(self, now: float) -> float:
        if self.slowed is None:
            return self.limit.rate
        back = 0.05 * self.limit.rate * max(0.0, now - self.paused_until)
        return min(self.limit.rate, self.slowed + back)

    def due(self, now: float) -> float:
        """Return the earliest time for one more, were all unsent ones written as soon as may be."""
        rate, start, window = self.rate(now), max(now, self.paused_until), ceil(self.limit.rate) / self.limit.rate
        most = ceil(self.limit.rate) if rate >= self.limit.rate else max(1, int(rate * window))
        held_back = self.unsent / rate - (self.limit.burst - 1) / self.limit.rate
        at = max(start, max(start, self.empty_until) + held_back)
        full = sorted([at for at in self.counted if at > now - window]) + [start] * self.unsent
        return max(at, full[-most] + window) if len(full) >= most else at

    def sent(self, granted: float, now: float) -> None:
        self.unsent -= 1
        self.empty_until = max(self.empty_until, now) + 1 / self.rate(now)
        self.counted.append(max(granted + 0.02, now))

    def throttled(self, now: float, hint: float | None) -> None:
        if now >= self.paused_until:
            self.slowed = max(min(1.0, self.limit.rate), 0.7 * self.rate(now))
        self.paused_until = max(self.paused_until, now + min(60.0, 1.0 if hint is None else hint))


MOVES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.003, 0.007]) | DELAYS | st.floats(0, 0.06),
        st.sampled_from(["grant"] * 8 + ["take", "sent", "sent", "dropped", "spent", "throttled", "ahead"]),
        st.sampled_from([0, 0, 1, 2, 3, 9]),
        st.sampled_from([None, 0.01, 0.05]) | st.floats(0.01, 90),
    ),
    max_size=120,
)


@settings(max_examples=300)
@given(MOVES, LIMITS)
def test_every_grant_and_forecast_is_that_of_the_rule(
    moves: list[tuple[float, str, int, float | None]], limit: RateLimit
) -> None:
    pacer, book, now = Pacer(limit), Book(limit), 1000.0
    held: list[float] = []
    for passed, move, number, hint in moves:
        now += passed
        due = book.due(now)
        assert pacer.earliest(now) == pytest.approx(due, rel=0, abs=CLOSE)
        assert pacer.rate(now) == pytest.approx(book.rate(now))
        if move in {"grant", "take"}:
            for _ in range(1 + number):
                due = book.due(now)
                made = pacer.grant(now) if move == "grant" else pacer.take(now)
                if abs(due - now) > CLOSE or due == now:
                    assert made == (due <= now)
                if made:
                    book.unsent += 1
                    if move == "grant":
                        held.append(now)
                    else:
                        book.sent(now, now)
        elif move == "sent" and held:
            granted = held.pop(number % len(held))
            pacer.sent(granted, now)
            book.sent(granted, now)
        elif move == "dropped" and held:
            held.pop(number % len(held))
            pacer.dropped()
            book.unsent -= 1
        elif move == "spent":
            pacer.spent(now)
            book.unsent += 1
            book.sent(now, now)
        elif move == "throttled":
            before = pacer.pauses
            pacer.throttled(now, hint)
            book.throttled(now, hint)
            assert pacer.pauses == before + 1
            assert pacer.paused_until == pytest.approx(book.paused_until)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.0001, 0.001, 0.01, 0.3]), st.integers(0, 400)), max_size=25),
    st.sampled_from([RateLimit(1500, 40), RateLimit(2999.5, 900), RateLimit(20, 3)]),
    st.none() | st.integers(0, 24),
)
def test_taking_in_one_step_is_the_same_as_in_two(steps: list[tuple[float, int]], limit: RateLimit, late: int) -> None:
    """Also where writes are remembered in groups, while one grant is still on its way."""
    one, two, now = Pacer(limit), Pacer(limit), 1000.0
    assert late is None or (one.grant(now) and two.grant(now))
    for number, (passed, count) in enumerate(steps):
        now += passed
        if number == late:
            one.sent(1000.0, now)
            two.sent(1000.0, now)
        for _ in range(count):
            taken = two.grant(now)
            if taken:
                two.sent(now, now)
            assert one.take(now) == taken
            if not taken:
                break
        assert one.earliest(now) == two.earliest(now)
        assert one.earliest(now, 7) == two.earliest(now, 7)


@pytest.mark.parametrize(
    ("limit", "ahead", "expected"),
    [
        (RateLimit(20, 1), 0, 0.0),
        (RateLimit(20, 1), 1, 0.05),
        (RateLimit(20, 5), 4, 0.0),
        (RateLimit(20, 5), 5, 0.05),
        (RateLimit(20, 5), 24, 1.02),  # the window of 20 is full: each further round of them takes a second and 20 ms
        (RateLimit(20, 5), 40, 2 * (1 + FRESH_FOR)),
        (RateLimit(0.5, 1), 3, 3 * (2 + FRESH_FOR)),
    ],
)
def test_a_forecast_for_those_behind_others(limit: RateLimit, ahead: int, expected: float) -> None:
    assert Pacer(limit).earliest(1000.0, ahead) - 1000 == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("rate", [20, 3, 0.5])
def test_after_the_pause_of_a_429_the_rate_is_back_in_six_seconds(rate: float) -> None:
    pacer = Pacer(RateLimit(rate, 1))
    assert [pacer.rate(at) for at in (0.0, 1000.0)] == [rate, rate]
    pacer.throttled(1000.0, 3.0)
    low = max(min(1.0, rate), 0.7 * rate)
    assert pacer.rate(1001.0) == pacer.rate(1003.0) == pytest.approx(low)
    pacer.throttled(1001.0, 1.0)
    assert pacer.paused_until == 1003.0
    assert pacer.rate(1003.0) == pytest.approx(low), "cut once for each pause"
    assert pacer.rate(1005.0) == pytest.approx(min(rate, low + 0.1 * rate))
    assert pacer.rate(1009.1) == rate
    pacer.throttled(1003.0, 1.0)
    assert pacer.rate(1004.0) == pytest.approx(max(min(1.0, rate), 0.7 * low)), "once more for the next pause"


@pytest.mark.parametrize(
    ("hint", "longest", "pause"),
    [
        (None, None, 1), (0.0, None, 1), (-3.0, None, 1), (float("nan"), 60, 1), (0.25, 60, 0.25), (90, 60, 60),
        (90, None, 90), (None, 0.5, 0.5), (inf, LONGEST_PAUSE, LONGEST_PAUSE),
    ],
)  # fmt: skip
def test_a_pause_is_as_long_as_the_hint_if_that_is_a_time(
    hint: float | None, longest: float | None, pause: float
) -> None:
    assert pause_after(hint, longest) == pause


@settings(max_examples=30)
@given(st.permutations(range(6)))
def test_writes_in_any_order_count_from_20_ms_after_their_grants(order: list[int]) -> None:
    pacer = Pacer(RateLimit(6, 6))
    grants = [1000 + 0.001 * (number // 2 * 2) for number in range(6)]
    assert all(map(pacer.grant, grants))
    for number in order:
        pacer.sent(grants[number], 1000.01)
    now = 1001.0
    for granted in grants:
        now = pacer.earliest(now)
        assert now == pytest.approx(granted + FRESH_FOR + 1, rel=0, abs=CLOSE)
        assert pacer.take(now)


def test_a_slower_rate_counts_from_the_right_write_of_the_window() -> None:
    pacer = Pacer(RateLimit(4, 5))
    for at in (1000.0, 1000.1, 1000.2, 1000.3):
        assert pacer.take(at)
    pacer.throttled(1000.35, 0.01)
    assert pacer.earliest(1000.4) == pytest.approx(1000.2 + FRESH_FOR + 1, rel=0, abs=CLOSE), (
        "at most 2 of 4 in a second now"
    )


@pytest.mark.parametrize(("early", "made"), [(0.0, True), (5e-10, True), (1e-6, False)])
def test_a_sleep_that_ends_by_rounding_a_nanosecond_early_has_not_to_be_repeated(early: float, made: bool) -> None:
    pacer = Pacer(RateLimit(20, 1))
    assert pacer.take(1000.0)
    assert pacer.grant(pacer.earliest(1000.0) - early) == made
