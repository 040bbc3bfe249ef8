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
from ..policies.shared_pacing import MICRO, Answer, Question

ANSWER_WITHIN = 0.25
"""Seconds that anyone waits for the server of a shared limit, before the process goes on without it."""

PROBE_EVERY = 1.0
"""Seconds between questions to a server that did not answer."""

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

    It is *shared*, or *alone* after a question that failed or was not answered in time, until a probe is answered.
    While shared it has *no slot*, is *asking*, *holds* one slot that is not due yet, or has it *ready*: a slot that
    lies ahead is held, and asked for once more when it is due, since a 429 may have voided it; one that is due within
    20 ms is ready at once. Held slots that were not used are returned with the next question.

    :ivar alone: paces this process while the server does not answer; None while it does.
    :ivar members: how many processes share the limit, as last heard.
    :ivar pauses: how many 429s this loop has met; its grants of before must not be used any more.
    :ivar ask_at: when to ask again for the held slot, so that the question arrives when it is due.
    """

    store: Store
    limit: RateLimit
    max_pause: float | None
    clock: Callable[[], float]
    member: str = field(factory=lambda: uuid.uuid4().hex)
    alone: Pacer | None = None
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
        """Put a question together.

        :param longest: do not reserve a slot that is further away, in seconds.
        :param pause: microseconds; such a question is about nothing else.
        """
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
        return Question(
            member=self.member,
            limit=self.limit,
            era=self._era,
            epoch=epoch,
            held=held,
            returned=returned,
            spent=sum(1 for at in self.spent if at > now - window),
            wants=wants and pause < 0,
            longest=-1 if longest is None else max(0, int(longest * MICRO)),
            pause=pause,
            announces=announces,
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

    def answered(self, question: Question, answer: Answer, asked_at: float, now: float) -> None:
        """Take an answer in, unless it comes too late: then what it reserved is returned."""
        for_a_slot = question.pause < 0
        if for_a_slot and self.asked_at != asked_at:
            if answer.slot:
                self._returned.append((answer.epoch, answer.slot))
            return
        self._quickest = min(self._quickest * 1.02, now - asked_at)
        self._answered_at = now
        self.members, self.lowest = answer.members, RateLimit(answer.rate, answer.burst)
        self._epoch = max(answer.epoch, self._epoch) if self._era == answer.era else answer.epoch
        self._era = answer.era
        self.alone = None
        if for_a_slot:
            self.asked_at = None
            self._slots(question, answer, now)

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

    def go_alone(self, now: float, instances: int | None) -> RateLimit:
        """Go on without the server, at this process's share; what was sent last counts. Returns the share."""
        share = self.share(instances)
        self.alone = Pacer(share, max_pause=self.max_pause)
        for at in self.spent:
            self.alone.spent(at)
        self.asked_at = None
        self._era = 0  # so that what is sent meanwhile is counted
        self.held = 0
        self.ready.clear()
        self.probe_at = now  # at once: it may have been one answer that was lost
        return share

    def share(self, instances: int | None) -> RateLimit:
        """Return the part of the limit that is this process's own."""
        fleet = instances or self.members
        lowest = self.lowest or self.limit
        return RateLimit(ALONE_SHARE * lowest.rate / fleet if fleet else min(ALONE_AT_THE_START, lowest.rate), 1)
