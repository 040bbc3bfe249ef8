"""The API's view of runs: `/api/v2/public/execution`."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ._answers import Errors, Reply, WallClock, json_reply
from ._routes import Route, RoutedRequest
from .dialect import Dialect
from .ledger import Ledger
from .runs import Run, RunPlan, Runs, object_id, workflow_id


class Executions:
    """Lists, shows, stops and reruns."""

    def __init__(
        self,
        runs: Runs,
        ledger: Ledger,
        dialect: Dialect,
        errors: Errors,
        wall: WallClock,
        clock: Callable[[], float],
        api_key: str,
    ) -> None:
        self._ledger = ledger
        self._runs = runs
        self._dialect = dialect
        self._errors = errors
        self._wall = wall
        self._clock = clock
        self._environment = "production" if api_key.startswith("pk") else "test"

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "execution", "read", "account", self._list),
            Route("GET", "execution/{id}", "read", "account", self._get),
            Route("POST", "execution/{id}/stop", "write", "account", self._stop),
            Route("POST", "execution/{id}/rerun", "trigger", "account", self._rerun),
        ]

    def _list(self, request: RoutedRequest) -> Reply:
        query = request.entry.query
        try:
            page, limit = _whole(query.get("page"), 1), _whole(query.get("limit"), 10)
            wanted = _Filter(query)
        except ValueError as error:
            return self._errors.make(400, str(error), "VALIDATION_ERROR")
        limit = min(limit, self._dialect.max_page_size)
        now = self._clock()
        runs = [
            run for run in self._runs.listed(request.account) if wanted.takes(run, now, self._wall.at(run.created_at))
        ]
        if query.get("sortAsc") != "true":
            runs.reverse()
        start = (page - 1) * limit
        docs = [self._document(run, now) for run in runs[start : start + limit]]
        self._runs.page_was_read(request.account)
        return json_reply(self._page(docs, len(runs), page, limit))

    def _page(self, docs: list[dict[str, Any]], total: int, page: int, limit: int) -> dict[str, Any]:
        pages = max(1, math.ceil(total / limit))
        has_next = page < pages or self._dialect.endless_pages
        envelope: dict[str, Any] = {"docs": docs}
        if self._dialect.paging != "docs":
            envelope |= {"totalDocs": total, "limit": limit, "page": page, "totalPages": pages, "hasNextPage": has_next}
        if self._dialect.paging == "full":
            envelope |= {
                "hasPrevPage": page > 1,
                "nextPage": page + 1 if has_next else None,
                "prevPage": page - 1 if page > 1 else None,
                "pagingCounter": (page - 1) * limit + 1,
            }
        return envelope

    def _get(self, request: RoutedRequest) -> Reply | None:
        run = self._runs.find(request.values[0], request.account)
        if run is None:
            return self._unknown()
        now = self._clock()
        document = self._document(run, now)
        if not self._dialect.detail_has_id:
            del document["_id"], document["createdAt"]
        return json_reply({**document, "nodes": self._nodes(run, now)})

    def _stop(self, request: RoutedRequest) -> Reply | None:
        run = self._runs.find(request.values[0], request.account)
        if run is None:
            return self._unknown()
        self._runs.stop(run)
        return json_reply({"message": "Stopping instance"})

    def _rerun(self, request: RoutedRequest) -> Reply | None:
        run = self._runs.find(request.values[0], request.account)
        if run is None:
            return self._unknown()
        self._ledger.record_fired(request.entry)
        again = self._runs.rerun(run)
        if self._dialect.rerun == "v1":
            return json_reply({"message": "Execution queued", "instanceId": again.id})
        return json_reply({"status": "success", "id": again.id})

    def _unknown(self) -> Reply | None:
        if self._dialect.unknown_execution == "hang":
            return None
        return self._errors.make(404, "Execution not found", "RESOURCE_NOT_FOUND", spelled="mixed")

    def _document(self, run: Run, now: float) -> dict[str, Any]:
        plan = self._runs.plan or RunPlan()
        ended = run.ended_at(now)
        workflow = workflow_id(run.workflow)
        document: dict[str, Any] = {
            "_id": run.id,
            "name": f"Execution for workflow {workflow}",
            "org_id": "6500a1b2c3d4e5f6a7b8c9d0",
            "environment": self._environment,
            "status": run.status_at(now),
            "completion_percentage": 0 if ended is None else 100,
            "associated_event_id": run.event_id,
            "associated_workflow": {"_id": workflow, "name": run.workflow, "icon": ""},
            "trigger_application_event": "Schedule" if run.event is None else run.event,
            "linked_account_id": run.account,
            "config_id": run.config_id or run.account,
            "type_of_execution": "ASYNC",
            "is_child_instance": False,
            "custom_field_values": {},
            "createdAt": self._iso(run.created_at),
            "updatedAt": self._iso(run.updated_at if ended is None else ended),
        }
        if run.slug is not None:
            application = {"_id": object_id(0x6992CC7D, "application", run.slug), "name": run.slug.title(), "icon": ""}
            document["associated_application"] = application
            document["associated_trigger_application"] = {**application, "app_type": run.slug}
        if ended is not None:
            document["completion_time"] = self._iso(ended)
            document["instance_execution_time"] = round((ended - run.created_at) * 1000)
            fields = run.payload if isinstance(run.payload, dict) else {}
            document["custom_field_values"] = {name: fields[name] for name in plan.custom_fields if name in fields}
        if plan.shows_tag and run.instance_tag is not None:
            document[plan.tag_field] = run.instance_tag
        return document

    def _nodes(self, run: Run, now: float) -> list[dict[str, Any]]:
        """Return the nodes: the start, which has run, and one that has run once the run has ended."""
        shows = (self._runs.plan or RunPlan()).shows_payload
        status = run.status_at(now)
        done = {"COMPLETED": "Success", "ERRORED": "Errored", "FAILED": "Errored", "TIMED_OUT": "Timed_Out"}
        ended = run.ended_at(now) is not None
        second = done.get(status, "Stopped" if ended else "Waiting")
        nodes = []
        for number, (name, kind, node_status) in enumerate(
            [("Start", "start", "Success"), ("Send", "action", second)], start=1
        ):
            node: dict[str, Any] = {
                "node_id": str(number),
                "node_name": name,
                "node_type": kind,
                "node_status": node_status,
                "is_batch": False,
                "attempts_made": int(node_status != "Waiting"),
                "maximum_attempts": 3,
                "execution_time": 403,
                "latest_output": {"node_id": str(number), "node_type": kind, "status": node_status},
            }
            if shows and node_status != "Waiting":
                node["input_data"] = {"event": run.event, "payload": run.payload}
            nodes.append(node)
        return nodes

    def _iso(self, moment: float) -> str:
        at = datetime.fromtimestamp(self._wall.at(moment), UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Filter:
    """The query's filters. Names that the API does not know are ignored, as the API does."""

    def __init__(self, query: dict[str, str]) -> None:
        self._slugs = [slug for slug in query.get("slug", "").split(",") if slug]
        self._status = _unless_all(query.get("status"))
        self._workflow_id = query.get("workflow_id")
        self._workflow_name = query.get("workflow_name", "").lower()
        self._execution_id = query.get("execution_id")
        self._type = _unless_all(query.get("execution_type"))
        self._source = _unless_all(query.get("execution_source"))
        self._since = _moment(query.get("start_date"))
        self._until = _moment(query.get("end_date"))

    def takes(self, run: Run, now: float, created: float) -> bool:
        """Whether the run passes; `created` is the Unix time of its creation."""
        shown = math.floor(created * 1000) / 1000  # compared as it is shown: in whole milliseconds
        return (
            (not self._slugs or run.slug in self._slugs)
            and self._status in (None, run.status_at(now))
            and self._workflow_id in (None, workflow_id(run.workflow))
            and self._workflow_name in run.workflow.lower()
            and self._execution_id in (None, run.id)
            and self._type in (None, "ASYNC")
            and (self._source is None or self._source.lower() == run.source.lower())
            and (self._since is None or shown >= self._since)
            and (self._until is None or shown <= self._until)
        )


def _unless_all(value: str | None) -> str | None:
    return None if value in (None, "", "All") else value


def _whole(value: str | None, default: int) -> int:
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError("page and limit must be whole numbers from 1 on")
    return int(value)


def _moment(value: str | None) -> float | None:
    """Return the Unix time of a date, or of a date and time; UTC where none is named."""
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("start_date and end_date must be ISO 8601") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
