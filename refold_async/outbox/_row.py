"""One event of an outbox as a row, and each step that can be taken with it, as a change of columns.

Pure: no clock and no storage. A store keeps the columns of `Row` and applies a `Change` in one atomic `UPDATE`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, field, fields, frozen

from .._types.errors import InvalidTriggerError
from .._types.values import Trigger
from ..policies.fence import Event, Sent, State, step

LONGEST_KEY: Final = 200
"""Characters of a key, so that any index takes it."""


@frozen
class Later:
    """A stamp that the store makes.

    :param seconds: after its own time.
    """

    seconds: float = 0.0


NOW: Final = Later()
"""A stamp that the store makes: its own time."""

Value = str | int | float | None | Later
"""What a column is set to."""


@frozen
class Row:
    """One event, as a store keeps it. The store's own clock makes all stamps; they are POSIX seconds.

    `due` is when somebody should look at the row: in QUEUED when it may be sent; in SENDING and RESENDING when its
    sender counts as lost; in AMBIGUOUS when it may be sent again with its key. None means that nothing happens by
    itself. An ambiguous row that is due at no time is *held* until somebody says what became of it.

    :ivar key: names the event in the outbox; no two rows share one.
    :ivar seq: grows from put to put; the order within an ordering key.
    :ivar trigger: what is sent, as JSON; its payload is dropped once it was accepted, unless it is to be kept.
    :ivar digest: SHA-256 of what was put, to tell whether a second put of the key is the same.
    :ivar ordering_key: rows that share one are sent one after the other.
    :ivar state: see `fence.State`.
    :ivar attempt: how often it was begun to be sent. Each step names it, so that no sender can speak for another.
    :ivar due: see above.
    :ivar created: when it was put.
    :ivar updated: when its state last changed.
    :ivar sent_key: see `fence.Sent.key`.
    :ivar sent_place: see `fence.Sent.place`; None if no attempt may have fired.
    :ivar first_sent_at: see `fence.Sent.at`.
    :ivar send_until: until when it may be sent again with that key; None for not at all.
    :ivar verdict: the last verdict, as JSON: a receipt to replay, or an error.
    :ivar now: the store's time as the row was read; no column.
    """

    key: str
    seq: int
    trigger: str = field(repr=False)
    digest: str
    ordering_key: str | None
    state: State
    attempt: int
    due: float | None
    created: float
    updated: float
    sent_key: str | None = None
    sent_place: str | None = None
    first_sent_at: float | None = None
    send_until: float | None = None
    verdict: str | None = field(default=None, repr=False)
    now: float = 0.0

    @property
    def sent(self) -> Sent | None:
        """The attempts that may have fired, as far as a key can cover them."""
        if self.sent_place is None or self.first_sent_at is None:
            return None
        return Sent(self.sent_key, self.sent_place, self.first_sent_at)

    @property
    def is_held(self) -> bool:
        """Whether it may have fired, and waits for somebody to say whether it did."""
        return self.state is State.AMBIGUOUS and self.due is None

    @property
    def is_due(self) -> bool:
        """Whether somebody should look at it now."""
        return self.due is not None and self.due <= self.now

    def load_trigger(self) -> Trigger:
        """Return what is to be sent."""
        return Trigger(**json.loads(self.trigger))


COLUMNS: Final = tuple(each.name for each in fields(Row) if each.name != "now")
"""The columns of a row, in order."""


@frozen
class Change:
    """One step of one row.

    :ivar event: what happened, as the fence calls it; None if only a due time is set, and the state stays.
    :ivar columns: what each column that changes is set to.
    """

    event: Event | None
    columns: Mapping[str, Value]


def changed(row: Row, change: Change, now: float) -> Row:
    """Return the row after a change.

    :param now: the store's time.
    """
    columns: dict[str, Any] = {name: stamped(value, now) for name, value in change.columns.items()}
    if "state" in columns:
        columns["state"] = State(columns["state"])
    return evolve(row, now=now, **columns)


def stamped(value: Value, now: float) -> str | float | None:
    """Return what a column is set to, with the store's time in it where it is a stamp."""
    return now + value.seconds if isinstance(value, Later) else value


