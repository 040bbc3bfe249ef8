"""An AWS Lambda function that fires events. Its client stays open while the container is warm."""

from __future__ import annotations

from typing import Any

from refold_portal import get_refold


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Fire one event. Set the function's timeout above the client's `deadline`, which is 30 seconds unless told."""
    receipt = get_refold().trigger(
        "pipedrive", "Deal Created", event["deal"], linked_account_id=event["customer"], idempotency_key=event["id"]
    )
    return {"delivery": receipt.delivery.value, "attempts": receipt.attempts}
