"""The API of webhooks and of enabled workflows: what a customer has subscribed to, and what listens."""

from __future__ import annotations

import threading
from typing import Any, Final

from ._answers import Errors, Reply, json_reply
from ._routes import Route, RoutedRequest
from .runs import Runs, object_id, workflow_id

WEBHOOK_EVENTS: Final = frozenset(
    {
        "Connection Created",
        "Connection Deleted",
        "Connection Expired",
        "Workflow Completed",
        "Workflow Errored",
        "Workflow Stopped",
        "Workflow Timed Out",
    }
)

_CREATED = 0x6A313EDA
_FIELDS = ("webhook_type", "webhook_headers", "webhook_body", "method", "slug", "workflow_ids", "is_enabled")
_DEFAULTS: Final[dict[str, Any]] = {"webhook_type": "default", "method": "POST", "is_enabled": True, "workflow_ids": []}


class HooksApi:
    """Keeps subscriptions and shows them. Nothing is delivered to them: a test asks `MockRefold.deliver` for that."""

    def __init__(self, runs: Runs, errors: Errors) -> None:
        self._runs = runs
        self._errors = errors
        self._lock = threading.Lock()
        self._made = 0
        self._hooks: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "webhook", "read", "key", self._list),
            Route("POST", "webhook", "write", "key", self._create),
            Route("GET", "webhook/{id}", "read", "key", self._get),
            Route("PUT", "webhook/{id}", "write", "key", self._update),
            Route("DELETE", "webhook/{id}", "write", "key", self._delete),
            Route("GET", "workflow/enabled", "read", "account", self._workflows),
        ]

    def _list(self, request: RoutedRequest) -> Reply:
        return json_reply(list(self._hooks.values()))

    def _get(self, request: RoutedRequest) -> Reply:
        hook = self._hooks.get(request.values[0])
        return self._unknown() if hook is None else json_reply(hook)

    def _create(self, request: RoutedRequest) -> Reply:
        given = self._given(request)
        if isinstance(given, Reply):
            return given
        with self._lock:
            self._made += 1
            hook = {"_id": object_id(_CREATED + self._made, "webhook", self._made), **_DEFAULTS, **given}
            self._hooks[hook["_id"]] = hook
        return json_reply(hook)

    def _update(self, request: RoutedRequest) -> Reply:
        hook = self._hooks.get(request.values[0])
        if hook is None:
            return self._unknown()
        given = self._given(request)
        if isinstance(given, Reply):
            return given
        hook.update(given)
        return json_reply(hook)

    def _delete(self, request: RoutedRequest) -> Reply:
        with self._lock:
            hook = self._hooks.pop(request.values[0], None)
        return self._unknown() if hook is None else self._list(request)

    def _given(self, request: RoutedRequest) -> dict[str, Any] | Reply:
        document = request.entry.document
        given = document if isinstance(document, dict) else {}
        url, events = given.get("webhook_url"), given.get("webhook_events")
        if not isinstance(url, str) or not url or not isinstance(events, list) or not events:
            return self._errors.make(400, "webhook_url and webhook_events are required", "SERVER_ERROR")
        if not all(isinstance(event, str) and event in WEBHOOK_EVENTS for event in events):
            return self._errors.make(400, "Invalid event. Check events list in documentation.", "INVALID_EVENT")
        return {
            "webhook_url": url,
            "webhook_events": events,
            **{name: given[name] for name in _FIELDS if name in given},
        }

    def _unknown(self) -> Reply:
        return self._errors.make(400, "Webhook not found", "RESOURCE_NOT_FOUND")

    def _workflows(self, request: RoutedRequest) -> Reply:
        names = () if self._runs.plan is None else self._runs.plan.workflows
        return json_reply([{"id": workflow_id(name), "name": name, "config_id": request.account} for name in names])
