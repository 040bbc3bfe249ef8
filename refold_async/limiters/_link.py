"""What one event loop of one process knows of the limit that it shares with others."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Protocol

from attrs import define, field, frozen

from .._types.values import RateLimit
from ..policies.pacing import FRESH_FOR, Pacer
from ..policies.shared_pacing import MEMBER_FOR, MICRO, UNEVEN, Answer, Question

ANSWER_WITHIN = 0.25
"""Seconds that anyone waits for the server of a shared limit, before the process goes on without it."""

PROBE_EVERY = 0.5
"""Seconds between questions to a server that did not answer. With `ANSWER_WITHIN` it is at most `REJOIN`."""

PROBE_SOON = 0.05
"""Seconds until the first question to a server that answered with an error; twice as many each time after it."""

KNOWN_FOR = MEMBER_FOR / MICRO
"""Seconds for which the largest fleet that was heard of counts: one that starts with nothing has to find together."""

ANNOUNCE_EVERY = 10.0
"""Seconds between announcements of this process, which is forgotten after half a minute."""

FORGET_AFTER = 600.0
"""Seconds without a question after which the server may have forgotten the state, as nobody used it."""

ALONE_AT_THE_START = 1.0
"""Requests a second, where the server was never reached and nobody said how many processes there are."""

ALONE_SHARE = 0.8
"""How much of its part of the rate a process uses alone. Nobody keeps the processes from sending at the same moment:
with all of it, 8 processes at 2.5 a second have more than 20 requests in many seconds; with this, at most 16."""

_LATE = round(FRESH_FOR * MICRO)


class Store(Protocol):
    """Where the shared state is kept."""

    async def ask(self, question: Question) -> Answer:
        """Ask; may fail in any way, or hang. May be called while another question is under way."""
        ...

    async def aclose(self) -> None:
        """Close connections of its own."""
        ...


@frozen
class Ready:
    """A slot that may be used from `at` on (clock time in seconds), for 20 ms."""

    slot: int
    epoch: int
    at: float


@define(eq=False)
class Link:
    """The state between one event loop and the server.

    It is *shared*, or *alone* after a question that failed or was not answered in time, until a probe is answered. It
    is alone, too, where the answer says when there will be shared slots, as the server has come back or has lost its
    state: until then it *joins*, and no longer probes.
    While shared it has *no slot*, is *asking*, *holds* one slot that is not due yet, or has it *ready*: a slot that
    lies ahead is held, and asked for once more when it is due, since a 429 may have voided it; one that is due within
    20 ms is ready at once. Held slots that were not used are returned with the next question.

    :ivar alone: paces this process while there are no shared slots; None while there are.
    :ivar joins_at: when there will be, where the server has said so.
    :ivar members: how many processes share the limit: the most that were heard of in the last half minute.
    :ivar may_go_alone: whether it sends without the server; else it waits for shared slots.
    :ivar pauses: how many 429s this loop has met; its grants of before must not be used any more.
    :ivar ask_at: when to ask again for the held slot, so that the question arrives when it is due.
    """

    store: Store
    limit: RateLimit
    max_pause: float | None
    clock: Callable[[], float]
    may_go_alone: bool = True
    instances: int | None = None
    member: str = field(factory=lambda: uuid.uuid4().hex)
    alone: Pacer | None = None
    joins_at: float | None = None
    members: int = 0
    lowest: RateLimit | None = None
    pauses: int = 0
    held: int = 0
    ask_at: float = 0.0
    too_far: float | None = None
    probe_at: float = float("-inf")
    asked_at: float | None = None
    ready: deque[Ready] = field(factory=deque)
    spent: deque[float] = field(init=False)
    _members_at: float = float("-inf")
    _probe_after: float = 0.0
    _owes_pause: float = float("-inf")
    _patience: float = ANSWER_WITHIN
    _asked_pauses: int = 0
    _era: int = 0
    _epoch: int = 0
    _held_epoch: int = 0
    _returned: list[tuple[int, int]] = field(factory=list)
    _quickest: float = float("inf")
    _announced_at: float = float("-inf")
    _answered_at: float = float("-inf")

    def __attrs_post_init__(self) -> None:
        self.spent = deque(maxlen=ceil(self.limit.rate))

    def question(self, now: float, *, wants: bool, longest: float | None, pause: int = -1) -> Question:
        """Put a question together. While alone it only asks whether the server is there: what it takes may be lost.

        :param longest: do not reserve a slot that is further away, in seconds.
        :param pause: microseconds; such a question is about nothing else.
        """
        is_probe = self.alone is not None and self.joins_at is None
        if pause < 0 and not is_probe and self._owes_pause > now:
            pause = round((self._owes_pause - now) * MICRO)
        if now - self._answered_at > FORGET_AFTER:
            self._era = 0
        held = 0 if pause >= 0 else self.held
        epoch = self._held_epoch if held else self._epoch
        returned = tuple(slot for each, slot in self._returned if each == epoch)
        self._returned.clear()
        announces = now - self._announced_at >= ANNOUNCE_EVERY or not self._era
        if announces:
            self._announced_at = now
        window = ceil(self.limit.rate) / self.limit.rate
        spent = 0 if is_probe else sum(1 for at in self.spent if at > now - window)
        return Question(
            member=self.member,
            limit=self.limit,
            era=self._era,
            epoch=epoch,
            held=held,
            returned=returned,
            spent=spent,
            wants=wants and pause < 0 and not is_probe,
            longest=-1 if longest is None else max(0, int(longest * MICRO)),
            pause=pause,
            announces=announces,
            rejoins=is_probe and self.may_go_alone,
        )

    def asking(self, now: float) -> bool:
        """Whether an answer is still waited for."""
        return self.asked_at is not None and now < self.asked_at + self._patience

    def overdue(self, now: float) -> bool:
        """Whether an answer should have come; if the event loop was held up, it gets another moment."""
        if self.asked_at is None or self.asking(now):
            return False
        if self._patience == ANSWER_WITHIN and now > self.asked_at + ANSWER_WITHIN + 0.05:
            self._patience = now - self.asked_at + 0.05
            return False
        return True

    @property
    def answer_by(self) -> float:
        """The clock time until which an answer is waited for."""
        assert self.asked_at is not None
        return self.asked_at + self._patience

    def begin(self, now: float) -> None:
        """Note that a question for a slot is sent."""
        self.asked_at, self._patience, self.too_far = now, ANSWER_WITHIN, None
        self._asked_pauses = self.pauses

    def answered(self, question: Question, answer: Answer, asked_at: float | None, now: float) -> None:
        """Take an answer in. If it comes too late, what it reserved is returned; but the server is there.

        :param asked_at: None for a question that nobody waits for.
        """
        if asked_at is not None and self.asked_at != asked_at:
            if answer.slot:
                self._returned.append((answer.epoch, answer.slot))
            self.probe_at = min(self.probe_at, now)
            return
        self._quickest = min(self._quickest * 1.02, now - (now if asked_at is None else asked_at))
        self._answered_at = now
        self._hear_of(answer, now)
        self._epoch = max(answer.epoch, self._epoch) if self._era == answer.era else answer.epoch
        self._era = answer.era
        if question.pause >= 0:
            self._owes_pause = float("-inf")
        self._join(answer, now)
        if asked_at is not None:
            self.asked_at = None
            self._slots(question, answer, now)

    def _hear_of(self, answer: Answer, now: float) -> None:
        self.lowest = RateLimit(answer.rate, answer.burst)
        if answer.members >= self.members or now > self._members_at + KNOWN_FOR:
            self.members, self._members_at = answer.members, now

    def _join(self, answer: Answer, now: float) -> None:
        """Go by what the server says of when there are shared slots."""
        was_alone = self.alone is not None and self.joins_at is None
        self._probe_after = 0.0
        if was_alone and self.alone is not None:
            self._owes_pause = max(self._owes_pause, self.alone.paused_until)
        if answer.opens and self.may_go_alone:
            if self.alone is None:
                self._pace_alone()
            self.joins_at = now + answer.opens / MICRO
        elif was_alone:
            self.alone = None
            self._era = 0  # so that what was sent meanwhile is counted

    def settle(self, now: float) -> None:
        """Go over to the shared slots, once there are any."""
        if self.joins_at is not None and now >= self.joins_at:
            self.alone = self.joins_at = None

    def _slots(self, question: Question, answer: Answer, now: float) -> None:
        is_void = self.pauses != self._asked_pauses
        if question.held:
            self.held = 0
            if answer.go >= 0 and not is_void:
                self.ready.append(Ready(question.held, question.epoch, now + answer.go / MICRO))
        if not answer.slot:
            self.too_far = now + answer.wait / MICRO if question.wants else None
        elif is_void:
            pass  # the server has voided it, too
        elif answer.wait <= _LATE and answer.slot != question.held:
            self.ready.append(Ready(answer.slot, answer.epoch, now + answer.wait / MICRO))
        else:
            self.held, self._held_epoch = answer.slot, answer.epoch
            self.ask_at = now + answer.wait / MICRO - min(self._quickest, 1.0)

    def take(self, now: float) -> Ready | None:
        """Take a slot that may be used now; those that were not used in time are returned."""
        while self.ready and now > self.ready[0].at + FRESH_FOR:
            self.give_back(self.ready.popleft())
        if self.ready and self.ready[0].at <= now:
            return self.ready.popleft()
        return None

    def give_back(self, ready: Ready) -> None:
        """Return a slot with the next question."""
        self._returned.append((ready.epoch, ready.slot))

    def void(self) -> None:
        """Forget all slots, because of a 429."""
        self.pauses += 1
        self.held = 0
        self.ready.clear()

    def go_alone(self, now: float) -> RateLimit:
        """Go on without the server, at this process's share. Returns the share."""
        if self.alone is None:
            self._pace_alone()
        self.joins_at = None
        self._era = 0
        self.probe_at = now  # at once: it may have been one answer that was lost
        return self.share()

    def _pace_alone(self) -> None:
        """Begin at this process's share, after what it sent last."""
        self.alone = Pacer(self.share(), max_pause=self.max_pause)
        if self.spent:
            self.alone.spent(self.spent[-1] + UNEVEN / MICRO)  # all together they have just used the whole rate
        self.asked_at = None
        self.held = 0
        self.ready.clear()

    def probes(self, now: float) -> bool:
        """Whether to ask now if the server is there."""
        return self.alone is not None and self.joins_at is None and now >= self.probe_at and not self.asking(now)

    def looks_at(self, now: float) -> float:
        """Return when to look again, while alone: at the time of the next probe, or when there are shared slots."""
        if self.joins_at is not None:
            return self.joins_at
        return max(self.probe_at, self.answer_by) if self.asking(now) else self.probe_at

    def probed(self, now: float) -> None:
        """Note that the server is being asked whether it is there."""
        self.probe_at = now + PROBE_EVERY

    def missed(self, now: float) -> None:
        """Note that it did not answer, and ask again soon: it may just be restarting."""
        self.asked_at = None
        self._probe_after = min(max(PROBE_SOON, 2 * self._probe_after), PROBE_EVERY)
        self.probe_at = min(self.probe_at, now + self._probe_after)

    def share(self) -> RateLimit:
        """Return the part of the limit that is this process's own."""
        fleet = self.instances or self.members
        lowest = self.lowest or self.limit
        return RateLimit(ALONE_SHARE * lowest.rate / fleet if fleet else min(ALONE_AT_THE_START, lowest.rate), 1)
