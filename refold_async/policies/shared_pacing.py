"""How fast to go together: the arithmetic of one rate limit for many processes, without clock, server or waiting.

The rule is written three times: here, where SQLite and the simulation use it, and in Redis' and PostgreSQL's own
languages. The tests play the same questions to all of them, and hold the answers against each other.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from attrs import define, evolve, field, frozen

from .._types.values import RateLimit
from .pacing import FRESH_FOR, RECOVERY, SLOWDOWN, pause_after

MICRO = 1_000_000

MEMBER_FOR = 30 * MICRO
"""Microseconds for which a process counts as one of the fleet after it was last heard of."""

MOST_A_SECOND = 1000
"""The highest rate that one shared limit carries; each question looks at all slots of a second."""

REJOIN = 750_000
"""Microseconds for which processes go on alone after the server has come back, or lost its state: longer than any of
them takes to notice. So they come back to the shared rate at one moment, rather than some while others still send."""

UNEVEN = 150_000
"""Microseconds of the whole rate that are held back at such a change, either way: what was sent just before may have
come in a burst, or by processes that came close to each other."""

QUIET = 250_000
"""Microseconds in which others use less than half the rate, where the server has been away from them, too."""

_LATE = round(FRESH_FOR * MICRO)


@frozen
class Question:
    """What a process asks of the shared limit. All times are of the server's clock, in microseconds.

    :ivar member: names the process, which counts as a member of the fleet.
    :ivar era: the state's age as the process knows it; 0 for none. Another one means that the state was lost, or that
        the process went its own way, and then the `spent` requests of its last window are counted.
    :ivar rejoins: the process goes its own way, and asks whether the server is there.
    :ivar epoch: of the held and returned slots.
    :ivar held: a slot that was reserved and is due now; 0 for none.
    :ivar returned: slots that will not be used.
    :ivar wants: whether a slot is wanted, beside the held one; in place of a held one that is void, it always is.
    :ivar longest: reserve nothing that is further away than this; negative for no limit.
    :ivar pause: a 429 was met, and pauses all for as long; negative for none.
    :ivar announces: whether to be counted as a member, which has to be repeated.
    """

    member: str
    limit: RateLimit
    era: int = 0
    epoch: int = 0
    held: int = 0
    returned: tuple[int, ...] = ()
    spent: int = 0
    wants: bool = True
    longest: int = -1
    pause: int = -1
    announces: bool = True
    rejoins: bool = False


@frozen
class Answer:
    """What the shared limit says.

    :ivar go: microseconds until the held slot may be used, from zero to 20 ms; negative if it may not.
    :ivar slot: the slot that was reserved; 0 for none.
    :ivar wait: microseconds until that slot; or until the one that was too far away.
    :ivar members: how many processes were heard of in the last half minute.
    :ivar opens: microseconds for which each process is to go its own way; 0 if there are shared slots now.
    :ivar rate, burst: the lowest limit that any of them has.
    """

    era: int
    epoch: int
    go: int
    slot: int
    wait: int
    members: int
    rate: float
    burst: int
    opens: int = 0


@define
class SharedState:
    """What many processes have in common.

    What always holds: `slots` is sorted, and has all that may still be in the window; were each written up to 20 ms
    after its time, both readings of the limit would be kept (see `Pacer`). Only where the burst is smaller than what
    falls into 20 ms besides the first, as a burst of 1, requests may come closer to each other by these 20 ms.

    :ivar slots: the times for which requests are granted, past and future, in microseconds.
    :ivar epoch: rises with each pause, and with each step back of the clock; slots of an earlier one are void.
    :ivar opens_at: no slot is granted before, as processes go their own way until then; 0 if they never did.
    """

    era: int
    epoch: int
    last: int
    slots: list[int] = field(factory=list)
    paused_until: int = 0
    slowed: float = float("inf")
    rate: float = 0.0
    burst: int = 0
    members: dict[str, int] = field(factory=dict)
    limits: dict[str, int] = field(factory=dict)
    opens_at: int = 0

    @classmethod
    def new(cls, now: int) -> SharedState:
        """Begin at `now`, which is also the era's name and the first epoch's, so that they never come again."""
        return cls(era=now, epoch=now, last=now)

    def ask(self, question: Question, now: int) -> Answer:
        """Answer a question, and keep what follows from it."""
        self._follow_the_clock(now)
        is_of_another_era = question.era != self.era
        if question.announces or is_of_another_era or not self.limits:
            self._announce(question, now)
        window = ceil(ceil(self.rate) * MICRO / self.rate) + _LATE
        self.slots = [slot for slot in self.slots if slot > now - window]
        self._make_up(question, is_of_another_era, now)
        if question.pause >= 0:
            self._pause(now, question.pause)
        go, slot, wait = -1, 0, 0
        if question.held and question.epoch == self.epoch:
            if abs(question.held - now) <= _LATE:
                go = max(0, question.held - now)
            elif question.held > now:  # asked too early
                slot, wait = question.held, question.held - now
            else:
                self._take_out(question.held)
        if (question.wants or (question.held and go < 0)) and not slot:
            at = self._next(now, window)
            wait = at - now
            if question.longest < 0 or wait <= question.longest:
                slot = at
                self.slots.append(at)
        opens = max(0, self.opens_at - now)
        return Answer(self.era, self.epoch, go, slot, wait, len(self.members), self.rate, self.burst, opens)

    def _make_up(self, question: Question, is_of_another_era: bool, now: int) -> None:
        """Take in what the process did since its last question."""
        if self._is_missing_what_was_sent(question, now):
            self._close(now)
        if is_of_another_era:
            if now >= self.opens_at:  # what was sent until then is counted
                self.slots = sorted([*self.slots, *[now] * question.spent])
        elif question.epoch == self.epoch:
            for slot in question.returned:
                self._take_out(slot)

    def _is_missing_what_was_sent(self, question: Question, now: int) -> bool:
        """Whether processes go their own way, or the state was lost, so that what they sent last is not in it."""
        if now < self.opens_at:
            return False
        if question.rejoins:
            span = max(QUIET, 2 * MICRO / self.rate)
            return 2 * MICRO * sum(1 for slot in self.slots if now - span < slot <= now) < span * self.rate
        return question.era not in {0, self.era} and not self.opens_at and now - self.era <= REJOIN

    def _close(self, now: int) -> None:
        """Let all go their own way for a while, and count it as if they had used the whole rate."""
        self._void(now)
        self.opens_at = now + REJOIN
        interval = MICRO / self._current_rate(now)
        even = [ceil(self.opens_at - place * interval) for place in reversed(range(ceil(self.rate)))]
        self.slots = even + [self.opens_at] * int(self.rate * UNEVEN / MICRO)

    def _follow_the_clock(self, now: int) -> None:
        """Let no time pass when the clock is set back, rather than wait until it is where it was."""
        back = self.last - now
        if back > 0:
            self.slots = [slot - back for slot in self.slots]
            self.paused_until -= back
            self.opens_at = max(0, self.opens_at - back)
            if back > _LATE:
                self._void(now)
        self.last = now

    def _void(self, now: int) -> None:
        self.epoch += 1
        self.slots = [slot for slot in self.slots if slot <= max(now, self.opens_at)]

    def _announce(self, question: Question, now: int) -> None:
        limit = f"{question.limit.rate!r} {question.limit.burst}"
        self.members[question.member] = now
        self.limits[limit] = now
        for seen in (self.members, self.limits):
            for name in [name for name, at in seen.items() if abs(now - at) > MEMBER_FOR]:
                del seen[name]
        self.rate = min(float(name.split()[0]) for name in self.limits)
        self.burst = min(int(name.split()[1]) for name in self.limits)

    def _take_out(self, slot: int) -> None:
        if slot in self.slots:
            self.slots.remove(slot)

    def _current_rate(self, now: int) -> float:
        recovered = self.slowed + RECOVERY * self.rate * max(0, now - self.paused_until) / MICRO
        return min(self.rate, recovered)

    def _pause(self, now: int, pause: int) -> None:
        if now >= self.paused_until:
            self.slowed = max(min(1.0, self.rate), SLOWDOWN * self._current_rate(now))
        if now + pause > self.paused_until:
            self.paused_until = now + pause
            self._void(now)

    def _next(self, now: int, window: int) -> int:
        """Return the earliest time at which one more request keeps to both readings."""
        rate = self._current_rate(now)
        interval = MICRO / rate
        slack = max(0.0, (self.burst - 1) * MICRO / self.rate - _LATE)
        count = len(self.slots)
        most = ceil(self.rate)
        if rate < self.rate:
            most = max(1, int(most * rate / self.rate))
        at: float = max(now, self.paused_until, self.opens_at)
        for place, slot in enumerate(self.slots):
            at = max(at, slot, slot + (count - place) * interval - slack)
        if count >= most:
            at = max(at, self.slots[count - most] + window)
        return ceil(at)

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        slowed = None if self.slowed == float("inf") else self.slowed
        return {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")} | {"slowed": slowed}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SharedState:
        """Read what `to_dict` returned."""
        state = cls(**values)
        return evolve(state, slowed=float("inf")) if values["slowed"] is None else state


def pause_of(retry_after: float | None, longest: float) -> int:
    """Return how long a 429 pauses the fleet, in microseconds."""
    return round(pause_after(retry_after, longest) * MICRO)
