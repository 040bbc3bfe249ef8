"""A Refold of one's own to test against: real sockets, chosen faults, and a ledger of what really fired."""

from ._dedupe import Dedupe
from ._faults import Fault, FaultPlan, SeededFaults
from .ledger import Entry, Ledger
from .server import MockRefold

__all__ = ["Dedupe", "Entry", "Fault", "FaultPlan", "Ledger", "MockRefold", "SeededFaults"]
