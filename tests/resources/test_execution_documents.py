"""Documents of executions: whatever they lack, or have besides, they can be read."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from refold_async import Execution, ExecutionDetail, ExecutionFailedError, ExecutionStatus
from tests.resources.support import EXAMPLES, altered

DETAIL = EXAMPLES["v3 executions/get-execution"][0]
LISTED = EXAMPLES["v3 executions/list-executions"][0]["docs"][0]
MADE_UP = {
    **LISTED,
    "status": "PAUSED",
    "completion_time": "2026-06-16T13:15:02.000Z",
    "instance_execution_time": 412,
    "is_child_instance": False,
    "custom_field_values": {"deal": 7},
    "associated_event_id": "6a314c54d4616e99e7fa5a00",
    "updatedAt": "2026-06-16T13:15:02.000Z",
    "nodes": DETAIL["nodes"],
}


@given(altered([DETAIL, LISTED, MADE_UP]))
def test_any_document_can_be_read_and_is_kept_as_it_came(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    for kind in (Execution, ExecutionDetail):
        read = kind.of(document, "asked-for")
        assert read.raw is document
        assert repr(document) == repr(before)
        assert isinstance(read.id, str)
        assert isinstance(read.status, str)
        assert read.id
        assert isinstance(read.has_ended, bool)
        assert isinstance(repr(read), str)
        assert read.to_dict()["id"] == read.id
        hash(read)
        pickle.dumps(read)
        assert read.created_at is None or read.created_at.tzinfo is UTC


def test_the_documented_detail_has_no_id_so_that_the_one_asked_for_is_used() -> None:
    read = ExecutionDetail.of(DETAIL, "6a314c54d4616e99e7fa5a02")
    assert (read.id, read.status, read.ok, read.created_at) == ("6a314c54d4616e99e7fa5a02", "COMPLETED", True, None)
    [node] = read.nodes
    assert (node.id, node.name, node.type, node.status, node.attempts) == ("1", "Start", "start", "Success", 1)
    assert read.failed_node is None


def test_the_documented_list_is_read() -> None:
    read = Execution.of(LISTED)
    assert read.id == "6a314c54d4616e99e7fa5a02"
    assert (read.workflow_name, read.event, read.linked_account_id) == ("Daily Sync", "Schedule", "user_12345")
    assert read.created_at == datetime(2026, 6, 16, 13, 15, 0, 887000, UTC)
    assert json.loads(json.dumps(read.to_dict()))["created_at"] == "2026-06-16T13:15:00.887000+00:00"


@pytest.mark.parametrize(
    ("status", "completed", "has_ended"),
    [
        *((status.value, False, True) for status in ExecutionStatus if status not in ("QUEUED", "RUNNING", "STOPPING")),
        ("RUNNING", False, False), ("RUNNING", True, False), ("QUEUED", True, False), ("STOPPING", True, False),
        ("PAUSED", False, False), ("PAUSED", True, True), ("", False, False), ("completed", True, True),
    ],
)  # fmt: skip
def test_an_execution_of_a_status_has_ended_or_not(status: str, completed: bool, has_ended: bool) -> None:
    document = {"status": status, **({"completion_time": "2026-06-16T13:15:02Z"} if completed else {})}
    assert Execution.of(document).has_ended is has_ended


def test_an_execution_that_failed_can_be_raised() -> None:
    Execution.of({"_id": "e1", "status": "RUNNING"}).raise_for_status()
    Execution.of({"_id": "e1", "status": "COMPLETED"}).raise_for_status()
    failed = Execution.of({"_id": "e1", "status": "ERRORED"})
    with pytest.raises(ExecutionFailedError, match="e1") as caught:
        failed.raise_for_status()
    assert caught.value.execution is failed
    assert caught.value.delivery is None
