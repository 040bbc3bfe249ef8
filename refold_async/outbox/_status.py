"""What is known of an event, and of an outbox as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from attrs import asdict, frozen

from ..policies.fence import State
from ._row import Row


@frozen(kw_only=True)
class EventStatus:
    """One event of an outbox, without its payload.

    :param key: its key.
    :param state: what is known of it; see `State`.
    :param held: it may have fired, and waits for somebody to say whether it did, with `resolve`.
    :param slug: the application's slug.
    :param event: the event's name.
    :param linked_account_id: the end customer, if the trigger names one.
    :param instance_tag: the label, if the trigger has one.
    :param ordering_key: the ordering key, if any.
    :param attempts: how often it was begun to be sent.
    :param due: when it is sent next, or looked at; None if nothing happens by itself.
    :param created: when it was put.
    :param updated: when its state last changed.
    :param first_sent_at: when the first attempt was made that may have fired.
    :param idempotency_key: the key that went with it.
    :param error: the name of the last error's class; None if there was none.
    :param message: what the last receipt or error says.
    :param status_code: the last response's status, where there was one.
    :param request_id: Refold's id for the last request, where it gave one.
    """

    key: str
    state: State
    held: bool
    slug: str
    event: str
    linked_account_id: str | None
    instance_tag: str | None
    ordering_key: str | None
    attempts: int
    due: datetime | None
    created: datetime
    updated: datetime
    first_sent_at: datetime | None
    idempotency_key: str | None
    error: str | None
    message: str | None
    status_code: int | None
    request_id: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


@frozen(kw_only=True)
class OutboxStats:
    """How many events are where, for gauges and alerts.

    :param queued: how many are to be sent.
    :param sending: how many are being sent.
    :param ambiguous: how many may have fired, and are sent again with their key.
    :param held: how many may have fired, and wait for somebody. Alert when it is not 0.
    :param blocked: how many queued ones wait behind a held one of their ordering key.
    :param accepted: how many fired, and were not pruned yet.
    :param rejected: how many were rejected, and were not pruned yet.
    :param oldest_age: seconds since the oldest event was put that has neither fired nor was rejected; None if none.
    """

    queued: int = 0
    sending: int = 0
    ambiguous: int = 0
    held: int = 0
    blocked: int = 0
    accepted: int = 0
    rejected: int = 0
    oldest_age: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes."""
        return asdict(self)


def status_of(row: Row) -> EventStatus:
    """Return what is known of a row's event."""
    trigger = row.load_trigger()
    verdict: dict[str, Any] = {} if row.verdict is None else json.loads(row.verdict)
    return EventStatus(
        key=row.key,
        state=row.state,
        held=row.is_held,
        slug=trigger.slug,
        event=trigger.event,
        linked_account_id=trigger.linked_account_id,
        instance_tag=trigger.instance_tag,
        ordering_key=row.ordering_key,
        attempts=row.attempt,
        due=_at(row.due),
        created=datetime.fromtimestamp(row.created, UTC),
        updated=datetime.fromtimestamp(row.updated, UTC),
        first_sent_at=_at(row.first_sent_at),
        idempotency_key=row.sent_key,
        error=verdict.get("error"),
        message=verdict.get("message"),
        status_code=verdict.get("status_code"),
        request_id=verdict.get("request_id"),
    )


def _at(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
