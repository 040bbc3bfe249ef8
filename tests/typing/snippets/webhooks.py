"""Webhooks: each event's type is known after `match`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, assert_never, assert_type

from refold_async.webhooks import ConnectionEvent, UnknownEvent, WebhookEvent, WorkflowEvent, sign, unwrap, verify


def receive(body: bytes, headers: Mapping[str, str], pairs: list[tuple[bytes, bytes]]) -> str:
    verify(body, headers.get("x-cobalt-signature"), ["tk_1", "tk_2"])
    assert_type(sign(body, "tk_1"), str)
    describe(unwrap(body, pairs, key=("tk_1", "tk_2"), max_bytes=None))
    return describe(unwrap(body, headers, key="tk_1"))


def describe(event: WebhookEvent) -> str:
    assert_type(event.dedupe_key, tuple[str, ...])
    assert_type(event.raw, Mapping[str, Any])
    match event:
        case ConnectionEvent():
            assert_type(event.created_at, dt.datetime | None)
            return event.slug or ""
        case WorkflowEvent(execution_id=execution_id):
            return execution_id or ""
        case UnknownEvent():
            return event.name
        case _:
            assert_never(event)
