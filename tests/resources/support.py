"""Clients of the mock whose reads are not paced, so that no test waits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from refold_async import RateLimit, RefoldClient, RetryPolicy
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import MockRefold

QUICK = RetryPolicy(base_delay=0, throttled_base_delay=0)
EXAMPLES: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "documented.json").read_text())
"""Refold's documented answers, by page."""


def unpace(client: RefoldClient) -> RefoldClient:
    """Let the reads of a client go as fast as they can, on the running loop."""
    client._sender.life.check()
    client._sender.life.lane.limiter = MemoryRateLimiter(RateLimit(1_000_000, 100_000))
    return client


@asynccontextmanager
async def mock(
    client_options: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[MockRefold, RefoldClient]]:
    """Run a mock and a client of it, neither of them paced."""
    async with MockRefold(**{"rate_limit": None, **options}) as server:
        async with server.client(**{"rate_limit": None, "retry": QUICK, **(client_options or {})}) as client:
            yield server, unpace(client)
