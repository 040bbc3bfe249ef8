"""What a caller can pass in: a classifier, an encoder, a limiter, a transport of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from refold_async import Delivery, RefoldClient, RetryPolicy


def classify(status: int, headers: Mapping[str, str]) -> Delivery | None:
    return Delivery.AMBIGUOUS if status == 409 or "x-proxy" in headers else None


def encode(value: object) -> bytes:
    return json.dumps(value, default=str).encode()


class Limiter:
    async def acquire(self, *, deadline: float | None = None) -> float:
        return 0.0

    def throttled(self, retry_after: float | None) -> None:
        print(retry_after)


def clients() -> list[RefoldClient]:
    return [
        RefoldClient(retry=RetryPolicy(classify=classify)),
        RefoldClient(retry=RetryPolicy(classify=lambda status, headers: None)),
        RefoldClient(json_encoder=encode),
        RefoldClient(transport=httpx.MockTransport(lambda request: httpx.Response(200))),
        RefoldClient(transport="httpx"),
    ]
