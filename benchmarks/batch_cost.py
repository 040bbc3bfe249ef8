"""What a batch costs over bare `trigger`, and what a stream holds in memory, over a transport that answers at once.

Run it with `python -m benchmarks.batch_cost`. The source is a generator, and the consumer of the long run is slow now
and then. It fails when the stream costs more, holds more or pulls further ahead than is promised.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx

from refold_async import Outcome, RefoldClient, Trigger

MAX_CONCURRENCY = 20
ANSWER = b'{"message":"Webhook Fired Success"}'
PROMISED_MICROSECONDS = 25.0
PROMISED_MEGABYTES = 10.0


class MemoryTransport(httpx.AsyncBaseTransport):
    """Answers every request from memory."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(ANSWER))


def resident_bytes() -> int:
    """Give how much memory this process has now; where the system does not say, the most it has had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Rows:
    """A generator of triggers that counts how many were pulled."""

    def __init__(self, count: int) -> None:
        self.pulled = 0
        self._count = count

    def __iter__(self) -> Iterator[Trigger]:
        for n in range(self._count):
            self.pulled += 1
            yield Trigger("pipedrive", "Deal Created", {"deal_id": n, "deal_name": "Acme"})

    async def asynchronous(self) -> AsyncIterator[Trigger]:
        """Give the same as an async generator."""
        for row in self:
            yield row


async def bare(client: RefoldClient, count: int) -> None:
    """Fire them with plain `trigger`, as many at once as a batch has."""
    rows = iter(Rows(count))

    async def work() -> None:
        for row in rows:
            await client.trigger(row.slug, row.event, row.payload)

    async with asyncio.TaskGroup() as workers:
        for _ in range(MAX_CONCURRENCY):
            workers.create_task(work())


async def streamed(client: RefoldClient, count: int) -> None:
    """Fire them through a stream."""
    async with client.trigger_stream(Rows(count), max_concurrency=MAX_CONCURRENCY) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok


async def streamed_from_async(client: RefoldClient, count: int) -> None:
    """Likewise, from an async generator."""
    rows = Rows(count).asynchronous()
    async with client.trigger_stream(rows, max_concurrency=MAX_CONCURRENCY) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok


async def collected(client: RefoldClient, count: int) -> None:
    """Fire them and keep all outcomes."""
    result = await client.trigger_many(Rows(count), max_concurrency=MAX_CONCURRENCY)
    assert len(result.accepted) == count


CONTENDERS: dict[str, Callable[[RefoldClient, int], Awaitable[None]]] = {
    "bare trigger": bare,
    "trigger_stream": streamed,
    "trigger_stream, async source": streamed_from_async,
    "trigger_many": collected,
}


async def hold(client: RefoldClient, count: int) -> tuple[float, int]:
    """Stream them all with a consumer that is sometimes slow; give the growth in MB and the most pulled ahead."""
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
            if outcome.index % 1000 == 0:
                most = max(most, resident_bytes())
    assert taken == count
    return (max(most, resident_bytes()) - before) / 1e6, ahead


async def measure(count: int, rounds: int) -> bool:
    """Let the contenders take turns, print, and say whether all is as promised."""
    samples: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    async with RefoldClient(
        api_key="tk_1", linked_account_id="a", rate_limit=None, transport=MemoryTransport()
    ) as client:
        await streamed(client, 2000)
        grown, ahead = await hold(client, count)  # first, while no memory of the others is free to be used again
        for send in CONTENDERS.values():
            await send(client, 2000)
        for _ in range(rounds):
            for name, send in CONTENDERS.items():
                started = time.process_time()
                await send(client, 5000)
                samples[name].append((time.process_time() - started) / 5000 * 1e6)
    base = statistics.median(samples["bare trigger"])
    print(f"CPU per item, median of {rounds} rounds of 5000, {MAX_CONCURRENCY} at once, answered from memory:")
    for name, values in samples.items():
        print(f"  {name:<30}{statistics.median(values):6.0f} µs   {statistics.median(values) - base:+5.1f} µs")
    print(
        f"{count:,} items with a slow consumer: memory grew by {grown:.1f} MB, "
        f"at most {ahead} items were pulled ahead (max_concurrency is {MAX_CONCURRENCY})"
    )
    over = statistics.median(samples["trigger_stream"]) - base
    return over <= PROMISED_MICROSECONDS and grown <= PROMISED_MEGABYTES and ahead <= MAX_CONCURRENCY


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if not asyncio.run(measure(arguments.items, arguments.rounds)):
        sys.exit("that is more than is promised")


if __name__ == "__main__":
    main()
