"""The fence around one durable event: was it sent, may it have fired, and may it be sent (again)?

Pure: no clock, no storage. The journal of `refold-async batch` and the outbox both keep one `State` for each event and
move it only along `TRANSITIONS`. Whoever stores the state makes each step one atomic write (one line of a journal, one
`UPDATE … WHERE state AND attempt`), and writes `Event.SEND` before the first byte of the request.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from .._types.values import Delivery, Idempotency


class State(enum.StrEnum):
    """What is known of one event.

    What always holds, for an event that was sent only through its fence:

    - `QUEUED`, `REJECTED`: it has not fired.
    - `SENDING`: at most one attempt may fire, and that one is under way.
    - `AMBIGUOUS`, `RESENDING`: it may have fired. `RESENDING` says that a further attempt is under way.
    - `ACCEPTED`: it fired.

    At most one attempt is under way at any time, because `Event.SEND` is not allowed in `SENDING` and `RESENDING`.
    """

    QUEUED = "queued"
    SENDING = "sending"
    AMBIGUOUS = "ambiguous"
    RESENDING = "resending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"

    @property
    def may_have_fired(self) -> bool:
        """Whether the event fired, or may have."""
        return self not in (State.QUEUED, State.REJECTED)

    @property
    def is_under_way(self) -> bool:
        """Whether an attempt is on the wire, or about to be."""
        return self in (State.SENDING, State.RESENDING)

    @property
    def is_final(self) -> bool:
        """Whether nothing more is done unless somebody asks for it."""
        return self in (State.ACCEPTED, State.REJECTED)


class Event(enum.StrEnum):
    """What can happen to an event.

    The sender moves the state with `SEND`, the verdicts and `REFUSE`; whoever finds that the sender is gone, with
    `LOST`; a person (or a webhook that saw the workflow run) with the last four.
    """

    SEND = "send"
    """Its slot was granted, and its first byte is about to be written."""

    REFUSE = "refuse"
    """It can never be sent as it is: it was refused before its first byte, with no attempt made."""

    ACCEPT = "accept"
    """The verdict on the attempt: it fired."""
    REJECT = "reject"
    """The verdict on the attempt: Refold rejected it, because of what it holds."""
    DEFER = "defer"
    """The verdict on the attempt: it did not fire, for a reason that passes (see `event_for`)."""
    DOUBT = "doubt"
    """The verdict on the attempt: it may have fired."""

    LOST = "lost"
    """Its sender died, or has been silent for longer than a call can last."""

    CONFIRM = "confirm"
    """Somebody looked: it fired."""
    DENY = "deny"
    """Somebody looked: it did not fire."""
    RETRY = "retry"
    """Somebody wants it sent although Refold rejected it before."""
    FIRE_AGAIN = "fire again"
    """Somebody wants it fired a second time. What is known of the first time no longer counts."""


VERDICTS: Final = (Event.ACCEPT, Event.REJECT, Event.DEFER, Event.DOUBT)
"""The events that end an attempt."""

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = MappingProxyType(
    {
        State.QUEUED: {
            Event.SEND: State.SENDING,
            Event.REFUSE: State.REJECTED,
        },
        State.SENDING: {
            Event.ACCEPT: State.ACCEPTED,
            Event.REJECT: State.REJECTED,
            Event.DEFER: State.QUEUED,
            Event.DOUBT: State.AMBIGUOUS,
            Event.LOST: State.AMBIGUOUS,
        },
        State.AMBIGUOUS: {
            Event.SEND: State.RESENDING,  # only where `send_until` allows it
            # The verdict of a sender that was taken for lost. Only an acceptance says more than what is known.
            Event.ACCEPT: State.ACCEPTED,
            Event.REJECT: State.AMBIGUOUS,
            Event.DEFER: State.AMBIGUOUS,
            Event.DOUBT: State.AMBIGUOUS,
            Event.CONFIRM: State.ACCEPTED,
            Event.DENY: State.QUEUED,
        },
        State.RESENDING: {
            Event.ACCEPT: State.ACCEPTED,
            # An earlier attempt may have fired, whatever became of this one.
            Event.REJECT: State.AMBIGUOUS,
            Event.DEFER: State.AMBIGUOUS,
            Event.DOUBT: State.AMBIGUOUS,
            Event.LOST: State.AMBIGUOUS,
        },
        State.ACCEPTED: {
            Event.FIRE_AGAIN: State.QUEUED,
        },
        State.REJECTED: {
            Event.RETRY: State.QUEUED,
        },
    }
)
"""The whole machine: what is not in here is not allowed, and raises `TransitionError`."""


class TransitionError(ValueError):
    """The event cannot happen in this state: somebody else moved it first, or the record is damaged."""


def step(state: State, event: Event) -> State:
    """Return the state after an event.

    :raises TransitionError: when the event is not allowed in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise TransitionError(f"{event.name} is not allowed in {state.name}") from None


PASSING_STATUSES: Final = frozenset({401, 403, 425, 429, 503})
"""Statuses of a rejection that says nothing about the event itself: a wrong key, a missing right, the rate limit."""


def event_for(delivery: Delivery, *, status_code: int | None = None, retry_after: float | None = None) -> Event:
    """Return the event that a verdict is to the fence.

    :param status_code: of the last response, if there was one.
    :param retry_after: seconds that the server asked to wait, if it did.
    """
    if delivery is Delivery.ACCEPTED:
        return Event.ACCEPT
    if delivery is Delivery.AMBIGUOUS:
        return Event.DOUBT
    if delivery is Delivery.NOT_SENT or retry_after is not None or status_code in PASSING_STATUSES:
        return Event.DEFER
    return Event.REJECT


@frozen
class Sent:
    """The attempts that may have fired, as far as an idempotency key can cover them. Dropped whenever none may have.

    :ivar key: the idempotency key that all of them carried; None if no single key covers them.
    :ivar place: where the key was: the header's or the payload field's name, in any fixed spelling.
    :ivar at: POSIX seconds of the first of them, since when the receiver may remember the key.
    """

    key: str | None
    place: str
    at: float

    def also(self, later: Sent) -> Sent:
        """Return what covers these attempts and a later one."""
        covered = (self.key, self.place) == (later.key, later.place)
        return self if covered else Sent(None, later.place, self.at)


def place_of(idempotency: Idempotency | None) -> str:
    """Return where the idempotency key goes, so that two senders can be compared."""
    if idempotency is None:
        return "header idempotency-key"
    if idempotency.header is not None:
        return f"header {idempotency.header.lower()}"
    return f"field {idempotency.payload_field}"


def send_until(
    state: State, sent: Sent | None, *, now: float, place: str, retry_within: float | None, asked: bool = False
) -> float | None:
    """Return until when the event may be sent: POSIX seconds, infinity for no limit, None if it may not be sent.

    An ambiguous event may be sent when somebody asked for it, or with its own key for as long as the receiver is known
    to drop repeats of that.

    :param sent: the attempts that may have fired.
    :param now: POSIX seconds. Earlier than `sent.at` means that a clock was set back: then no window is trusted.
    :param place: where the sender puts the key now.
    :param retry_within: seconds after the first attempt in which all others must end
        (`Idempotency.retry_within`); None where no window was declared.
    :param asked: whether a person asked for this ambiguous event to be sent again.
    """
    if state is State.QUEUED:
        return math.inf
    if state is not State.AMBIGUOUS:
        return None
    if asked:
        return math.inf
    if sent is None or sent.key is None or sent.place != place or retry_within is None:
        return None
    until = sent.at + retry_within
    return until if sent.at <= now < until else None
