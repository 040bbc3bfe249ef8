"""The definitions of events: `/api/v2/public/application/event`."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from typing import Any

from attrs import define, field

from ._answers import Errors, Reply, json_reply
from ._bodies import parse_json
from ._routes import Route, RoutedRequest
from .dialect import Dialect
from .runs import object_id

_CREATED = 0x6A314123
_PATH = "application/event"


@define
class EventDefinition:
    """An event that exists.

    :ivar id: its id, 24 hex digits.
    :ivar name: its name, as triggers name it.
    :ivar sample: the payload that it was defined with.
    :ivar json_schema: the schema that it was defined with, if any.
    """

    id: str
    name: str
    sample: Any = field(factory=dict)
    json_schema: Any = None


class EventDefinitions:
    """The events that exist. May be used from any thread.

    :param by_slug: the events of each application; None for every event that there could be. Events that are created
        later exist for every application, and a deleted one for none.
    """

    def __init__(self, by_slug: Mapping[str, Collection[str]] | None) -> None:
        self._by_slug = None if by_slug is None else {slug: set(names) for slug, names in by_slug.items()}
        self._seeded = set[str]().union(*(self._by_slug or {}).values())
        self._lock = threading.Lock()
        self._made = 0
        self._events: dict[str, EventDefinition] = {}
        for name in sorted(self._seeded):
            self.add(name)

    def add(self, name: str, sample: Any = None, json_schema: Any = None) -> EventDefinition:
        """Define an event. Unlike the API, this does not look whether its name is taken."""
        with self._lock:
            self._made += 1
            new = EventDefinition(
                object_id(_CREATED + self._made, "event", self._made), name, sample or {}, json_schema
            )
            self._events[new.id] = new
            return new

    def all(self) -> list[EventDefinition]:
        """Return all events, oldest first."""
        with self._lock:
            return list(self._events.values())

    def get(self, event_id: str) -> EventDefinition | None:
        """Return the event of this id, None where there is none."""
        return self._events.get(event_id)

    def remove(self, event_id: str) -> bool:
        """Delete an event. Returns whether it existed."""
        with self._lock:
            return self._events.pop(event_id, None) is not None

    @property
    def takes_all(self) -> bool:
        """Whether every event exists."""
        return self._by_slug is None

    def has_application(self, slug: str) -> bool:
        """Whether this application exists."""
        return self._by_slug is None or slug in self._by_slug

    def exists(self, slug: str, name: str) -> bool:
        """Whether this event exists for this application."""
        if self._by_slug is None:
            return True
        exists = any(event.name == name for event in self.all())
        return exists and (name in self._by_slug.get(slug, ()) or name not in self._seeded)


class EventsApi:
    """The API of the events: what triggers and calls below `application/event` are answered.

    :ivar takes_all: whether every event exists, so that none need be looked up.
    """

    def __init__(self, events: EventDefinitions, dialect: Dialect, errors: Errors) -> None:
        self._events = events
        self.takes_all = events.takes_all
        self._dialect = dialect
        self._errors = errors

    def refuse(self, slug: str | None, name: str) -> Reply | None:
        """Return the answer to a trigger of an event that does not exist; `slug` is None for all applications."""
        if slug is None or self._events.exists(slug, name):
            return None
        if not self._events.has_application(slug):
            return self._errors.make(404, "Trigger not found", "INVALID_EVENT", spelled="mixed")
        return self._errors.make(400, f"Trigger with name {name} not found for application {slug}", spelled="v1")

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", _PATH, "read", "key", self._list),
            Route("POST", _PATH, "write", "key", self._create),
            Route("GET", _PATH + "/{id}", "read", "key", self._get),
            Route("PUT", _PATH + "/{id}", "write", "key", self._update),
            Route("DELETE", _PATH + "/{id}", "write", "key", self._delete),
        ]

    def _list(self, request: RoutedRequest) -> Reply:
        return json_reply([self._document(event) for event in self._events.all()])

    def _get(self, request: RoutedRequest) -> Reply:
        event = self._events.get(request.values[0])
        return self._unknown() if event is None else json_reply(self._document(event))

    def _create(self, request: RoutedRequest) -> Reply:
        given = self._given(request)
        if isinstance(given, Reply):
            return given
        if any(event.name == given["name"] for event in self._events.all()):
            message = f"Trigger with name {given['name']} already exists"
            return self._errors.make(400, message, "INVALID_EVENT_ID", spelled="v1")
        self._events.add(given["name"], given["response"], given["json_schema"])
        return self._list(request)

    def _update(self, request: RoutedRequest) -> Reply:
        event = self._events.get(request.values[0])
        if event is None:
            return self._unknown("INVALID_EVENT")
        given = self._given(request)
        if isinstance(given, Reply):
            return given
        event.name, event.sample, event.json_schema = given["name"], given["response"], given["json_schema"]
        return self._list(request)

    def _delete(self, request: RoutedRequest) -> Reply:
        return self._list(request) if self._events.remove(request.values[0]) else self._unknown()

    def _given(self, request: RoutedRequest) -> dict[str, Any] | Reply:
        """Return the fields of a definition; its sample may be an object, or a JSON string of one."""
        document = request.entry.document
        name = document.get("name") if isinstance(document, dict) else None
        sample = document.get("response") if isinstance(document, dict) else None
        if isinstance(sample, str):
            sample = parse_json(sample.encode())
        if not isinstance(name, str) or not name or sample is None:
            return self._errors.make(400, "name and response are required", "SERVER_ERROR")
        return {"name": name, "response": sample, "json_schema": document.get("json_schema")}

    def _unknown(self, older_code: str = "INVALID_EVENT_ID") -> Reply:
        if self._dialect.unknown_event == 400:
            return self._errors.make(400, "Invalid event id", older_code, spelled="v1")
        return self._errors.make(404, "Event not found", "RESOURCE_NOT_FOUND")

    def _document(self, event: EventDefinition) -> dict[str, Any]:
        sample = json.dumps(event.sample)
        document: dict[str, Any] = {"_id": event.id, "name": event.name}
        if self._dialect.event_response == "string":
            document["response"] = sample
        else:
            document["response"] = _fields({"event": event.name, "payload": event.sample})
            document["raw_response"] = sample
        if event.json_schema is not None:
            document["json_schema"] = event.json_schema
        return document


def _fields(value: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """Return the fields of a sample, as the console lists them: a dotted key and a type for each."""
    found = []
    for name, inner in value.items():
        found.append({"key": prefix + name, "type": "object" if isinstance(inner, dict | list) else "text"})
        if isinstance(inner, dict):
            found += _fields(inner, f"{prefix}{name}.")
    return found
