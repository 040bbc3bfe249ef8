"""A store of events in memory, and a client whose calls end as a test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from attrs import define, evolve, field

from refold_async import Idempotency, Receipt, Sending, Trigger
from refold_async.outbox._row import Change, Row, changed, digest_of, encode_trigger
from refold_async.outbox._status import EventStatus, status_of
from refold_async.policies.fence import State


@define(eq=False)
class MemoryStore:
    """Rows in a dict. `gate` is awaited on both sides of each step, so that a test can stop there."""

    rows: dict[str, Row] = field(factory=dict)
    clock: Callable[[], float] = lambda: 1_000_000.0
    gate: Callable[[str], Awaitable[None]] | None = None
    keeps_payloads: bool = False
    path: Path = Path("unused")
    listeners: list[Callable[[], None]] = field(factory=list)

    def put(self, trigger: Trigger, key: str) -> None:
        text, now = encode_trigger(trigger), self.clock()
        row = Row(key, len(self.rows), text, digest_of(text), trigger.ordering_key, State.QUEUED, 0, now, now, now)
        self.rows[key] = row

    async def load(self, key: str) -> Row | None:
        await self._pass("load")
        row = self.rows.get(key)
        return None if row is None else evolve(row, now=self.clock())

    async def move(self, row: Row, change: Change) -> Row | None:
        await self._pass("move")
        kept = self.rows.get(row.key)
        after = None
        if kept is not None and (kept.state, kept.attempt) == (row.state, row.attempt):
            after = self.rows[row.key] = changed(kept, change, self.clock())
        await self._pass("moved")
        return after

    # What a relay needs beside.

    async def due_rows(self, limit: int) -> tuple[list[Row], float | None]:
        now = self.clock()
        open_rows = sorted((each for each in self.rows.values() if not each.state.is_final), key=lambda row: row.seq)
        heads: dict[str, str] = {}
        for row in open_rows:
            if row.ordering_key is not None:
                heads.setdefault(row.ordering_key, row.key)
        due = [
            evolve(row, now=now)
            for row in open_rows
            if row.due is not None
            and row.due <= now
            and (row.state is not State.QUEUED or row.ordering_key is None or heads[row.ordering_key] == row.key)
        ]
        later = [row.due - now for row in open_rows if row.due is not None and row.due > now]
        due.sort(key=lambda row: (row.due, row.seq))
        return due[:limit], min(later, default=None)

    async def has_changed(self) -> bool:
        return False

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def held(self, *, limit: int = 1000) -> list[EventStatus]:
        return [status_of(row) for row in self.rows.values() if row.is_held][:limit]

    async def prune(self, older_than: float) -> int:
        return 0

    async def _pass(self, name: str) -> None:
        if self.gate is not None:
            await self.gate(name)


Ending = Callable[[dict[str, Any]], Awaitable[Receipt]]


@define(eq=False)
class ScriptedClient:
    """A client that asks `before_send` once, and then does what `ending` does.

    :ivar before: is awaited before that; what it raises ends the call with nothing sent.
    """

    ending: Ending
    idempotency: Idempotency | None = None
    before: Callable[[], Awaitable[None]] | None = None
    mint: Callable[[], str] = lambda: uuid4().hex
    calls: list[dict[str, Any]] = field(factory=list)
    request: Any = None

    async def trigger(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        instance_tag: str | None = None,
        idempotency_key: str | None = None,
        first_sent_at: datetime | None = None,
        deadline: float | None = None,
        retry: None = None,
        before_send: Any = None,
    ) -> Receipt:
        call: dict[str, Any] = {
            "slug": slug,
            "event": event,
            "payload": payload,
            "linked_account_id": linked_account_id,
            "config_id": config_id,
            "instance_tag": instance_tag,
            "idempotency_key": idempotency_key,
            "first_sent_at": first_sent_at,
            "deadline": deadline,
        }
        self.calls.append(call)
        if self.before is not None:
            await self.before()
        if idempotency_key is None and self.idempotency is not None:
            idempotency_key = call["idempotency_key"] = self.mint()
        trigger = Trigger(slug, event, payload)
        await before_send(Sending(call_id="c", trigger=trigger, attempt=1, idempotency_key=idempotency_key))
        return await self.ending(call)
