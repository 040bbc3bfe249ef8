"""Events that survive the process that made them: put into a store, and sent from there once."""

from ._delivery import Pace, deliver
from ._row import Change, Later, Row
from ._store import DeliveryStore

__all__ = ["Change", "DeliveryStore", "Later", "Pace", "Row", "deliver"]
