"""Events that survive the process that made them: put into a store, and sent from there once."""

from ..policies.fence import Event, State
from ._delivery import DeliveryClient, Pace, deliver
from ._outbox import SQLiteOutbox
from ._row import Change, Later, Row
from ._status import EventStatus, OutboxStats
from ._store import DeliveryStore

__all__ = [
    "Change",
    "DeliveryClient",
    "DeliveryStore",
    "Event",
    "EventStatus",
    "Later",
    "OutboxStats",
    "Pace",
    "Row",
    "SQLiteOutbox",
    "State",
    "deliver",
]
