"""Finding out what became of a send: it is seen to have fired, or it stays open."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from .._types.errors import ConfigurationError, RefoldError
from .._types.outcome import Outcome
from .._types.values import Receipt, Sent
from .execution import Execution, ExecutionStatus
from .executions import window_of
from .search import MINTED, minted_in

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .search import Window

SKEW = timedelta(seconds=60)
"""How far the clocks here and at Refold may be apart."""

MAX_REQUESTS = 500
"""For each account: 50,000 executions, read in under a minute at the pace of reads."""


class ReconciliationState(enum.StrEnum):
    """What is known after looking. That something did not fire can never be seen, so it is not among them.

    :cvar FIRED: an execution shows the token.
    :cvar UNRESOLVED: nothing is known.
    """

    FIRED = "fired"
    UNRESOLVED = "unresolved"


@frozen(kw_only=True)
class Reconciliation:
    """What was found out about one send.

    :ivar state: FIRED if an execution with its minted token was seen; else UNRESOLVED, which says nothing.
    :ivar why: in words.
    :ivar sent: what was sent; None if nothing was written.
    :ivar executions: those with the token: the proof.
    :ivar candidates: those of the same event from that time, which may be of this send or of another.
    :ivar looked_from: the stretch of time that was read, by Refold's clock; None if nothing was.
    :ivar looked_until: its end.
    :ivar control_seen: whether the list showed an execution that was created after the send. Where it did not, the
        list may lag behind.
    :ivar is_complete: whether that stretch was read to its end.
    :ivar requests: how many requests were made, those for the other sends of a batch included.
    """

    state: ReconciliationState
    why: str
    sent: Sent | None = field(default=None, eq=False)
    executions: tuple[Execution, ...] = ()
    candidates: tuple[Execution, ...] = field(default=(), repr=False)
    looked_from: datetime | None = None
    looked_until: datetime | None = None
    control_seen: bool = False
    is_complete: bool = False
    requests: int = 0

    @property
    def fired(self) -> bool:
        """Whether it was seen to have fired. False says nothing."""
        return self.state is ReconciliationState.FIRED

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes, with the ids of the executions."""
        return {
            "state": self.state.value,
            "why": self.why,
            "sent": None if self.sent is None else self.sent.to_dict(),
            "executions": [each.id for each in self.executions],
            "candidates": [each.id for each in self.candidates],
            "looked_from": None if self.looked_from is None else self.looked_from.isoformat(),
            "looked_until": None if self.looked_until is None else self.looked_until.isoformat(),
            "control_seen": self.control_seen,
            "is_complete": self.is_complete,
            "requests": self.requests,
        }


def sent_of(subject: object) -> Sent | None:
    """Return what was sent.

    :raises ConfigurationError: for what tells nothing of a send.
    """
    if isinstance(subject, Sent):
        return subject
    if isinstance(subject, RefoldError | Outcome | Receipt):
        return subject.sent
    raise ConfigurationError(
        f"reconcile() takes an error, an outcome, a receipt, a Sent or a batch result, not {type(subject).__name__}"
    )


@define
class _Findings:
    """What reading the executions of one account has brought.

    :ivar by_token: the executions that hold a token.
    :ivar others: those that hold none.
    :ivar latest: when the newest was created.
    """

    looked_from: datetime
    looked_until: datetime
    by_token: dict[str, list[Execution]] = field(factory=dict)
    others: list[Execution] = field(factory=list)
    latest: datetime | None = None
    is_complete: bool = False
    requests: int = 0


