"""What `trigger_stream` costs over bare `trigger`, and what it holds in memory, over a transport that answers at once.

Run it with `python -m benchmarks.batch_cost`. The source is a generator, and the consumer is slow now and then.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from refold_async import Outcome, RefoldClient, Trigger

MAX_CONCURRENCY = 20
ANSWER = b'{"message":"Webhook Fired Success"}'


class MemoryTransport(httpx.AsyncBaseTransport):
    """Answers every request from memory."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(ANSWER))


def resident_bytes() -> int:
    """Give how much memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Rows:
    """A generator of triggers that counts how many were pulled."""

    def __init__(self, count: int) -> None:
        self.pulled = 0
        self._count = count

    def __iter__(self) -> Iterator[Trigger]:
        for n in range(self._count):
            self.pulled += 1
            yield Trigger("pipedrive", "Deal Created", {"deal_id": n, "deal_name": "Acme"})


async def bare(client: RefoldClient, count: int) -> float:
    """Give the CPU seconds of one bare `trigger`, with as many at once as the stream has."""
    rows = iter(Rows(count))

    async def work() -> None:
        for row in rows:
            await client.trigger(row.slug, row.event, row.payload)

    started = time.process_time()
    async with asyncio.TaskGroup() as workers:
        for _ in range(MAX_CONCURRENCY):
            workers.create_task(work())
    return (time.process_time() - started) / count


async def streamed(client: RefoldClient, count: int) -> float:
    """Give the CPU seconds of one item of a stream."""
    started = time.process_time()
    async with client.trigger_stream(Rows(count), max_concurrency=MAX_CONCURRENCY) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
    return (time.process_time() - started) / count


async def hold(client: RefoldClient, count: int) -> tuple[int, int]:
    """Stream them all with a consumer that is sometimes slow; give the growth in bytes and the most pulled ahead."""
    rows = Rows(count)
    ahead = taken = 0
    before = most = resident_bytes()

    def watch(outcome: Outcome) -> None:
        nonlocal ahead
        ahead = max(ahead, rows.pulled - taken)

    async with client.trigger_stream(rows, max_concurrency=MAX_CONCURRENCY, on_outcome=watch) as outcomes:
        async for outcome in outcomes:
            taken += 1
            if outcome.index % 10_000 == 0:
                await asyncio.sleep(0.05)
                most = max(most, resident_bytes())
    return max(most, resident_bytes()) - before, ahead


async def measure(count: int, rounds: int) -> None:
    """Let the contenders take turns, and print."""
    async with RefoldClient(
        api_key="tk_1", linked_account_id="a", rate_limit=None, transport=MemoryTransport()
    ) as client:
        await bare(client, 2000)
        await streamed(client, 2000)
        samples: dict[str, list[float]] = {"bare trigger": [], "trigger_stream": []}
        for _ in range(rounds):
            samples["bare trigger"].append(await bare(client, 5000))
            samples["trigger_stream"].append(await streamed(client, 5000))
        grown, ahead = await hold(client, count)
    medians = {name: statistics.median(values) * 1e6 for name, values in samples.items()}
    base, ours = medians.values()
    print(f"CPU per item: bare trigger {base:.0f} µs, trigger_stream {ours:.0f} µs: {ours - base:+.0f} µs")
    print(
        f"{count:,} items with a slow consumer: memory grew by {grown / 1e6:.1f} MB, "
        f"at most {ahead} items were pulled ahead (max_concurrency is {MAX_CONCURRENCY})"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.items, arguments.rounds))


if __name__ == "__main__":
    main()
