"""Names for the annotations of code that wraps the client. Nothing here does anything by itself."""

from __future__ import annotations

from ._batch.options import Source
from ._core.credentials import Secret
from ._core.settings import BeforeSend, CallOptions, RequestOptions, TimeoutTypes, WaitOptions
from ._core.settings import Options as ClientOptions
from ._resources.events import Events
from ._resources.organisation import OrganisationOptions
from ._resources.tokens import SessionTokens
from ._types.values import UNSET, FileTypes, JSONEncoder, Unset
from .hooks import Hook, HookEvent
from .policies.verdict import Classifier

__all__ = [
    "UNSET",
    "BeforeSend",
    "CallOptions",
    "Classifier",
    "ClientOptions",
    "Credential",
    "Events",
    "FileTypes",
    "Hook",
    "HookEvent",
    "JSONEncoder",
    "OrganisationOptions",
    "RequestOptions",
    "SessionTokens",
    "TimeoutTypes",
    "TriggerSource",
    "Unset",
    "WaitOptions",
]


Credential = Secret
"""An API key or a session token, or what returns one, sync or async."""

TriggerSource = Source
"""Where the triggers of a batch come from: any iterable, sync or async."""
