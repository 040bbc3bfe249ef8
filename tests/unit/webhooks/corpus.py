"""Deliveries as Refold's docs show them, and what an attacker or a broken proxy may send."""

from __future__ import annotations

from typing import Any

from refold_async.webhooks import sign

KEY = "tk_live_0123456789"

CONNECTION: dict[str, Any] = {
    "linked_account_id": "acct_1",
    "org_id": "6500a1b2c3d4e5f6a7b8c9d0",
    "environment": "test",
    "type": "General",
    "event": "Connection Created",
    "slug": "pipedrive",
    "createdAt": "Tue, 07 Nov 2023 08:03:27 GMT",
}

WORKFLOW: dict[str, Any] = {
    "linked_account_id": "acct_1",
    "instance_id": "6a313eda6d5528bdcf71ebac",
    "workflow_id": "69f89fa2b195883025cfcb65",
    "config_id": "cfg_1",
    "event": "Workflow Errored",
    "workflow_name": "New deal",
    "status": "ERRORED",
    "environment": "production",
}

BODY = b'{"event":"Workflow Completed","instance_id":"6a313eda6d5528bdcf71ebac"}'
GENUINE = sign(BODY, KEY)

HOSTILE_SIGNATURES: dict[str, Any] = {
    "missing": None,
    "empty": "",
    "blank": "   ",
    "empty bytes": b"",
    "short": GENUINE[:-1],
    "short by a byte": GENUINE[:-2],
    "long": GENUINE + "0",
    "twice": GENUINE + GENUINE,
    "two in one header": f"{GENUINE}, {GENUINE}",
    "spaces within": GENUINE[:32] + "  " + GENUINE[34:],
    "spaces between": " ".join(GENUINE),
    "a space in the middle": GENUINE[:32] + " " + GENUINE[32:],
    "non-ASCII": "é" * 64,
    "latin-1 bytes": b"\xe9" * 64,
    "full-width digits": "\uff10" * 64,
    "arabic digits": "٣" * 64,
    "prefixed": "sha256=" + GENUINE,
    "0x": "0x" + GENUINE[2:],
    "not hexadecimal": "g" * 64,
    "another key": sign(BODY, "tk_other"),
    "another body": sign(BODY + b" ", KEY),
    "zeros": "0" * 64,
    "NUL": GENUINE[:-1] + "\0",
    "NUL behind": GENUINE + "\0",
    "lone surrogate": "\ud800" * 64,
    "huge": "a" * 1_000_000,
    "a number": 7,
    "a list": [GENUINE],
    "a dict": {"signature": GENUINE},
    "true": True,
}

HOSTILE_BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"event=Workflow+Completed",
    "cut off": b'{"event":"Workflow',
    "an array": b"[1]",
    "a string": b'"Workflow Completed"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"event":NaN}',
    "Infinity": b"-Infinity",
    "nested deeply": b"[" * 100_000,
    "nested deeply, objects": b'{"a":' * 100_000,
    "a number of 100,000 digits": b'{"a":' + b"9" * 100_000 + b"}",
    "not UTF-8": b'{"event":"\xff\xfe"}',
    "bytes at random": bytes(range(256)),
    "UTF-16 surrogates": b"\xff\xfe\x00\xd8\x00\xd8",
    "two documents": b"{}{}",
}
