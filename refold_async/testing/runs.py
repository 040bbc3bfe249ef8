"""The executions ("runs") that fired events start."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from attrs import Factory, define, evolve, field, frozen

from .ledger import Entry

TERMINAL = frozenset({"COMPLETED", "ERRORED", "FAILED", "STOPPED", "TIMED_OUT", "TERMINATED", "DUPLICATE"})

T = TypeVar("T")

Source = Literal["Event", "API_CALL", "SCHEDULE"]


@frozen(kw_only=True)
class RunPlan:
    """What a fired event starts, and how its runs can be seen.

    A number or text may also be a function of the ledger's entry. Functions are called once for each event, in order of
    arrival, when the runs are first looked at.

    :ivar count: how many runs an event starts. A function that returns 0 for some events is a trigger's condition.
    :ivar lag: seconds until a run is listed, and known by its id. A function that draws at random lets runs appear out
        of order.
    :ivar duration: seconds that a run takes.
    :ivar ends: the status in which a run ends.
    :ivar stopping: seconds between a request to stop and STOPPED.
    :ivar shows_tag: whether a run's document has the trigger's `instance_tag`.
    :ivar tag_field: the name under which it has it.
    :ivar shows_payload: whether the detail's nodes have the payload as `input_data`.
    :ivar custom_fields: fields of the payload that show as `custom_field_values` once the run has ended.
    :ivar shows_duplicates: whether a dropped repeat is listed as a run of status DUPLICATE.
    :ivar order: the list is sorted by when runs were "created" or when they were "listed".
    :ivar grows: so many runs of a schedule start for the account each time one of its pages was read.
    :ivar workflows: the workflows' names; run n of an event belongs to the n-th of them, and so on round.
    """

    count: int | Callable[[Entry], int] = 1
    lag: float | Callable[[Entry], float] = 0.0
    duration: float | Callable[[Entry], float] = 0.0
    ends: str | Callable[[Entry], str] = "COMPLETED"
    stopping: float = 0.0
    shows_tag: bool = False
    tag_field: str = "instance_tag"
    shows_payload: bool = True
    custom_fields: tuple[str, ...] = ()
    shows_duplicates: bool = False
    order: Literal["created", "listed"] = "created"
    grows: int = 0
    workflows: tuple[str, ...] = ("Workflow 1", "Workflow 2", "Workflow 3")


@define(eq=False)
class Run:
    """One run. Times are seconds on the mock's clock.

    States, as the API shows them: RUNNING until `ends_at`, then `ends_as`; once stopped, STOPPING, then STOPPED.
    `Runs.set_status` overrides all that.

    :ivar entry: the request that started it; None for a run that no request started.
    :ivar number: the order in which runs came to be, from 0.
    :ivar listed_at: from when on it is listed.
    """

    id: str
    number: int
    event_id: str
    workflow: str
    account: str
    source: Source
    created_at: float
    listed_at: float
    ends_at: float
    ends_as: str = "COMPLETED"
    entry: Entry | None = field(default=None, repr=False)
    event: str | None = None
    slug: str | None = None
    config_id: str | None = None
    instance_tag: str | None = None
    payload: Any = field(default=None, repr=False)
    stopped_at: float | None = None
    stopping: float = 0.0
    set_status: str | None = None
    updated_at: float = Factory(lambda self: self.created_at, takes_self=True)

    def status_at(self, now: float) -> str:
        """Return the status at a moment."""
        if self.set_status is not None:
            return self.set_status
        if self.stopped_at is not None:
            return "STOPPED" if now >= self.stopped_at + self.stopping else "STOPPING"
        return self.ends_as if now >= self.ends_at else "RUNNING"

    def ended_at(self, now: float) -> float | None:
        """Return when it ended, None while it goes on."""
        if self.status_at(now) not in TERMINAL:
            return None
        if self.set_status is not None:
            return self.updated_at
        return self.ends_at if self.stopped_at is None else self.stopped_at + self.stopping


def object_id(seconds: float, *names: object) -> str:
    """Return an id such as MongoDB makes: the second of its creation, then 16 digits that differ by the names."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()
    return f"{int(seconds) & 0xFFFFFFFF:08x}{digest[:16]}"


