"""What really happened: each request that arrived, and whether its event fired."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from attrs import define, field

from ._bodies import UploadedFile, parse_body, parse_json

_UNPARSED: Any = object()
_MISSING = object()

_CONTENT_TYPE = b"\r\ncontent-type:"


@define(eq=False)
class Entry:
    """One request.

    What the mock does not need at once (headers, the parsed body) is parsed when it is first read.

    :ivar received_at: seconds on the mock's clock when the request had arrived in full.
    :ivar connection: the number of the connection that it came on, from 1.
    :ivar target: the request target exactly as it was sent, query included.
    :ivar head: the header lines exactly as they were sent, each between CRLFs.
    :ivar account: the linked account that it was for: the header's, or the one that the session token names.
    :ivar kind: "trigger" for what fires, "read", "write"; None where no route matched.
    :ivar fired: whether the event started its workflows.
    :ivar duplicate: whether it was dropped as a repeat.
    :ivar status: what was answered; None where nothing was.
    :ivar fault: the name of the fault that was played, if one was.
    """

    received_at: float
    connection: int
    method: str
    target: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    _lowered: bytes | None = field(default=None, repr=False, kw_only=True)
    fired: bool = False
    duplicate: bool = False
    status: int | None = None
    fault: str | None = None
    account: str | None = None
    kind: str | None = None
    _document: Any = field(default=_UNPARSED, init=False, repr=False)
    _files: Mapping[str, UploadedFile] | None = field(default=None, init=False, repr=False)

    @property
    def path(self) -> str:
        """The target without its query, as it was sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; of a repeated name the last."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def slug(self) -> str:
        """The last segment of the path, decoded: of a trigger, the application's slug."""
        return unquote(self.path.rpartition("/")[2])

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, in the order in which they came."""
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n") if line)
        return [(name.decode("latin-1"), value.strip().decode("latin-1")) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        """Return a header's value whatever the case of its name, the first of several, or None."""
        return self.find(b"\r\n" + name.lower().encode("latin-1") + b":")

    def find(self, needle: bytes) -> str | None:
        """Return the value of the header that starts with `needle`: CRLF, its name in lower case, a colon."""
        lowered = self._lowered
        if lowered is None:
            lowered = self._lowered = self.head.lower()
        at = lowered.find(needle)
        if at < 0:
            return None
        start = at + len(needle)
        return self.head[start : lowered.find(b"\r\n", start)].strip().decode("latin-1")

    def compact(self) -> None:
        """Drop what can be parsed again: a long ledger would otherwise keep the garbage collector busy."""
        self._document = _UNPARSED
        self._files = self._lowered = None

    @property
    def document(self) -> Any:
        """The body: parsed JSON, or the fields of a form; None where it is neither."""
        if self._document is _UNPARSED:
            return self.parse(self.find(_CONTENT_TYPE) or "")
        return self._document

    def parse(self, content_type: str) -> Any:
        """Parse the body as what `content_type` says, and keep it as the document."""
        if content_type[:10].lower() == "multipart/":
            self._document, self._files = parse_body(content_type, self.body)
        else:
            self._document = parse_json(self.body)
        return self._document

    @property
    def files(self) -> Mapping[str, UploadedFile]:
        """The files of a multipart request, by field name."""
        return {} if self.document is None or self._files is None else self._files

    @property
    def event(self) -> Any:
        """The event's name, under either of its two field names; None where the body has none."""
        return event_of(self.document)

    @property
    def payload(self) -> Any:
        """The payload; None where there was none."""
        document = self.document
        return document.get("payload") if isinstance(document, dict) else None

    @property
    def linked_account_id(self) -> str | None:
        """The header that names the account, as sent; `account` is what it came to."""
        return self.header("linked_account_id")

    @property
    def config_id(self) -> str | None:
        """The header that names the configuration."""
        return self.header("config_id")

    @property
    def instance_tag(self) -> str | None:
        """The header that labels the executions."""
        return self.header("instance_tag")

    @property
    def idempotency_key(self) -> str | None:
        """The key in the usual header."""
        return self.header("idempotency-key")

    def has(self, fields: Mapping[str, Any]) -> bool:
        """Whether the payload has all these fields, with these values."""
        if not fields:
            return True
        payload = self.payload
        return isinstance(payload, dict) and all(payload.get(name, _MISSING) == fields[name] for name in fields)