def encode_trigger(trigger: Trigger) -> str:
    """Return a trigger as the JSON text that is kept of it.

    :raises InvalidTriggerError: for one that cannot be kept.
    """
    if not isinstance(trigger, Trigger):
        raise InvalidTriggerError(f"an outbox takes a Trigger, not {type(trigger).__name__}")
    if trigger.files:
        raise InvalidTriggerError(
            "an outbox keeps no files: store the file, put a trigger that names it, and let the workflow fetch it",
            trigger=trigger,
        )
    for name in ("slug", "event"):
        value = getattr(trigger, name)
        if not isinstance(value, str) or not value:
            raise InvalidTriggerError(f"{name} must be a text that is not empty, not {value!r}", trigger=trigger)
    for name in ("linked_account_id", "config_id", "instance_tag", "idempotency_key", "ordering_key"):
        value = getattr(trigger, name)
        if value is not None and not isinstance(value, str):
            raise InvalidTriggerError(f"{name} must be a text or None, not {type(value).__name__}", trigger=trigger)
        if value is not None and ("\0" in value or not _is_unicode(value)):
            raise InvalidTriggerError(f"{name} has characters that no database keeps", trigger=trigger)
    if trigger.first_sent_at is not None:
        raise InvalidTriggerError(
            "first_sent_at is set: this event may have fired, and an outbox takes what was not sent yet",
            trigger=trigger,
        )
    try:
        _check_names(trigger.payload)
        return json.dumps(trigger.to_dict(), allow_nan=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTriggerError(
            f"an outbox keeps the payload as JSON, and this one is none: {error}", trigger=trigger
        ) from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _check_names(value: object) -> None:
    """Check that all names of fields are texts: JSON would turn others into texts, and two of them into one."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"the name of a field must be a text, not {type(name).__name__}")
            if not isinstance(inner, str | int | float):
                _check_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            if not isinstance(inner, str | int | float):
                _check_names(inner)


def check_trigger(trigger: Trigger) -> None:
    """Check that a trigger can be kept in an outbox.

    :raises InvalidTriggerError: if it cannot.
    """
    encode_trigger(trigger)


def digest_of(text: str) -> str:
    """Return what tells whether two triggers, as texts, are the same."""
    return hashlib.sha256(text.encode()).hexdigest()


def without_payload(text: str) -> str:
    """Return a trigger's text without its payload."""
    return json.dumps(json.loads(text) | {"payload": None}, separators=(",", ":"), sort_keys=True)


_NOTHING_SENT: Final[Mapping[str, Value]] = MappingProxyType(
    {"sent_key": None, "sent_place": None, "first_sent_at": None, "send_until": None}
)


def begin(row: Row, *, key: str | None, place: str, retry_within: float | None, lost_after: float) -> Change:
    """Return the step that an attempt begins with: written before its first byte.

    :param key: the idempotency key that goes with it.
    :param place: where the key goes.
    :param retry_within: seconds from the first attempt in which the key covers all; None where no window is declared.
    :param lost_after: seconds after which its sender counts as lost.
    """
    columns: dict[str, Value] = {"attempt": row.attempt + 1, "due": Later(lost_after)}
    earlier = row.sent
    if earlier is not None:
        covered = earlier.also(Sent(key, place, earlier.at))
        columns["sent_key"], columns["sent_place"] = covered.key, covered.place
        if covered.key is None:
            columns["send_until"] = None
        return _step(row, Event.SEND, columns)
    columns |= {"sent_key": key, "sent_place": place, "first_sent_at": NOW}
    if key is not None and retry_within is not None:
        columns["send_until"] = Later(retry_within)
    return _step(row, Event.SEND, columns)


def end(row: Row, event: Event, verdict: str | None, *, delay: float, keep_payload: bool) -> Change:
    """Return the step that an attempt ends with.

    :param event: one of `fence.VERDICTS`, or `REFUSE`.
    :param verdict: what is kept of it, as JSON.
    :param delay: seconds until it may be sent again, where it may.
    """
    after = step(row.state, event)
    columns: dict[str, Value] = {"verdict": verdict, "due": None}
    if after is State.QUEUED:
        columns |= {"due": Later(delay), **_NOTHING_SENT}
    elif after is State.AMBIGUOUS:
        columns["due"] = _due_again(row, delay)
        if row.is_held:  # a late verdict, of a sender that was taken for lost: it stays held
            columns["due"] = None
    elif after is State.ACCEPTED and not keep_payload:
        columns["trigger"] = without_payload(row.trigger)
    elif after is State.REJECTED:
        columns |= _NOTHING_SENT
    return _step(row, event, columns)


def lose(row: Row) -> Change:
    """Return the step of whoever finds that a sender is gone."""
    return _step(row, Event.LOST, {"due": _due_again(row, 0.0)})


def postpone(row: Row, delay: float) -> Change:
    """Return the step that only moves the due time."""
    return Change(None, {"due": Later(delay)})


def hold(row: Row) -> Change:
    """Return the step of whoever finds that an ambiguous row's window has passed."""
    return Change(None, {"due": None})


def settle(row: Row, *, fired: bool, keep_payload: bool) -> Change:
    """Return the step of somebody who looked whether an ambiguous event fired.

    :raises TransitionError: in any other state.
    """
    if not fired:
        return _step(row, Event.DENY, {"due": NOW, **_NOTHING_SENT})
    columns: dict[str, Value] = {"due": None}
    if not keep_payload:
        columns["trigger"] = without_payload(row.trigger)
    return _step(row, Event.CONFIRM, columns)


def again(row: Row, event: Event) -> Change:
    """Return the step of somebody who wants the event sent (again).

    :param event: `RETRY` for a rejected one, `FIRE_AGAIN` for an accepted one.
    :raises TransitionError: in any other state.
    """
    return _step(row, event, {"due": NOW, "verdict": None, **_NOTHING_SENT})


def _step(row: Row, event: Event, columns: dict[str, Value]) -> Change:
    return Change(event, {"state": step(row.state, event).value, "updated": NOW, **columns})


def _due_again(row: Row, delay: float) -> Later | None:
    """Return when an ambiguous row may be sent again; None if never."""
    if row.send_until is None:
        return None
    # At the end of the window somebody has to look as well: then it becomes held.
    return Later(min(delay, max(0.0, row.send_until - row.now)))
