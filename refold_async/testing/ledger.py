"""What really happened: each request that arrived, and whether its event fired."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from attrs import define, field


@define(eq=False)
class Entry:
    """One request.

    :ivar received_at: `time.monotonic()` when it had arrived in full.
    :ivar headers: as they came, in order.
    :ivar fired: whether the event started its workflows.
    :ivar duplicate: whether it was dropped as a repeat.
    :ivar status: what was answered; None where nothing was.
    :ivar fault: the name of the fault that was played, if one was.
    """

    received_at: float
    connection: int
    method: str
    path: str
    slug: str
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    fired: bool = False
    duplicate: bool = False
    status: int | None = None
    fault: str | None = None
    _document: Any = None

    def header(self, name: str) -> str | None:
        """Give a header's value, whatever the case of its name."""
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), None)

    @property
    def document(self) -> Any:
        """The body, parsed; None where it is not JSON."""
        if self._document is None:
            try:
                self._document = json.loads(self.body)
            except ValueError:
                return None
        return self._document

    @property
    def event(self) -> str | None:
        """The event's name."""
        return self.document.get("event") if isinstance(self.document, dict) else None

    @property
    def payload(self) -> Any:
        """The payload, None where there was none."""
        return self.document.get("payload") if isinstance(self.document, dict) else None

    @property
    def linked_account_id(self) -> str | None:
        """For whom it was."""
        return self.header("linked_account_id")

    @property
    def config_id(self) -> str | None:
        """For which configuration it was."""
        return self.header("config_id")

    @property
    def idempotency_key(self) -> str | None:
        """The key in the usual header."""
        return self.header("idempotency-key")


class Ledger:
    """The entries of a server, in order of arrival. May be read from any thread.

    :param keep: how many entries are kept, the latest ones; None for all. The counts go on regardless.
    :ivar requests: how many arrived.
    :ivar connections: how many were opened.
    :ivar dropped_idle: how many the server closed while they waited for a request, which one may have met on its way.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._arrived = threading.Condition()
        self._watched = False
        self.requests = 0
        self.connections = 0
        self.dropped_idle = 0

    def add(self, entry: Entry) -> None:
        """Note a request. The server calls this."""
        self._entries.append(entry)
        self.requests += 1
        if self._watched:
            with self._arrived:
                self._arrived.notify_all()

    @property
    def entries(self) -> list[Entry]:
        """All that is kept, in order of arrival."""
        return list(self._entries)

    @property
    def fired(self) -> list[Entry]:
        """Those whose event really fired."""
        return [entry for entry in self.entries if entry.fired]

    def fired_count(self, **fields: Any) -> int:
        """Count the fired events whose payload has these fields."""
        return sum(
            isinstance(entry.payload, dict) and all(entry.payload.get(k) == v for k, v in fields.items())
            for entry in self.fired
        )

    def count_fired_by(self, name: str) -> Counter[Any]:
        """Count the fired events by one field of their payload."""
        return Counter(entry.payload.get(name) for entry in self.fired if isinstance(entry.payload, dict))

    def faults(self) -> Counter[str]:
        """Count the faults that were played."""
        return Counter(entry.fault for entry in self.entries if entry.fault is not None)

    def statuses(self) -> Counter[int | None]:
        """Count the statuses that were answered; None is for no answer."""
        return Counter(entry.status for entry in self.entries)

    def max_per_second(self) -> int:
        """Give the most requests that arrived within any one second."""
        recent: deque[float] = deque()
        most = 0
        for at in sorted(entry.received_at for entry in self.entries):
            recent.append(at)
            while recent[0] <= at - 1.0:
                recent.popleft()
            most = max(most, len(recent))
        return most

    def wait_for(self, condition: Callable[[Ledger], bool], timeout: float = 5.0) -> bool:
        """Block until the condition holds, at most `timeout` seconds; give whether it does."""
        end = time.monotonic() + timeout
        self._watched = True
        with self._arrived:
            while not condition(self):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._arrived.wait(min(left, 0.05))
        return True

    def clear(self) -> None:
        """Forget all entries, and start counting anew."""
        self._entries.clear()
        self.requests = self.connections = self.dropped_idle = 0
