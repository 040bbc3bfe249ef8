"""What is known of each row, over all runs of a batch: a byte and a digest a row, so that millions fit."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator
from typing import Final

from attrs import define, field

from ... import Delivery
from ...policies.fence import Event, Sent, State, event_for, step

__all__ = ["RowState", "Sent", "Table"]


class RowState(enum.IntEnum):
    """The fence's states, with `State.QUEUED` split by what the summary says of the row."""

    UNSENT = 0
    """Queued: nothing was tried yet, or it waits for its next turn."""
    SENDING = 1
    AMBIGUOUS = 2
    RESENDING = 3
    ACCEPTED = 4
    REJECTED = 5
    DEFERRED = 6
    """Queued: rejected, for a reason that passes, such as the rate limit or a wrong key."""
    NOT_SENT = 7
    """Queued: it could not be sent."""
    INVALID = 8
    """Queued: it cannot be sent before somebody mends it."""


_FENCE: Final = tuple(State.__members__.get(row.name, State.QUEUED) for row in RowState)
_PLAIN: Final = {state: RowState.NOT_SENT if state is State.QUEUED else RowState[state.name] for state in State}

_DIGEST = 8


@define(eq=False)
class Table:
    """The states of all rows.

    Each row is moved along `fence.TRANSITIONS` by `sending`, `retrying`, `ended` and `killed`: by the run while rows
    are sent, and by `recover` while an earlier run's journal is read. What always holds is what `fence.State` says.

    :ivar sent: of the rows that are on the wire, when and with which key they were sent first; and of those that were
        ambiguous when the journal was read.
    :ivar reading: whether a journal is being read: then the digests and ordering keys are kept, to compare the input
        with, and what may have to be sent again with its key. A run that is going on needs neither, however many rows
        it has.
    :ivar last: the last line that is known of; 0 for none.
    """

    reading: bool = False
    sent: dict[int, Sent] = field(factory=dict)
    _states: bytearray = field(factory=lambda: bytearray(1))
    _digests: bytearray = field(factory=lambda: bytearray(_DIGEST))
    _keys: array[int] = field(factory=lambda: array("Q"))
    _counts: list[int] = field(factory=lambda: [0] * len(RowState))

    @property
    def last(self) -> int:
        return len(self._states) - 1

    def state(self, line: int) -> RowState:
        """Return the state of a row; `UNSENT` for one that is not known."""
        return RowState(self._states[line]) if line < len(self._states) else RowState.UNSENT

    def fence(self, line: int) -> State:
        """Return the state of a row as the fence has it."""
        return _FENCE[self._states[line]] if line < len(self._states) else State.QUEUED

    def count(self, *states: RowState) -> int:
        """Count the rows in these states."""
        return sum(self._counts[state] for state in states)

    def lines(self, *states: RowState) -> Iterator[int]:
        """Yield the lines of the rows in these states, in order within each state."""
        for state in states:
            line = self._states.find(state, 1)
            while line >= 0:
                yield line
                line = self._states.find(state, line + 1)

    def may_have_fired(self, start: int, stop: int) -> int | None:
        """Return the first line in a range whose row has fired, or may have; None if there is none."""
        lines = range(start, min(stop, len(self._states)))
        return next((line for line in lines if _FENCE[self._states[line]].may_have_fired), None)

    def matches(self, line: int, digest: bytes) -> bool:
        """Whether this is what the row held when it was sent."""
        return self._digests[_DIGEST * line : _DIGEST * (line + 1)] == digest

    def keyed(self) -> Iterator[tuple[int, int, RowState]]:
        """Yield the lines of all rows with an ordering key, its digest and the row's state, as the journal had them."""
        for line, key in enumerate(self._keys):
            if key:
                yield line, key, self.state(line)

    def sending(self, line: int, digest: bytes, sent: Sent, key: int = 0) -> None:
        """Record that a row goes to the wire.

        :param key: the digest of its ordering key; 0 for none.
        :raises TransitionError: for a row that fired.
        """
        state = self.fence(line)
        if state.is_under_way:  # sent again without a word on how it ended: its sender was killed meanwhile
            state = step(state, Event.LOST)
        if state is State.REJECTED:  # whoever sends it was asked to
            state = step(state, Event.RETRY)
        after = step(state, Event.SEND)
        earlier = self.sent.get(line)
        if state is State.QUEUED:
            self.sent[line] = sent
        else:
            self.sent[line] = Sent(None, sent.place, sent.at) if earlier is None else earlier.also(sent)
        self.set(line, _PLAIN[after])
        if self.reading:
            self._remember(line, digest, key)

    def retrying(self, line: int, delivery: Delivery) -> None:
        """Record that an attempt ended so, and that there will be another.

        :raises TransitionError: for a row that is not on the wire.
        """
        self._end(line, Event.DOUBT if delivery is Delivery.AMBIGUOUS else Event.DEFER, RowState.NOT_SENT)

    def ended(self, line: int, delivery: Delivery, status: int | None) -> None:
        """Record how a row ended; what may have fired before still may, unless it was accepted.

        :raises TransitionError: for an ending that cannot be.
        """
        event = event_for(delivery, status_code=status)
        queued = RowState.DEFERRED if delivery is Delivery.REJECTED else RowState.NOT_SENT
        state = self.fence(line)
        if state is State.QUEUED and event in (Event.DEFER, Event.REJECT):
            self.set(line, queued)  # no attempt was under way: before the first, or between two
        elif state is not State.REJECTED or event is not Event.DEFER:  # else it was to be sent again, and was not
            self._end(line, event, queued)

    def invalid(self, line: int) -> None:
        """Record that a row cannot be sent as it is; one that may have fired stays what it is."""
        if not self.fence(line).may_have_fired:
            self.set(line, RowState.INVALID)

    def waits(self, line: int) -> None:
        """Record that a row which did not fire waits for its next turn."""
        if self.fence(line) is State.QUEUED:
            self.set(line, RowState.UNSENT)

    def killed(self) -> None:
        """Record that whoever sent the rows that are on the wire is gone."""
        for line in self.sent:
            if self.fence(line).is_under_way:
                self.set(line, _PLAIN[step(self.fence(line), Event.LOST)])

    def _end(self, line: int, event: Event, queued: RowState) -> None:
        after = step(self.fence(line), event)
        self.set(line, queued if after is State.QUEUED else _PLAIN[after])
        if after is not State.AMBIGUOUS or not self.reading:
            self.sent.pop(line, None)

    def _remember(self, line: int, digest: bytes, key: int) -> None:
        self._digests.extend(bytes(max(0, _DIGEST * len(self._states) - len(self._digests))))
        self._digests[_DIGEST * line : _DIGEST * (line + 1)] = digest
        if key or line < len(self._keys):
            self._keys.frombytes(bytes(self._keys.itemsize * max(0, line + 1 - len(self._keys))))
            self._keys[line] = key

    def set(self, line: int, state: RowState) -> None:
        """Set the state of a row."""
        missing = line + 1 - len(self._states)
        if missing > 0:
            self._states.extend(bytes(missing))
        self._counts[self._states[line]] -= 1
        self._counts[state] += 1
        self._states[line] = state
