"""Receive Refold's webhooks: check the signature, then read the event. Needs no client and no network."""

from .._types.errors import WebhookPayloadError, WebhookSignatureError
from ._events import ConnectionEvent, UnknownEvent, WebhookEvent, WorkflowEvent
from ._receive import MAX_BYTES, unwrap
from ._signature import SIGNATURE_HEADER, sign, verify

__all__ = [
    "MAX_BYTES",
    "SIGNATURE_HEADER",
    "ConnectionEvent",
    "UnknownEvent",
    "WebhookEvent",
    "WebhookPayloadError",
    "WebhookSignatureError",
    "WorkflowEvent",
    "sign",
    "unwrap",
    "verify",
]
