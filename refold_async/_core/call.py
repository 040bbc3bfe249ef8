"""One call: what is to be sent, how far it has come, and what is known of its attempts."""

from __future__ import annotations

import asyncio
import enum
import itertools
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from .._api.response import cure_of, parse_object, read_document
from .._types.errors import RefoldError
from .._types.evidence import NOT_REACHED, Cut, Evidence
from .._types.sent import Sent, make_sent
from .._types.values import Delivery, FileTypes, Trigger
from .._wire.limits import MAX_RESPONSE_BYTES
from ..policies.verdict import FailureKind, Verdict, over_attempts

if TYPE_CHECKING:
    from .._api.files import Part
    from .._api.request import EncodedRequest
    from .._wire.scope import CallScope
    from .._wire.timer import LoopTimer
    from ..policies.retry import RetryPolicy
    from .settings import BeforeSend, Timeouts
    from .slots import FairSemaphore


class CallState(enum.Enum):
    """What a call is doing."""

    NEW = "nothing was done for it yet"
    QUEUED = "waiting for a slot"
    PREPARING = "holding a slot: asking for the credential, pacing, connecting, or in `before_send`"
    ON_WIRE = "a request may be written, or was"
    BACKING_OFF = "waiting for the next attempt, without a slot"
    DONE = "it has a verdict"

    __hash__ = object.__hash__  # each member is one object; `Enum.__hash__` would hash its name, in Python


TRANSITIONS = {
    CallState.NEW: {CallState.QUEUED, CallState.PREPARING, CallState.ON_WIRE, CallState.DONE},
    CallState.QUEUED: {CallState.PREPARING, CallState.ON_WIRE, CallState.DONE},
    CallState.PREPARING: {CallState.QUEUED, CallState.ON_WIRE, CallState.BACKING_OFF, CallState.DONE},
    CallState.ON_WIRE: {
        CallState.QUEUED, CallState.PREPARING, CallState.ON_WIRE, CallState.BACKING_OFF, CallState.DONE,
    },
    CallState.BACKING_OFF: {CallState.QUEUED, CallState.PREPARING, CallState.ON_WIRE, CallState.DONE},
    CallState.DONE: set[CallState](),
}  # fmt: skip
"""The sender moves it, but for QUEUED, which `take_slot` and `interrupt` leave."""

# Looked up once: in Python 3.11 each look at a member goes through a `__getattr__` of the metaclass.
_NEW, _QUEUED, _PREPARING, _ON_WIRE, _, _DONE = CallState


class InFlight(Protocol):
    """A request under way on either wire."""

    def abandon(self, cut: Cut) -> Evidence:
        """End now, and return what is known."""
        ...


_MEANINGS = {
    Delivery.ACCEPTED: "the event was accepted",
    Delivery.REJECTED: "the event did not fire",
    Delivery.NOT_SENT: "the event was not sent",
    Delivery.AMBIGUOUS: "the event may have fired: look in Refold before sending it again",
}

_ids = itertools.count(1)
_process = os.urandom(4).hex()


def _renew_process() -> None:
    global _process
    _process = os.urandom(4).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_process)


def _shown(name: Any) -> str:
    """Return the repr of a name. An object of the caller's own class is not asked for its own."""
    kind = type(name)
    return str.__repr__(name) if issubclass(kind, str) else f"<a {kind.__name__}>"