class Runs:
    """The runs of a mock, newest last. May be used from any thread.

    A fired event is only noted when it fires; its runs are made when they are first looked at: triggers stay cheap.

    :param plan: what events start; None for no runs at all.
    :param clock: seconds, monotonic.
    :param unix_time: returns the Unix time of a moment on the clock.
    :param keep: how many runs are kept, the latest ones; None for all.
    """

    def __init__(
        self,
        plan: RunPlan | None,
        *,
        clock: Callable[[], float],
        unix_time: Callable[[float], float],
        keep: int | None = None,
    ) -> None:
        self.plan = plan
        self._unix_time = unix_time
        self._clock = clock
        self._lock = threading.RLock()
        self._noted: deque[Entry] = deque(maxlen=keep)
        self._runs: dict[str, Run] = {}
        self._keep = keep
        self._made = 0

    def note(self, entry: Entry) -> None:
        """Note an event that fired or was dropped as a repeat. The server calls this."""
        if self.plan is not None:
            self._noted.append(entry)

    def all(self) -> list[Run]:
        """Return all runs, also those that are not listed yet."""
        with self._lock:
            self._make_noted()
            return list(self._runs.values())

    def listed(self, account: str) -> list[Run]:
        """Return the runs of an account that are listed now, oldest first in the plan's order."""
        now = self._clock()
        runs = [run for run in self.all() if run.account == account and run.listed_at <= now]
        if self.plan is not None and self.plan.order == "listed":
            runs.sort(key=lambda run: (run.listed_at, run.number))
        else:
            runs.sort(key=lambda run: (run.created_at, run.number))
        return runs

    def find(self, run_id: str, account: str | None = None) -> Run | None:
        """Return the run of this id, if it is listed by now (and the account's, where one is named)."""
        with self._lock:
            self._make_noted()
            run = self._runs.get(run_id)
        if run is None or run.listed_at > self._clock() or account not in (None, run.account):
            return None
        return run

    def of(self, entry: Entry) -> list[Run]:
        """Return the runs that this event started, reruns included."""
        return [run for run in self.all() if run.entry is entry]

    def add(
        self,
        *,
        account: str = "acct_mock",
        workflow: str = "Workflow 1",
        source: Source = "SCHEDULE",
        status: str = "COMPLETED",
        payload: Any = None,
    ) -> Run:
        """Add a run that no request started; it is listed at once."""
        with self._lock:
            self._make_noted()
            now = self._clock()
            number = self._next_number()
            run = Run(
                id=self._id(now, "run", number),
                number=number,
                event_id=self._id(now, "event", number),
                workflow=workflow,
                account=account,
                source=source,
                created_at=now,
                listed_at=now,
                ends_at=now,
                payload=payload,
                set_status=status,
            )
            return self._keep_run(run)

    def set_status(self, run_id: str, status: str) -> None:
        """Set a run's status, whatever the plan says.

        :raises KeyError: for an id that does not exist.
        """
        with self._lock:
            self._make_noted()
            run = self._runs[run_id]
            run.set_status, run.updated_at = status, self._clock()

    def stop(self, run: Run) -> None:
        """Stop a run, unless it has ended or is stopping already."""
        now = self._clock()
        if run.status_at(now) not in TERMINAL and run.stopped_at is None:
            run.stopped_at = run.updated_at = now
            run.stopping = 0.0 if self.plan is None else self.plan.stopping
            run.set_status = None

    def rerun(self, run: Run) -> Run:
        """Start a run anew from its payload."""
        plan = self.plan or RunPlan()
        with self._lock:
            now, number = self._clock(), self._next_number()
            again = evolve(
                run,
                id=self._id(now, "run", number),
                number=number,
                created_at=now,
                listed_at=now if run.entry is None else now + _resolve(plan.lag, run.entry),
                ends_at=now if run.entry is None else now + _resolve(plan.duration, run.entry),
                stopped_at=None,
                set_status=None,
                updated_at=now,
            )
            return self._keep_run(again)

    def page_was_read(self, account: str) -> None:
        """Let the list grow, if the plan says so. The server calls this after each page."""
        for _ in range(0 if self.plan is None else self.plan.grows):
            self.add(account=account)

    def clear(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._noted.clear()
            self._runs.clear()

    def _make_noted(self) -> None:
        plan = self.plan
        while self._noted and plan is not None:
            entry = self._noted.popleft()
            at = entry.received_at
            count = int(plan.shows_duplicates) if entry.duplicate else _resolve(plan.count, entry)
            event_id = self._id(at, "event", self._made)
            for n in range(count):
                number = self._next_number()
                lag = _resolve(plan.lag, entry)
                run = Run(
                    id=self._id(at, "run", number),
                    number=number,
                    event_id=event_id,
                    workflow=plan.workflows[n % len(plan.workflows)],
                    account=entry.account or "",
                    source="Event",
                    created_at=at,
                    listed_at=at + lag,
                    ends_at=at if entry.duplicate else at + _resolve(plan.duration, entry),
                    ends_as="DUPLICATE" if entry.duplicate else _resolve(plan.ends, entry),
                    entry=entry,
                    event=entry.event,
                    slug=entry.header("slug") if entry.slug == "trigger" else entry.slug,
                    config_id=entry.config_id or entry.account,
                    instance_tag=entry.instance_tag,
                    payload=entry.payload,
                )
                self._keep_run(run)
            entry.compact()

    def _next_number(self) -> int:
        number, self._made = self._made, self._made + 1
        return number

    def _id(self, moment: float, *names: object) -> str:
        return object_id(self._unix_time(moment), *names)

    def _keep_run(self, run: Run) -> Run:
        self._runs[run.id] = run
        if self._keep is not None and len(self._runs) > self._keep:
            del self._runs[next(iter(self._runs))]
        return run


def _resolve(value: T | Callable[[Entry], T], entry: Entry) -> T:
    return value(entry) if callable(value) else value


def workflow_id(name: str) -> str:
    """Return the id of the workflow of this name: the same in every mock."""
    return object_id(0x6A106BA4, "workflow", name)
