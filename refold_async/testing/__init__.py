"""A Refold of one's own to test against: real sockets, chosen faults, and a ledger of what really fired."""

from ._answers import Reply
from ._bodies import UploadedFile
from ._dedupe import Dedupe
from ._events import EventDefinition, EventDefinitions
from ._exchange import Exchange
from ._faults import Fault, FaultPlan, SeededFaults
from ._latency import Latency
from ._processes import MockProcesses, Usage
from ._webhooks import WebhookDelivery, WebhookResult
from .dialect import Dialect
from .ledger import Entry, Ledger, Totals
from .runs import Run, RunPlan, Runs
from .server import MockRefold

__all__ = [
    "Dedupe",
    "Dialect",
    "Entry",
    "EventDefinition",
    "EventDefinitions",
    "Exchange",
    "Fault",
    "FaultPlan",
    "Latency",
    "Ledger",
    "MockProcesses",
    "MockRefold",
    "Reply",
    "Run",
    "RunPlan",
    "Runs",
    "SeededFaults",
    "Totals",
    "UploadedFile",
    "Usage",
    "WebhookDelivery",
    "WebhookResult",
]
