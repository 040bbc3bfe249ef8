"""The definition of an event, as Refold shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from attrs import field, frozen

from .decode import text


@frozen(kw_only=True)
class EventField:
    """One field of an event's payload, as Refold has read it from the sample.

    :ivar key: its place, with dots, such as `payload.email`.
    :ivar type: such as `text` or `object`. The set is open.
    """

    key: str
    type: str | None = None


@frozen(kw_only=True)
class EventDefinition:
    """An event that triggers can name.

    :ivar id: its id. Empty where the document has none.
    :ivar name: its name, as `trigger` takes it. Empty where the document has none.
    :ivar fields: the fields of its payload, where Refold lists them.
    :ivar sample: the payload that it was defined with, where Refold shows it; any JSON.
    :ivar json_schema: the schema that it was defined with, if any.
    :ivar raw: the document as it came.
    """

    id: str
    name: str
    fields: tuple[EventField, ...] = ()
    sample: Any = field(default=None, repr=False, hash=False)
    json_schema: Any = field(default=None, repr=False, hash=False)
    raw: Mapping[str, Any] = field(factory=dict, repr=False, hash=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], event_id: str = "") -> Self:
        """Read a document. Its `response` is a list of fields, or the sample: as JSON, or as JSON in a text.

        :param event_id: the id that was asked for: an answer may not repeat it.
        """
        response = document.get("response")
        sample = _unquoted(document.get("raw_response"))
        if sample is None and not isinstance(response, list):
            sample = _unquoted(response)
        return cls(
            id=text(document, "_id", "id") or event_id,
            name=text(document, "name") or "",
            fields=_fields(response),
            sample=sample,
            json_schema=_unquoted(document.get("json_schema")),
            raw=document,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the document, as values that `json.dumps` takes."""
        return {
            "id": self.id,
            "name": self.name,
            "fields": [{"key": each.key, "type": each.type} for each in self.fields],
            "sample": self.sample,
            "json_schema": self.json_schema,
        }


def _fields(response: object) -> tuple[EventField, ...]:
    if not isinstance(response, list):
        return ()
    found = []
    for each in response:
        key = text(each, "key") if isinstance(each, dict) else None
        if key is not None:
            found.append(EventField(key=key, type=text(each, "type")))
    return tuple(found)


def _unquoted(value: Any) -> Any:
    """Return the JSON in a text, or the text itself where it is none; another value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value or None
