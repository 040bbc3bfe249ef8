"""How the mock decides: routes, credentials, limits, faults, and what is written in the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import unquote

from attrs import define, evolve, field

from ._accounts import Accounts
from ._answers import FIRED, Errors, Reply, WallClock, render
from ._connection import Connection
from ._dedupe import ClaimedKeys, Dedupe
from ._events import EventsApi
from ._exchange import ServedExchange
from ._faults import Fault, FaultPlan
from ._limits import EnforcedLimit
from ._routes import Route, RoutedRequest, Router
from .ledger import Entry, Ledger, event_of
from .runs import Runs

API_PATH = "/api/v2/public/"
MAX_INPUT = 3_100_000
"""Bytes; "about 3 MB" as Refold puts it."""


# Headers, as `Entry.find` looks for them.
_KEY = b"\r\nx-api-key:"
_AUTHORIZATION = b"\r\nauthorization:"
_ACCOUNT = b"\r\nlinked_account_id:"
_CONTENT_TYPE = b"\r\ncontent-type:"

log = logging.getLogger(__name__)


@define(eq=False)
class Faults:
    """The faults that are still to be played to one kind of request."""

    queued: deque[Fault | None] = field(factory=deque)
    plan: FaultPlan | None = None

    def next(self, entry: Entry) -> Fault | None:
        """Return the fault for a request: the next in the queue, else what the plan says."""
        if self.queued:
            return self.queued.popleft()
        return None if self.plan is None else self.plan(entry)


@define(eq=False)
class Service:
    """The mock's behaviour, apart from its sockets. Runs on the loop of the server's thread.

    :ivar broken: what a user's plan or function raised; the mock answers 500 there; leaving it raises the first.
    """

    prefix: str
    api_keys: frozenset[str]
    errors: Errors
    limit: EnforcedLimit | None
    read_limit: EnforcedLimit | None
    retry_after: str | None
    dedupe: Dedupe | None
    latency: Callable[[], float] | None
    clock: Callable[[], float]
    wall: WallClock
    ledger: Ledger
    runs: Runs
    events: EventsApi
    accounts: Accounts
    router: Router
    refuse: Callable[[float], None]
    faults: Mapping[str, Faults] = field(factory=lambda: {kind: Faults() for kind in ("trigger", "read", "write")})
    connections: set[Connection] = field(factory=set)
    most_at_once: int = 0
    broken: list[Exception] = field(factory=list)
    _claims: ClaimedKeys | None = field(init=False)
    _trigger: Route = field(init=False)
    _base: str = field(init=False)
    _event_base: str = field(init=False)
    _empty: asyncio.Event | None = None
    _fired_date: str = ""
    _fired_bytes: bytes = b""

    def __attrs_post_init__(self) -> None:
        self._claims = None if self.dedupe is None else ClaimedKeys(self.dedupe)
        self._trigger = Route("POST", "event/{slug}", "trigger", "account", self._fire, self._invalid)
        self._base = self.prefix + API_PATH
        self._event_base = self._base + "event/"

    def opened(self, connection: Connection) -> int:
        """Record a connection. Returns its number."""
        self.connections.add(connection)
        self.most_at_once = max(self.most_at_once, len(self.connections))
        self.ledger.connections += 1
        return self.ledger.connections

    def lost(self, connection: Connection) -> None:
        """Record that a connection is gone."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        if self.connections:
            self._empty = asyncio.Event()
            await self._empty.wait()

    def date(self) -> str:
        """Return the Date header."""
        return self.wall.date_header()

    def queue(self, kind: str, faults: Iterable[Fault | None]) -> None:
        """Play these faults to the next requests of a kind, before its plan is asked again."""
        self.faults[kind].queued.extend(faults)

    def handle(self, entry: Entry, connection: Connection) -> None:
        """Deal with a request: write it in the ledger and answer it, or do not."""
        try:
            request = self._accept(entry)
            if isinstance(request, Reply):
                self._answer(entry, connection, request)
            else:
                self._perform(request, entry, connection)
        except Exception as error:  # a user's function may raise anything; `broken` reports it
            log.exception("a function that was passed to MockRefold raised")
            self.broken.append(error)
            self._answer(entry, connection, self.errors.make(500, f"a function passed to the mock raised {error!r}"))

    def _perform(self, request: RoutedRequest, entry: Entry, connection: Connection) -> None:
        route = request.route
        fault = self.faults[route.kind].next(entry)
        if fault is None:
            reply = route.answer(request)
            if reply is None:
                self.ledger.add(entry)
                connection.stall()
            else:
                self._answer(entry, connection, reply)
            return
        entry.fault = fault.name
        exchange = ServedExchange(entry, connection, self.ledger, self._answer, self._render, self.refuse)
        if fault.fires:
            exchange.reply = route.answer(request)
        elif fault.claims_key and self._claims is not None and not self._claims.claim(entry, self.clock()):
            self.ledger.record_duplicate(entry)
        fault.action(fault, exchange)

    def _accept(self, entry: Entry) -> RoutedRequest | Reply:
        """Find the route, and look at everything that can be wrong with a request before it takes effect."""
        found = self._route(entry)
        if isinstance(found, Reply):
            return found
        route, values = found
        entry.kind = route.kind
        request = self._authenticate(entry, route, values)
        if isinstance(request, Reply):
            return request
        limit = self.limit if route.kind == "trigger" else self.read_limit
        if limit is not None and not limit.admit(self.clock()):
            headers = () if self.retry_after is None else (("Retry-After", self.retry_after),)
            return evolve(self.errors.make(429, "Too many requests", spelled="v1"), headers=headers)
        if route.credential == "account":
            refused = self._no_account(route) if not request.account else self.accounts.refuse(request.account)
            if refused is not None:
                return refused
        refused = None if route.check is None else route.check(request)
        return request if refused is None else refused

    def _route(self, entry: Entry) -> tuple[Route, Sequence[str]] | Reply:
        target = entry.target
        path, base = target if "?" not in target else entry.path, self._event_base
        if path.startswith(base) and path.find("/", len(base)) < 0 and len(path) > len(base):
            if entry.method == "POST":
                return self._trigger, (path[len(base) :],)
            allowed = ["POST"]
        else:
            found = self.router.find(entry.method, path[len(self._base) :]) if path.startswith(self._base) else []
            if isinstance(found, tuple):
                return found
            allowed = found
        if allowed:
            return evolve(
                self.errors.make(405, "Method not allowed", spelled="v1"), headers=(("Allow", ", ".join(allowed)),)
            )
        return self.errors.make(404, f"Cannot {entry.method} {path}", spelled="v1")

    def _authenticate(self, entry: Entry, route: Route, values: Sequence[str]) -> RoutedRequest | Reply:
        if route.credential != "token" and entry.find(_KEY) in self.api_keys:
            account = entry.account = entry.find(_ACCOUNT)
            return RoutedRequest(entry, route, values, account or "")
        if route.credential != "key":
            bearer = entry.find(_AUTHORIZATION) or ""
            token = bearer.removeprefix("Bearer ")
            account = self.accounts.account_of(token) if token is not bearer else None
            if account is not None:
                entry.account = account
                return RoutedRequest(entry, route, values, account, token)
        return self.errors.make(401, "Invalid Credentials", "SERVER_ERROR", spelled="mixed")

    def _no_account(self, route: Route) -> Reply:
        if route.kind == "trigger":
            return self.errors.make(400, "Linked account id is missing", "MISSING_LINKED_ACCOUNT_ID", spelled="v1")
        return self.errors.make(400, "Linked account id is missing", "INVALID_LINKED_ACCOUNT_ID", spelled="swapped")

    def _invalid(self, request: RoutedRequest) -> Reply | None:
        entry = request.entry
        if len(entry.body) > MAX_INPUT:
            return self.errors.make(413, "Payload too large", spelled="v1")
        content_type = entry.find(_CONTENT_TYPE) or ""
        if content_type[:33].lower() == "application/x-www-form-urlencoded":
            return self.errors.make(415, "Unsupported media type", spelled="v1")
        document = entry.parse(content_type)
        event = event_of(document)
        if not isinstance(event, str) or not event or not isinstance(document.get("payload"), dict | None):
            return self.errors.make(400, "event is required", "VALIDATION_ERROR", spelled="v1")
        if self.events.takes_all:
            return None
        slug = unquote(request.values[0])
        return self.events.refuse(entry.header("slug") if slug == "trigger" else slug, event)

    def _fire(self, request: RoutedRequest) -> Reply:
        entry = request.entry
        if self._claims is not None and not self._claims.claim(entry, self.clock()):
            self.ledger.record_duplicate(entry)
            self.runs.note(entry)
            if self._claims.repeat_status == 409:
                return self.errors.make(409, "An event with this key was received before", "DUPLICATE", spelled="v1")
            return FIRED
        self.ledger.record_fired(entry)
        self.runs.note(entry)
        return FIRED

    def _render(self, reply: Reply) -> bytes:
        date = self.wall.date_header()
        if reply is not FIRED:
            return render(reply, date)
        if date is not self._fired_date:  # made once a second
            self._fired_date, self._fired_bytes = date, render(reply, date)
        return self._fired_bytes

    def _answer(self, entry: Entry, connection: Connection, reply: Reply) -> None:
        data = self._render(reply)
        if entry.method == "HEAD":
            data = data[: len(data) - len(reply.body)]
        self.ledger.add(entry)
        if self.latency is None:
            self.ledger.record_status(entry, reply.status)
            connection.send(data)
        else:
            asyncio.get_running_loop().call_later(self.latency(), self._send, entry, connection, reply.status, data)

    def _send(self, entry: Entry, connection: Connection, status: int, data: bytes) -> None:
        if connection.is_open:
            self.ledger.record_status(entry, status)
            connection.send(data)
