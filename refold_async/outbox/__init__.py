"""Events that survive the process that made them: put into a store, and sent from there once."""

from ..policies.fence import Event, State
from ._delivery import DeliveryClient, Pace, deliver
from ._row import Change, Later, Row
from ._store import DeliveryStore

__all__ = ["Change", "DeliveryClient", "DeliveryStore", "Event", "Later", "Pace", "Row", "State", "deliver"]
