"""An execution of a workflow, as Refold shows it. What is missing or of another type is None."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from attrs import field, fields, frozen

from .._types.errors import ExecutionFailedError
from .decode import flag, mapping, moment, number, text, whole

if TYPE_CHECKING:
    from .._types.values import Receipt


class ExecutionStatus(enum.StrEnum):
    """The statuses that are known. The set is open: `Execution.status` is a plain text.

    :cvar QUEUED: it has not begun.
    :cvar RUNNING: it is under way.
    :cvar STOPPING: it was asked to stop.
    :cvar COMPLETED: it has ended as it should.
    :cvar ERRORED: a node failed.
    :cvar FAILED: it failed; older documentation has this word.
    :cvar STOPPED: somebody has stopped it.
    :cvar TIMED_OUT: it took too long.
    :cvar TERMINATED: Refold has ended it.
    :cvar DUPLICATE: the event was a repeat, and was dropped.
    """

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    COMPLETED = "COMPLETED"
    ERRORED = "ERRORED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    TIMED_OUT = "TIMED_OUT"
    TERMINATED = "TERMINATED"
    DUPLICATE = "DUPLICATE"


_UNDER_WAY = frozenset({ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.STOPPING})
_ENDED = frozenset(ExecutionStatus) - _UNDER_WAY


@frozen(kw_only=True)
class ExecutionNode:
    """One node of an execution: a step of its workflow.

    :ivar id: the node's id in its workflow.
    :ivar status: such as `Success`, `Errored` or `Waiting`. The set is open.
    :ivar attempts: how often it was tried, of `max_attempts`.
    :ivar input_data: what it was passed; any JSON.
    :ivar output: what it returned last; any JSON.
    :ivar raw: the document as it came.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None
    status: str | None = None
    attempts: int | None = None
    max_attempts: int | None = None
    input_data: Any = field(default=None, repr=False, hash=False)
    output: Any = field(default=None, repr=False, hash=False)
    raw: Mapping[str, Any] = field(factory=dict, repr=False, hash=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read a document."""
        return cls(
            id=text(document, "node_id"),
            name=text(document, "node_name"),
            type=text(document, "node_type"),
            status=text(document, "node_status"),
            attempts=whole(document, "attempts_made"),
            max_attempts=whole(document, "maximum_attempts"),
            input_data=document.get("input_data"),
            output=document.get("latest_output"),
            raw=document,
        )


@frozen(kw_only=True)
class Execution:
    """One execution of a workflow.

    :ivar id: its id; Refold also calls it the instance's id. Empty where the document has none.
    :ivar status: such as `RUNNING` or `COMPLETED`; see `ExecutionStatus`. Empty where the document has none.
    :ivar event: the name of the event that started it, or `Schedule`.
    :ivar event_id: an id that executions of one event share, as far as is known.
    :ivar type: `SYNC` or `ASYNC`.
    :ivar is_child: whether another execution started it.
    :ivar custom_fields: fields that the workflow exposes, once it has ended.
    :ivar execution_time: how long it took, as Refold counts it; the documentation names no unit.
    :ivar raw: the document as it came.
    """

    id: str
    status: str = ""
    name: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    event: str | None = None
    event_id: str | None = None
    linked_account_id: str | None = None
    config_id: str | None = None
    environment: str | None = None
    type: str | None = None
    is_child: bool | None = None
    custom_fields: Mapping[str, Any] = field(factory=dict, repr=False, hash=False)
    execution_time: float | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    completed_at: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False, hash=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], execution_id: str = "") -> Self:
        """Read a document.

        :param execution_id: the id that was asked for: some answers do not repeat it.
        """
        return cls(**_facts(document, execution_id))

    @property
    def has_ended(self) -> bool:
        """Whether it goes no further. One of a status that is not known has ended once it has a completion time."""
        if self.status in _ENDED:
            return True
        return self.status not in _UNDER_WAY and bool(self.raw.get("completion_time"))

    @property
    def ok(self) -> bool:
        """Whether it has ended as it should."""
        return self.status == ExecutionStatus.COMPLETED

    def raise_for_status(self) -> Self:
        """Raise if it has ended otherwise than as it should; else return it.

        :raises ExecutionFailedError: with the execution.
        """
        if self.has_ended and not self.ok:
            raise ExecutionFailedError(f"execution {self.id} of {self.workflow_name!r} ended {self.status}", self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the document, as values that `json.dumps` takes."""
        found: dict[str, Any] = {}
        for each in fields(Execution):
            value = getattr(self, each.name)
            if each.name != "raw":
                found[each.name] = value.isoformat() if isinstance(value, datetime) else value
        return {**found, "custom_fields": dict(self.custom_fields), "has_ended": self.has_ended}


@frozen(kw_only=True)
class ExecutionDetail(Execution):
    """One execution with its nodes.

    :ivar nodes: in the order in which they were entered.
    """

    nodes: tuple[ExecutionNode, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any], execution_id: str = "") -> Self:
        """Read a document."""
        nodes = document.get("nodes")
        found = [ExecutionNode.of(node) for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
        return cls(**_facts(document, execution_id), nodes=tuple(found))

    @property
    def failed_node(self) -> ExecutionNode | None:
        """The first node that did not succeed, where one is named."""
        for node in self.nodes:
            if node.status in ("Errored", "Failed", "Timed_Out", "Rejected", "Aborted"):
                return node
        return None


@frozen(kw_only=True)
class Rerun:
    """A new execution that a rerun has started.

    :ivar execution_id: the new one's id, where Refold named it.
    :ivar receipt: Refold's acceptance.
    """

    execution_id: str | None
    receipt: Receipt


def key_of(execution: Execution) -> str:
    """Return what tells an execution from another: its id, or all of it where there is none."""
    return execution.id or json.dumps(execution.raw, sort_keys=True, default=str)


def _facts(document: Mapping[str, Any], execution_id: str) -> dict[str, Any]:
    workflow = mapping(document, "associated_workflow")
    return {
        "id": text(document, "_id", "id") or execution_id,
        "status": text(document, "status") or "",
        "name": text(document, "name"),
        "workflow_id": text(workflow, "_id"),
        "workflow_name": text(workflow, "name"),
        "event": text(document, "trigger_application_event"),
        "event_id": text(document, "associated_event_id"),
        "linked_account_id": text(document, "linked_account_id"),
        "config_id": text(document, "config_id"),
        "environment": text(document, "environment"),
        "type": text(document, "type_of_execution"),
        "is_child": flag(document, "is_child_instance"),
        "custom_fields": mapping(document, "custom_field_values"),
        "execution_time": number(document, "instance_execution_time"),
        "created_at": moment(document, "createdAt"),
        "updated_at": moment(document, "updatedAt"),
        "completed_at": moment(document, "completion_time"),
        "raw": document,
    }
