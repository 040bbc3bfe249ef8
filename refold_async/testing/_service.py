"""How the mock decides: credentials, limits, repeats, faults, and what is written in the ledger."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import define, field

from .._types.values import RateLimit
from ._connection import Connection, render
from ._dedupe import ClaimedKeys, Dedupe
from ._faults import Fault, FaultPlan
from ._limits import EnforcedLimit
from .ledger import Entry, Ledger

EVENT_PATH = "/api/v2/public/event/"
MAX_INPUT = 3_100_000
"""Bytes; "about 3 MB" as Refold puts it."""

_FIRED = b'{"message":"Webhook Fired Success"}'
_FIRED_ANSWER = render(200, (), _FIRED)


def _refusal(status: int, message: str, **fields: str) -> tuple[int, bytes]:
    return status, json.dumps({"status_code": status, **fields, "message": message}).encode()


_INVALID_CREDENTIALS = _refusal(401, "Invalid Credentials", http_error_type="UNAUTHORIZED", error_code="SERVER_ERROR")
_NOT_FOUND = _refusal(404, "Trigger not found", http_error_type="NOT_FOUND", error_code="INVALID_EVENT")
_NO_ACCOUNT = _refusal(
    400, "Linked account id is missing", error_type="BAD_REQUEST", error_code="MISSING_LINKED_ACCOUNT_ID"
)
_TOO_LARGE = _refusal(413, "Payload too large", error_type="PAYLOAD_TOO_LARGE")
_THROTTLED = _refusal(429, "Too many requests", error_type="TOO_MANY_REQUESTS")
_FAILED = _refusal(500, "Request failed with status code 500", error_type="INTERNAL_SERVER_ERROR")


@define(eq=False)
class Service:
    """The mock's behaviour, apart from its sockets. Runs on the loop of the server's thread."""

    prefix: str
    api_keys: frozenset[str]
    session_tokens: frozenset[str]
    events: Mapping[str, Collection[str]] | None
    rate_limit: RateLimit | None
    retry_after: str | None
    dedupe: Dedupe | None
    latency: float
    clock: Callable[[], float]
    ledger: Ledger
    plan: FaultPlan | None = None
    queued: deque[Fault | None] = field(factory=deque)
    refuse: Callable[[float | None], None] = lambda seconds: None
    connections: set[Connection] = field(factory=set)
    most_at_once: int = 0
    _empty: asyncio.Event | None = None
    _limit: EnforcedLimit | None = None
    _claims: ClaimedKeys | None = None

    def __attrs_post_init__(self) -> None:
        self._limit = None if self.rate_limit is None else EnforcedLimit(self.rate_limit)
        self._claims = None if self.dedupe is None else ClaimedKeys(self.dedupe)

    def connected(self, connection: Connection) -> int:
        """Note a connection, and give its number."""
        self.connections.add(connection)
        self.most_at_once = max(self.most_at_once, len(self.connections))
        self.ledger.connections += 1
        return self.ledger.connections

    def disconnected(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        if self.connections:
            self._empty = asyncio.Event()
            await self._empty.wait()

    def queue(self, faults: Iterable[Fault | None]) -> None:
        """Play these faults to the next requests, before the plan is asked again."""
        self.queued.extend(faults)

    def serve(self, entry: Entry, connection: Connection) -> None:
        """Deal with a request: write it in the ledger and answer it, or do not."""
        refusal = self._refused(entry)
        if refusal is not None:
            status, body = refusal
            extra = (("Retry-After", self.retry_after),) if status == 429 and self.retry_after is not None else ()
            self._answer(entry, connection, status, render(status, extra, body))
            return
        fault = self.queued.popleft() if self.queued else None if self.plan is None else self.plan(entry)
        if fault is None:
            self._fire(entry)
            self._answer(entry, connection, 200, _FIRED_ANSWER)
            return
        entry.fault = fault.name
        if fault.fires:
            self._fire(entry)
        elif fault.claims_key and self._claims is not None:
            entry.duplicate = not self._claims.claim(entry, self.clock())
        self._play(fault, entry, connection)

    def _refused(self, entry: Entry) -> tuple[int, bytes] | None:
        path = self.prefix + EVENT_PATH
        if not entry.path.startswith(path) or "/" in entry.path[len(path) :] or not entry.slug:
            return _refusal(404, f"Cannot {entry.method} {entry.path}", error_type="NOT_FOUND")
        if entry.method != "POST":
            return _refusal(405, "Method not allowed", error_type="METHOD_NOT_ALLOWED")
        key, bearer = entry.header("x-api-key"), entry.header("authorization")
        if not (key in self.api_keys or (bearer or "").removeprefix("Bearer ") in self.session_tokens):
            return _INVALID_CREDENTIALS
        if self._limit is not None and not self._limit.admit(self.clock()):
            return _THROTTLED
        if bearer is None and not entry.linked_account_id:
            return _NO_ACCOUNT
        return self._invalid(entry)

    def _invalid(self, entry: Entry) -> tuple[int, bytes] | None:
        if len(entry.body) > MAX_INPUT:
            return _TOO_LARGE
        if not isinstance(entry.event, str) or not isinstance(entry.payload, dict | None):
            return _refusal(400, "event is required", error_type="BAD_REQUEST", error_code="VALIDATION_ERROR")
        if self.events is not None and entry.slug != "trigger":
            if entry.slug not in self.events:
                return _NOT_FOUND
            if entry.event not in self.events[entry.slug]:
                message = f"Trigger with name {entry.event} not found for application {entry.slug}"
                return _refusal(400, message, error_type="BAD_REQUEST")
        return None

    def _fire(self, entry: Entry) -> None:
        if self._claims is not None and not self._claims.claim(entry, self.clock()):
            entry.duplicate = True
        else:
            entry.fired = True

    def _answer(self, entry: Entry, connection: Connection, status: int, answer: bytes) -> None:
        entry.status = status
        self.ledger.add(entry)
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, connection.write, answer)
        else:
            connection.write(answer)

    def _play(self, fault: Fault, entry: Entry, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        half = _FIRED_ANSWER[: -len(_FIRED) // 2]
        if fault.action == "answer":
            body = fault.body
            if body is None:
                body = _FIRED if fault.status < 300 else _FAILED[1]
            self._answer(entry, connection, fault.status, render(fault.status, fault.headers, body))
            return
        if fault.action in ("close_idle", "refuse"):
            self._answer(entry, connection, 200, _FIRED_ANSWER)
            self.ledger.dropped_idle += 1
            if fault.action == "refuse":
                self.refuse(fault.seconds)
            loop.call_later(self.latency, connection.close)
            return
        self.ledger.add(entry)
        if fault.action == "reset":
            connection.reset()
        elif fault.action == "close":
            connection.close()
        elif fault.action == "raw":
            connection.write(fault.body or b"")
            connection.close()
        elif fault.action == "truncate":
            entry.status = 200
            connection.write(half)
            connection.close()
        else:
            if fault.action == "stall_body":
                entry.status = 200
                connection.write(half)
            connection.stall()
            if fault.seconds is not None:
                loop.call_later(fault.seconds, connection.close)
