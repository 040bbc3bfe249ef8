"""What a webhook tells. Fields that are missing or of another type are None; `.raw` has the document as it came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from attrs import asdict, field, frozen

_CONNECTION_NAMES: Final = frozenset({"connection created", "connection deleted", "connection expired"})
_WORKFLOW_NAMES: Final = frozenset({"workflow completed", "workflow errored", "workflow stopped", "workflow timed out"})


@frozen(kw_only=True)
class _Event:
    """What all events have.

    :ivar name: the event's name as it came, such as `Workflow Errored`; empty if there was none.
    :ivar dedupe_key: the same for each delivery of one event: put it in a table with a unique index, and drop repeats.
    :ivar raw: the document as it came. Not shown in the `repr`.
    """

    name: str
    dedupe_key: tuple[str, ...] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for `json.dumps`."""
        fields = asdict(self, recurse=False)
        created_at = fields.get("created_at")
        if isinstance(created_at, dt.datetime):
            fields["created_at"] = created_at.isoformat()
        return fields | {"dedupe_key": list(self.dedupe_key), "raw": dict(self.raw)}


@frozen(kw_only=True)
class ConnectionEvent(_Event):
    """A customer connected an application, removed it, or its credentials expired.

    :ivar name: `Connection Created`, `Connection Deleted` or `Connection Expired`.
    :ivar linked_account_id: the customer.
    :ivar slug: the application.
    :ivar environment: such as `test` or `production`.
    :ivar created_at: when it happened, with a time zone.
    """

    linked_account_id: str | None = None
    slug: str | None = None
    environment: str | None = None
    created_at: dt.datetime | None = None


@frozen(kw_only=True)
class WorkflowEvent(_Event):
    """An execution of a workflow ended.

    :ivar name: `Workflow Completed`, `Workflow Errored`, `Workflow Stopped` or `Workflow Timed Out`.
    :ivar execution_id: which execution; Refold calls it `instance_id` here.
    :ivar workflow_id: of which workflow.
    :ivar workflow_name: its name in the Refold console.
    :ivar status: the execution's status, such as `COMPLETED`. The set is open.
    :ivar linked_account_id: for which customer.
    :ivar config_id: with which of the customer's configurations.
    :ivar environment: such as `test` or `production`.
    """

    execution_id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    status: str | None = None
    linked_account_id: str | None = None
    config_id: str | None = None
    environment: str | None = None


@frozen(kw_only=True)
class UnknownEvent(_Event):
    """An event that this version does not know, or a body from a template of your own: look at `.raw`."""


WebhookEvent = ConnectionEvent | WorkflowEvent | UnknownEvent
"""Any of them; tell them apart with `match` or `isinstance`."""


def decode(document: Mapping[str, Any], digest: str) -> WebhookEvent:
    """Read an event. It never fails: Refold may add, rename or drop fields.

    :param digest: identifies the body, for events which do not name what they are about.
    """
    name = _text(document, "event") or ""
    kind = name.lower().replace("-", " ").replace("_", " ")
    account, environment = _text(document, "linked_account_id"), _text(document, "environment")
    if kind in _CONNECTION_NAMES:
        slug, created = _text(document, "slug"), _text(document, "createdAt")
        return ConnectionEvent(
            name=name,
            dedupe_key=_key(digest, name, account, slug, created),
            raw=document,
            linked_account_id=account,
            slug=slug,
            environment=environment,
            created_at=_time(created),
        )
    if kind in _WORKFLOW_NAMES:
        execution_id = _text(document, "instance_id")
        return WorkflowEvent(
            name=name,
            dedupe_key=_key(digest, name, execution_id),
            raw=document,
            execution_id=execution_id,
            workflow_id=_text(document, "workflow_id"),
            workflow_name=_text(document, "workflow_name"),
            status=_text(document, "status"),
            linked_account_id=account,
            config_id=_text(document, "config_id"),
            environment=environment,
        )
    return UnknownEvent(name=name, dedupe_key=_key(digest, name, None), raw=document)


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _key(digest: str, name: str, *identity: str | None) -> tuple[str, ...]:
    """Return what identifies the event, or its body's digest where a part is missing.

    With a part left out, two events could share a key, and the second would be dropped as a repeat.
    """
    known = [part for part in identity if part]
    return (name, *known) if len(known) == len(identity) else (name, "sha256", digest)


def _time(value: str | None) -> dt.datetime | None:
    """Read a date of RFC 1123, as Refold's docs show it, or of ISO 8601. One without a time zone is taken as UTC."""
    if value is None:
        return None
    from email.utils import parsedate_to_datetime

    for read in (parsedate_to_datetime, dt.datetime.fromisoformat):
        try:
            moment = read(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return None