class Call:
    """One call.

    :ivar number: counts the calls of this process; the id is made of it.
    :ivar policy: when to try again; None never does.
    :ivar is_patient: the deadline stands still while the call waits for the rate limit, and an attempt that was asked
        to slow down is not counted, as in batches.
    :ivar deadline: loop time by which the call must have ended; inf for none.
    :ivar given: the trigger that it was made from; None until somebody asks for `trigger`, where there was none.
    :ivar parts: its files, once they were read.
    :ivar is_for_all: it fires for every application, and `slug` is only a word for that in messages.
    :ivar began: loop time at which the attempt under way began, where a hook is to be told how long it takes.
    :ivar tried: how many attempts reached the wire.
    :ivar verdicts: those of the attempts so far, the last one included.
    :ivar last: the evidence of the last attempt.
    :ivar first_sent: POSIX seconds of the first write; None if nothing was written.
    :ivar interrupted: why the call was ended from outside.
    :ivar is_judged: whether the attempt under way has a verdict already.
    :ivar slots: where the slot that it holds came from; None while it holds none.
    :ivar document: the JSON object in the last response, once it was looked at.
    """

    __slots__ = (
        "_id", "_launch", "_paused_for", "_queued_at", "_timer", "_window_end", "attempt", "before_send", "began",
        "config_id", "deadline", "document", "event", "exchange", "files", "first_sent", "first_sent_at", "future",
        "given", "idempotency_key", "instance_tag", "interrupted", "is_for_all", "is_judged", "is_patient", "last",
        "linked_account_id", "number", "parts", "payload", "policy", "request", "scope", "slots", "slug", "started",
        "state", "timeout", "tried", "until", "verdicts",
    )  # fmt: skip

    max_response_bytes = MAX_RESPONSE_BYTES

    def __init__(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None,
        linked_account_id: str | None,
        config_id: str | None,
        instance_tag: str | None,
        idempotency_key: str | None,
        timeout: Timeouts,
        policy: RetryPolicy | None,
    ) -> None:
        self.slug = slug
        self.event = event
        self.payload = payload
        self.linked_account_id = linked_account_id
        self.config_id = config_id
        self.instance_tag = instance_tag
        self.idempotency_key = idempotency_key
        self.timeout = timeout
        self.policy = policy
        self.number = next(_ids)
        self.state = _NEW
        self.attempt = 0
        self.tried = 0
        self.verdicts: list[Verdict] | None = None
        self.last = NOT_REACHED
        self.deadline = math.inf
        self.until = math.inf
        self.first_sent: float | None = None
        self.interrupted: Cut | None = None
        self.request: EncodedRequest | None = None
        self.exchange: InFlight | None = None
        self.scope: CallScope | None = None
        self.future: asyncio.Future[Any] | None = None
        self.slots: FairSemaphore | None = None
        self.document: dict[str, Any] | None = None
        self.started = 0.0
        self.began = 0.0
        self.files: Mapping[str, FileTypes] | None = None
        self.parts: tuple[Part, ...] = ()
        self.is_for_all = False
        self.is_judged = False
        self.is_patient = False
        self.before_send: BeforeSend | None = None
        self.first_sent_at: datetime | None = None
        self.given: Trigger | None = None
        self._id: str | None = None
        self._launch: Callable[[Call], None] | None = None
        self._queued_at: FairSemaphore | None = None
        self._timer: LoopTimer | None = None
        self._paused_for: float | None = None
        self._window_end = math.inf

    @property
    def id(self) -> str:
        """The call's id, in logs, errors and hook events."""
        made = self._id
        if made is None:
            made = self._id = f"{_process}-{self.number}"
        return made

    @property
    def trigger(self) -> Trigger:
        """What is to be sent, as it was given."""
        if self.given is None:
            self.given = Trigger(
                self.slug,
                self.event,
                self.payload,
                linked_account_id=self.linked_account_id,
                config_id=self.config_id,
                instance_tag=self.instance_tag,
                idempotency_key=self.idempotency_key,
                files=self.files,
            )
        return self.given

    def check(self) -> None:
        """Assert what always holds, between two turns of the event loop."""
        assert (self.state is _QUEUED) == (self._launch is not None)
        assert self.state is not _QUEUED or self.future is not None
        assert self.state is not _DONE or self.scope is None
        assert self._paused_for is None or self.deadline == math.inf

    def move(self, state: CallState) -> None:
        """Change the state; only along `TRANSITIONS`."""
        assert state in TRANSITIONS[self.state], (self.state, state)
        self.state = state

    # Waiting for a slot.

    def queue(
        self,
        slots: FairSemaphore,
        timer: LoopTimer,
        future: asyncio.Future[Any],
        launch: Callable[[Call], None],
    ) -> None:
        """Wait for a slot, until the deadline. When it comes, `launch` is called, and the future gets the outcome."""
        self.move(_QUEUED)
        self.future = future
        self._launch = launch
        self._queued_at = slots
        slots.enqueue(self)
        if self.deadline != math.inf:
            self.until = self.deadline
            self._timer = timer
            timer.timed.add(self)
            timer.note(self.until)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self.until = math.inf
            timer.timed.discard(self)

    @property
    def is_gone(self) -> bool:
        """Whether it has stopped waiting for a slot."""
        return self._queued_at is None or self.future is None or self.future.done()

    def take_slot(self) -> bool:
        """Take a slot that is offered, and go on; False if none is wanted any more."""
        launch = self._launch
        if self.is_gone or launch is None:
            return False
        self._launch = None
        self._stop_timer()
        self.state = _PREPARING
        self.slots, self._queued_at = self._queued_at, None
        launch(self)
        return True

    def release_slot(self) -> None:
        """Return the slot, if one is held."""
        slots, self.slots = self.slots, None
        if slots is not None:
            slots.release()

    def landed(self, status: int | None) -> None:
        """Pass the slot on, now that a request is over; but after a 429 the limiter has to pause first."""
        slots = self.slots
        if slots is not None and status != 429:
            self.slots = None
            if slots.waiters:
                slots.release()
            else:
                slots.available += 1

    def leave_queue(self) -> None:
        """Stop waiting for a slot."""
        slots, self._queued_at = self._queued_at, None
        if slots is not None:
            self._launch = None
            self._stop_timer()
            slots.forget()

    def expire(self, now: float) -> None:
        """End at the deadline, while waiting for a slot."""
        self.interrupt(Cut.DEADLINE)

    # Ending from outside.

    @property
    def is_on_wire(self) -> bool:
        """Whether a request of it is on its way right now."""
        return self.state is _ON_WIRE

    def interrupt(self, cut: Cut) -> None:
        """End the call where it stands; its verdict is then what the evidence says."""
        if self.interrupted is None:
            self.interrupted = cut
        if self.state is _QUEUED:
            self.leave_queue()
            if self.future is not None and not self.future.done():
                self.future.set_result(NOT_REACHED._replace(cut=cut))
        elif self.scope is not None:
            self.scope.end(cut)
        elif self.state is _ON_WIRE and self.exchange is not None:
            self.exchange.abandon(cut)

    # The deadline.

    def set_time(self, seconds: float, now: float) -> None:
        """Set the deadline; that of a patient call first runs when it is granted its first slot."""
        if self.is_patient:
            self._paused_for = seconds
        else:
            self.deadline = now + seconds

    def resume_deadline(self, now: float) -> None:
        """Let the deadline run, if it stands still."""
        if self._paused_for is not None:
            self.deadline = min(now + self._paused_for, self._window_end)
            self._paused_for = None
            if self.scope is not None:
                self._tell_scope()

    def pause_deadline(self, now: float) -> None:
        """Let the deadline stand still, if the call is patient."""
        if self.is_patient and self._paused_for is None and self.deadline != math.inf:
            self._paused_for = self.deadline - now
            self.deadline = self._window_end
            self._tell_scope()

    def cap_deadline(self, end: float) -> None:
        """Set the time by which all attempts must have ended, so that the receiver still drops repeats."""
        self._window_end = min(self._window_end, end)
        if end < self.deadline:
            self.deadline = end
            self._tell_scope()

    @property
    def window_end(self) -> float:
        """Loop time at which the declared window ends for this call; inf where that is not known or there is none."""
        return self._window_end

    def _tell_scope(self) -> None:
        if self.scope is not None:
            self.scope.end_at(self.deadline)

    # In messages.

    @property
    def words(self) -> str:
        """What the call is, in words."""
        return f"event {_shown(self.event)} for {_shown(self.slug)}"

    def meaning(self, delivery: Delivery) -> str:
        """Return what a verdict means for it, in words."""
        return _MEANINGS[delivery]

    def cure(self, status: int) -> str | None:
        """Return what to do about a status, in words; None where there is nothing to say."""
        return cure_of(status)

    def name_error(self, error: RefoldError) -> None:
        """Put the call's facts on its error."""
        error.call_id = self.id
        error.trigger = self.trigger
        note = f"{self.words}, call {self.id}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)

    # The verdict.

    def record(self, evidence: Evidence, verdict: Verdict, earlier: list[Verdict]) -> None:
        """Keep what an attempt has ended in, and the verdicts of the requests that it made before its last one."""
        self.last = evidence
        self.is_judged = True
        if evidence.reached:
            self.tried += 1 + len(earlier)
        verdicts = self.verdicts
        if verdicts is None:
            verdicts = self.verdicts = []
        verdicts += earlier
        verdicts.append(verdict)

    def is_refold(self, evidence: Evidence) -> bool:
        """Whether a complete body is a response of Refold's own, a JSON object; it is kept as `document`."""
        head = evidence.head
        # Of a plain response the body is as it is; another may have to be decompressed.
        self.document = parse_object(evidence.body) if isinstance(head, bytes) else read_document(evidence)
        return self.document is not None

    def may_have_used_key(self) -> bool:
        """Whether Refold may have seen the key before this attempt: it is the caller's, or an attempt was ambiguous."""
        request = self.request
        if request is None or request.key is None:
            return False
        if self.idempotency_key is not None or self.first_sent_at is not None or not request.is_key_minted:
            return True
        return any(verdict.delivery is Delivery.AMBIGUOUS for verdict in self.verdicts or ())

    @property
    def delivery(self) -> Delivery:
        """The verdict over all attempts so far."""
        return over_attempts([verdict.delivery for verdict in self.verdicts or ()])

    @property
    def after_ambiguous(self) -> bool:
        """Whether an attempt before the last one may have fired too."""
        return any(verdict.delivery is Delivery.AMBIGUOUS for verdict in (self.verdicts or ())[:-1])

    @property
    def throttled(self) -> int:
        """How many attempts were answered by asking to slow down."""
        return sum(verdict.kind is FailureKind.THROTTLED for verdict in self.verdicts or ())

    def sent(self, host: str) -> Sent | None:
        """Return what was sent; None if nothing was written."""
        request = self.request
        if self.first_sent is None or request is None:
            return None
        return make_sent(self.sent_as(request, host))

    def sent_as(self, request: EncodedRequest, host: str) -> tuple[Any, ...]:
        """Return what was sent, or is to be, as this request: what `make_sent` takes."""
        return (
            _process, self.number, host, self.slug, self.event, request.account, request.config,
            request.instance_tag, request.key, request.token, self.first_sent, request.body,
        )  # fmt: skip
