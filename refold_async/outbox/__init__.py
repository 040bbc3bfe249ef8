"""Events that survive the process that made them: put into a store, and sent from there once."""

from ..policies.fence import Event, State
from ._claim import Pace
from ._delivery import DeliveryClient, deliver
from ._events import EventHeld, RelayEvent, RelayHook, RelayPaused, RelayResumed
from ._outbox import SQLiteOutbox
from ._relay import Relay, RelayStore
from ._row import Change, Later, Row, check_trigger
from ._status import EventStatus, OutboxStats
from ._store import DeliveryStore

__all__ = [
    "Change",
    "DeliveryClient",
    "DeliveryStore",
    "Event",
    "EventHeld",
    "EventStatus",
    "Later",
    "OutboxStats",
    "Pace",
    "Relay",
    "RelayEvent",
    "RelayHook",
    "RelayPaused",
    "RelayResumed",
    "RelayStore",
    "Row",
    "SQLiteOutbox",
    "State",
    "check_trigger",
    "deliver",
]