class Reconciler:
    """Looks for what a client has sent. It reads the executions of each account once, however many sends there are.

    :param sender: the client's.
    :param within: seconds after its first attempt in which an execution of a send was created.
    :param details: whether to look at the steps of candidates too, a request for each.
    :param max_requests: so many at most, for each account.
    """

    def __init__(self, sender: Sender, within: float, *, details: bool, max_requests: int) -> None:
        if isinstance(within, bool) or not isinstance(within, int | float) or not 0 < within < math.inf:
            raise ConfigurationError(f"within must be seconds above 0, not {within!r}")
        if isinstance(max_requests, bool) or not isinstance(max_requests, int) or max_requests < 1:
            raise ConfigurationError(f"max_requests must be a whole number of at least 1, not {max_requests!r}")
        self._sender = sender
        self._within = timedelta(seconds=within)
        self._details = details
        self._max_requests = max_requests

    async def reconcile(self, sends: Sequence[Sent | None]) -> list[Reconciliation]:
        """Look for each of these, and return what was found, in their order.

        :raises ConfigurationError: for what was sent to another host.
        :raises RefoldError: when executions could not be read; its `delivery` is None.
        """
        accounts: dict[str | None, list[Sent]] = {}
        for sent in sends:
            if sent is None:
                continue
            if sent.host != self._sender.address.host:
                raise ConfigurationError(
                    f"it was sent to {sent.host}, and this client is of {self._sender.address.host}: only a client of "
                    "the same host and environment can see what became of it"
                )
            if _is_minted(sent.token):
                accounts.setdefault(sent.linked_account_id, []).append(sent)
        findings = {account: await self._look(account, group) for account, group in accounts.items()}
        return [self._conclude(sent, findings) for sent in sends]

    async def _look(self, account: str | None, sends: list[Sent]) -> _Findings:
        """Read the executions of an account in the time of these sends."""
        since = min(sent.first_sent_at for sent in sends) - SKEW
        until = max(sent.first_sent_at for sent in sends) + self._within + SKEW
        findings, ahead = await self._read(account, since, until, {sent.token for sent in sends})
        if abs(ahead) > SKEW / 2:  # the clocks are further apart than was allowed for
            findings, _ = await self._read(account, since + ahead, until + ahead, {sent.token for sent in sends})
        return findings

    async def _read(
        self, account: str | None, since: datetime, until: datetime, tokens: set[str | None]
    ) -> tuple[_Findings, timedelta]:
        options: Mapping[str, Any] = {"linked_account_id": account}
        window = window_of(self._sender, since, until, self._max_requests, options)
        found = _Findings(since, until)
        async for page in window.pages():
            for execution in page.items:
                self._take(found, execution, minted_in(execution.raw))
                created = execution.created_at
                if created is not None and (found.latest is None or created > found.latest):
                    found.latest = created
        if self._details and tokens - found.by_token.keys():
            await self._look_closer(found, window)
        found.is_complete = not window.channel.is_cut
        found.requests = window.channel.requests
        return found, timedelta(seconds=window.channel.server_is_ahead or 0.0)

    def _take(self, found: _Findings, execution: Execution, tokens: set[str]) -> None:
        if not tokens or execution.status == ExecutionStatus.DUPLICATE:  # a repeat that was dropped did not fire
            found.others.append(execution)
            return
        for token in tokens:
            found.by_token.setdefault(token, []).append(execution)

    async def _look_closer(self, found: _Findings, window: Window) -> None:
        listed, found.others = found.others, []
        for execution in listed:
            is_dropped = execution.status == ExecutionStatus.DUPLICATE
            detail = None if is_dropped else await window.detail(execution)
            seen = execution if detail is None else detail
            self._take(found, seen, minted_in(seen.raw))

    def _conclude(self, sent: Sent | None, findings: Mapping[str | None, _Findings]) -> Reconciliation:
        if sent is None:
            return Reconciliation(state=ReconciliationState.UNRESOLVED, why="nothing was written, so there is no trace")
        if not _is_minted(sent.token):
            return Reconciliation(
                state=ReconciliationState.UNRESOLVED,
                why="it carries no token of its own: make the client with tag=True, or tag_field=, before sending",
                sent=sent,
            )
        found = findings[sent.linked_account_id]
        proof = tuple(found.by_token.get(sent.token or "", ()))
        end = sent.first_sent_at + self._within
        candidates = [] if proof else [each for each in found.others if _may_be_of(each, sent, end)]
        return Reconciliation(
            state=ReconciliationState.FIRED if proof else ReconciliationState.UNRESOLVED,
            why=_in_words(proof, candidates, found),
            sent=sent,
            executions=proof,
            candidates=tuple(candidates),
            looked_from=found.looked_from,
            looked_until=min(found.looked_until, datetime.now(UTC)),
            control_seen=found.latest is not None and found.latest > sent.first_sent_at,
            is_complete=found.is_complete,
            requests=found.requests,
        )


def _is_minted(token: str | None) -> bool:
    return token is not None and MINTED.fullmatch(token) is not None


def _may_be_of(execution: Execution, sent: Sent, end: datetime) -> bool:
    """Whether an execution without a visible token may be of this send, by its event and its time."""
    if execution.event is not None and execution.event != sent.event:
        return False
    created = execution.created_at
    return created is None or sent.first_sent_at - SKEW <= created <= end + SKEW


def _in_words(proof: Sequence[Execution], candidates: Sequence[Execution], found: _Findings) -> str:
    if proof:
        return f"an execution shows the token: {', '.join(each.id for each in proof)}"
    count = len(candidates)
    seen = f"no execution shows the token; {count} of the same event and time may be of it, or of another send"
    return seen if found.is_complete else seen + "; not all was read"
