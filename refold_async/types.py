"""Names for the annotations of code that wraps the client. Nothing here does anything by itself."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from ._batch.options import Source
from ._core.credentials import Secret
from ._core.settings import BeforeSend, TimeoutTypes
from ._core.settings import Options as ClientOptions
from ._types.values import UNSET, JSONEncoder, Unset
from .hooks import Hook, HookEvent
from .policies.retry import RetryPolicy
from .policies.verdict import Classifier

__all__ = [
    "UNSET",
    "BeforeSend",
    "CallOptions",
    "Classifier",
    "ClientOptions",
    "Credential",
    "Hook",
    "HookEvent",
    "JSONEncoder",
    "TimeoutTypes",
    "TriggerSource",
    "Unset",
]


Credential = Secret
"""An API key or a session token, or what returns one, sync or async."""

TriggerSource = Source
"""Where the triggers of a batch come from: any iterable, sync or async."""


class CallOptions(TypedDict, total=False):
    """The keyword arguments of `RefoldClient.trigger`: `async def fire(**options: Unpack[CallOptions])`.

    :param linked_account_id: another end customer than the client's.
    :param config_id: that customer's configuration.
    :param instance_tag: a label for the execution in Refold.
    :param idempotency_key: the key by which Refold may drop repeats.
    :param first_sent_at: when the first attempt with this key was made.
    :param timeout: seconds per attempt.
    :param deadline: seconds for the whole call.
    :param retry: None to try once.
    :param before_send: is passed a `Sending` before each attempt.
    """

    linked_account_id: str | None
    config_id: str | None
    instance_tag: str | None
    idempotency_key: str | None
    first_sent_at: datetime | None
    timeout: TimeoutTypes | Unset
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset
    before_send: BeforeSend | None