def event_of(document: Any) -> Any:
    """Return the event's name in a body, under either of its two field names; None where there is none."""
    if not isinstance(document, dict):
        return None
    name = document.get("event")
    return document.get("trigger") if name is None else name


@define
class Totals:
    """Counts since the ledger was made or cleared, whatever it still keeps.

    :ivar requests: how many arrived.
    :ivar fired: how many events fired.
    :ivar duplicates: how many were dropped as repeats.
    :ivar statuses: how often each status was answered.
    """

    requests: int = 0
    fired: int = 0
    duplicates: int = 0
    statuses: Counter[int] = field(factory=Counter)

    def add(self, other: Totals) -> None:
        """Add other counts to these."""
        self.requests += other.requests
        self.fired += other.fired
        self.duplicates += other.duplicates
        self.statuses += other.statuses


class Ledger:
    """The entries of a server, in order of arrival. May be read from any thread.

    :param keep: how many entries are kept, the latest ones; None for all. The counts go on regardless.
    :param clock: seconds, monotonic, for `wait_for`; bound early, so that no test which freezes time stops it.
    :ivar totals: what was counted, also of entries that are no longer kept.
    :ivar connections: how many were opened.
    :ivar dropped_idle: how many the server closed while they waited for a request; one on its way may have met that.
    """

    def __init__(self, keep: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._clock = clock
        self._arrived = threading.Condition()
        self._waiting = 0
        self.totals = Totals()
        self.connections = 0
        self.dropped_idle = 0

    def add(self, entry: Entry) -> None:
        """Record a request. The server calls this."""
        entry.compact()
        self._entries.append(entry)
        self.totals.requests += 1
        if self._waiting:
            with self._arrived:
                self._arrived.notify_all()

    def record_fired(self, entry: Entry) -> None:
        """Record that an event fired. The server calls this."""
        entry.fired = True
        self.totals.fired += 1

    def record_duplicate(self, entry: Entry) -> None:
        """Record that an event was dropped as a repeat. The server calls this."""
        entry.duplicate = True
        self.totals.duplicates += 1

    def record_status(self, entry: Entry, status: int) -> None:
        """Record what is answered. The server calls this before it writes: a client may look as soon as it has read."""
        entry.status = status
        self.totals.statuses[status] += 1

    @property
    def requests(self) -> int:
        """How many requests arrived."""
        return self.totals.requests

    @property
    def entries(self) -> list[Entry]:
        """All entries that are kept, in order of arrival."""
        return list(self._entries)

    @property
    def fired(self) -> list[Entry]:
        """The entries whose event really fired."""
        return [entry for entry in self.entries if entry.fired]

    @property
    def targets(self) -> list[str]:
        """The request targets, exactly as they were sent."""
        return [entry.target for entry in self.entries]

    def fired_count(self, **fields: Any) -> int:
        """Count the fired events whose payload has these fields; without any, all that fired."""
        return sum(entry.has(fields) for entry in self.fired)

    def count_fired_by(self, name: str) -> Counter[Any]:
        """Count the fired events by one field of their payload; None counts those without it."""
        payloads = (entry.payload for entry in self.fired)
        return Counter(payload.get(name) if isinstance(payload, dict) else None for payload in payloads)

    def faults(self) -> Counter[str]:
        """Count the faults that were played."""
        return Counter(entry.fault for entry in self.entries if entry.fault is not None)

    def statuses(self) -> Counter[int | None]:
        """Count the statuses that were answered; None counts the requests without an answer."""
        return Counter(entry.status for entry in self.entries)

    def max_per_second(self) -> int:
        """Return the largest number of requests that arrived within any one second."""
        recent: deque[float] = deque()
        most = 0
        for at in sorted(entry.received_at for entry in self.entries):
            recent.append(at)
            while recent[0] <= at - 1.0:
                recent.popleft()
            most = max(most, len(recent))
        return most

    def wait_for(self, condition: Callable[[Ledger], bool], timeout: float = 5.0) -> bool:
        """Block until the condition holds, at most `timeout` seconds. Returns whether it does."""
        end = self._clock() + timeout
        with self._arrived:
            self._waiting += 1
            try:
                while not condition(self):
                    left = end - self._clock()
                    if left <= 0:
                        return False
                    self._arrived.wait(min(left, 0.05))
            finally:
                self._waiting -= 1
        return True

    def clear(self) -> None:
        """Forget all entries, and set the counts to 0."""
        self._entries.clear()
        self.totals = Totals()
        self.connections = self.dropped_idle = 0
