"""What is known of each row, over all runs of a batch: a byte and a digest a row, so that millions fit."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from .. import Delivery

# The states; a row is at its line's place.
UNSENT = 0
SENDING = 1
"""On the wire, or about to be."""
DOUBTFUL = 2
"""It may have fired: an attempt ended so, or it was on the wire when its run was killed."""
RESENDING = 3
"""Doubtful, and on the wire again."""
ACCEPTED = 4
REJECTED = 5
REFUSED = 6
"""Rejected, but for what may pass, such as the rate limit or a wrong key, and not for what the row holds."""
NOT_SENT = 7
INVALID = 8

_PASSING = frozenset({401, 425, 429, 503})
"""Statuses of a rejection that says nothing about the row itself."""

_DIGEST = 8


@frozen
class Sent:
    """The first time a row, or its key, was sent.

    :ivar key: the idempotency key that went with it.
    :ivar place: where that was; see `place_of`.
    :ivar at: POSIX seconds.
    """

    key: str | None
    place: str
    at: float


@define(eq=False)
class Table:
    """The states of all rows.

    :ivar sent: of the rows that are on the wire, when and with which key they were sent first; and of those that were
        doubtful when the journal was read.
    :ivar reading: whether a journal is being read: then the digests are kept, to compare the input with, and what may
        have to be sent again with its key. A run that is going on needs neither, however many rows it has.
    :ivar last: the last line that is known of; 0 for none.
    """

    reading: bool = False
    sent: dict[int, Sent] = field(factory=dict)
    _states: bytearray = field(factory=lambda: bytearray(1))
    _digests: bytearray = field(factory=lambda: bytearray(_DIGEST))
    _counts: list[int] = field(factory=lambda: [0] * 9)

    @property
    def last(self) -> int:
        return len(self._states) - 1

    def state(self, line: int) -> int:
        """Give the state of a row; `UNSENT` for one that is not known."""
        return self._states[line] if line < len(self._states) else UNSENT

    def count(self, *states: int) -> int:
        """Count the rows in these states."""
        return sum(self._counts[state] for state in states)

    def lines(self, state: int) -> Iterator[int]:
        """Give the lines of the rows in a state, in order."""
        line = self._states.find(state, 1)
        while line >= 0:
            yield line
            line = self._states.find(state, line + 1)

    def may_have_fired(self, start: int, stop: int) -> int | None:
        """Give the first line in a range whose row has fired, or may have; None if there is none."""
        found = (line for line in range(start, min(stop, len(self._states))) if _fired(self._states[line]))
        return next(found, None)

    def matches(self, line: int, digest: bytes) -> bool:
        """Whether this is what the row held when it was sent."""
        return self._digests[_DIGEST * line : _DIGEST * (line + 1)] == digest

    def sending(self, line: int, digest: bytes, sent: Sent) -> None:
        """Note that a row goes to the wire."""
        state = self.state(line)
        earlier = self.sent.get(line)
        if state not in (SENDING, DOUBTFUL, RESENDING):
            self.sent[line] = sent
        elif earlier is None or (earlier.key, earlier.place) != (sent.key, sent.place):
            self.sent[line] = Sent(None, sent.place, sent.at)  # no one key stands for all that was sent
        # Sent again without a word on how it ended: whoever sent it first was killed meanwhile.
        self.set(line, RESENDING if state in (SENDING, DOUBTFUL, RESENDING) else SENDING)
        if self.reading:
            missing = _DIGEST * len(self._states) - len(self._digests)
            self._digests.extend(bytes(missing))
            self._digests[_DIGEST * line : _DIGEST * (line + 1)] = digest

    def retrying(self, line: int, delivery: Delivery) -> None:
        """Note that an attempt ended so, and that there will be another."""
        self._end(line, DOUBTFUL if delivery is Delivery.AMBIGUOUS else NOT_SENT)

    def ended(self, line: int, delivery: Delivery, status: int | None) -> None:
        """Note how a row ended; what may have fired before still may, unless it was accepted."""
        if delivery is Delivery.ACCEPTED:
            self.set(line, ACCEPTED)
            self.sent.pop(line, None)
        elif delivery is Delivery.REJECTED:
            self._end(line, REFUSED if status in _PASSING else REJECTED)
        else:
            self._end(line, DOUBTFUL if delivery is Delivery.AMBIGUOUS else NOT_SENT)

    def invalid(self, line: int) -> None:
        """Note that a row cannot be sent."""
        self.set(line, INVALID)

    def killed(self) -> None:
        """Note that whoever sent the rows that are on the wire is gone."""
        for line in self.sent:
            self.set(line, DOUBTFUL)

    def _end(self, line: int, state: int) -> None:
        if self.state(line) in (DOUBTFUL, RESENDING):
            state = DOUBTFUL
        self.set(line, state)
        if state != DOUBTFUL or not self.reading:
            self.sent.pop(line, None)

    def set(self, line: int, state: int) -> None:
        """Set the state of a row."""
        missing = line + 1 - len(self._states)
        if missing > 0:
            self._states.extend(bytes(missing))
        self._counts[self._states[line]] -= 1
        self._counts[state] += 1
        self._states[line] = state


def _fired(state: int) -> bool:
    return state in (SENDING, DOUBTFUL, RESENDING, ACCEPTED)
