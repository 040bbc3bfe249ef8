"""How much of the rate relays keep while they have a backlog: one process, or several that share a limit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from refold_async import RateLimit, RefoldClient
from refold_async.limiters import limiter_from_url
from refold_async.outbox import SQLiteOutbox
from refold_async.testing import MockRefold

from .putting import pairs

LIMIT = RateLimit()
WARM_UP = 3.0
"""Seconds from the first event until events are counted: the burst, and the start of the processes, are over."""

RELAY = "import sys; from benchmarks.outbox.relaying import relay; relay(*sys.argv[1:])"


def relay(path: str, url: str, limit_url: str, backlog: str) -> None:
    """Put a backlog and relay it until this process is ended."""

    async def main() -> None:
        limiter = limiter_from_url(limit_url, name="outbox") if limit_url else LIMIT
        client = RefoldClient(api_key="tk_1", linked_account_id="acct_1", base_url=url, rate_limit=limiter)
        async with client, SQLiteOutbox(path, synchronous="normal") as outbox:
            await outbox.put_many(pairs(int(backlog)))
            print(json.dumps("ready"), flush=True)
            await anyio.to_thread.run_sync(sys.stdin.readline)
            async with outbox.relay(client):
                await anyio.sleep_forever()

    anyio.run(main)


def share(
    folder: Path, *, processes: int, limit_url: str, seconds: float, throttled: Callable[[int], object] = lambda _: None
) -> float:
    """Return what part of the rate was fired, by the ledger of a mock that enforces it.

    :param throttled: is told how many requests the mock refused.
    """
    folder.mkdir()
    backlog = int(LIMIT.rate * (seconds + WARM_UP) * 2)
    with MockRefold(rate_limit=LIMIT, api_key="tk_1", linked_account_id="acct_1", latency=0.05) as server:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", RELAY, str(folder / f"{n}.db"), server.url, limit_url, str(backlog)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for n in range(processes)
        ]
        try:
            for child in children:
                assert child.stdout is not None
                child.stdout.readline()
            for child in children:
                assert child.stdin is not None
                child.stdin.write(b"go\n")
                child.stdin.flush()
            server.ledger.wait_for(lambda ledger: ledger.totals.fired > 0, timeout=30)
            time.sleep(WARM_UP)
            began, before = time.monotonic(), server.ledger.totals.fired
            time.sleep(seconds)
            fired, took = server.ledger.totals.fired - before, time.monotonic() - began
        finally:
            for child in children:
                child.kill()
                child.communicate()
        all_fired, statuses = server.ledger.totals.fired, server.ledger.statuses()
    assert all_fired < backlog * processes, "there was no backlog"
    throttled(statuses.get(429, 0))
    return fired / took / LIMIT.rate
