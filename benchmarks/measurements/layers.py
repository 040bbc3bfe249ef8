"""What the limiter and retry layers cost by themselves: the same calls over a transport in memory, with and without."""

from __future__ import annotations

import time
from typing import Any

import httpx

from refold_async import RateLimit
from refold_async.transports import RateLimitTransport, RetryTransport

from ..contenders import load
from ..memory import MemoryTransport
from ..process import Worker
from .cost import in_loop

NEVER_WAITS = RateLimit(rate=1e6, burst=1_000_000)
CALLS = 3000

_URL = httpx.URL("http://127.0.0.1/api/v2/public/event/pipedrive")
_HEADERS = httpx.Headers({"content-type": "application/json", "x-api-key": "tk_1", "linked_account_id": "acct_1"})
_BODY = b'{"event":"Deal Created","payload":{"deal_id":4711}}'


def turn(key: str, *, calls: int) -> dict[str, Any]:
    """Give the CPU of one call, in microseconds, without the layers and with them."""
    memory = MemoryTransport()
    layered = RetryTransport(RateLimitTransport(memory, limiter=NEVER_WAITS))

    async def both() -> dict[str, Any]:
        return {"without_us": await _cpu_us(memory, calls), "with_us": await _cpu_us(layered, calls)}

    return in_loop(load(key), both())


async def _cpu_us(transport: httpx.AsyncBaseTransport, calls: int) -> float:
    for measured in (calls // 10, calls):
        started = time.process_time()
        for _ in range(measured):
            request = httpx.Request("POST", _URL, headers=_HEADERS, stream=httpx.ByteStream(_BODY))
            response = await transport.handle_async_request(request)
            await response.aread()
        seconds = time.process_time() - started
    return seconds / calls * 1e6


def run(loops: dict[str, str], *, rounds: int) -> list[dict[str, Any]]:
    """Measure on each loop, in a fresh process."""
    rows = []
    for loop, suffix in loops.items():
        with Worker("layers", "refold_async" + suffix) as worker:
            rows += [
                {"loop": loop, "round": number, **worker.turn(limit=60.0, calls=CALLS)} for number in range(rounds)
            ]
    return rows
