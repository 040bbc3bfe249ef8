"""What a `trigger` costs beside httpx's own `post` and `.json()`, on the stock wire, at 10 concurrent.

Run it with `python -m benchmarks.trigger_cost`. Both speak to the same mock, which runs in a process of its own. The
contenders take turns; the medians of their CPU time per request are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx

from refold_async import RefoldClient

from ._server import API_KEY, mock_server

PAYLOAD = {"deal_id": 4711, "deal_name": "Acme", "amount": 12_500.5, "stage": "won", "tags": ["new", "emea"]}
CONCURRENT = 10


async def round_of(call: Callable[[], Awaitable[object]], requests: int) -> float:
    """Give the CPU seconds that each of so many requests cost."""
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            await call()

    started = time.process_time()
    async with asyncio.TaskGroup() as workers:
        for _ in range(CONCURRENT):
            workers.create_task(work())
    return (time.process_time() - started) / requests


async def compare(url: str, requests: int, rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns; give their samples."""
    headers = {"x-api-key": API_KEY, "linked_account_id": "acct_1"}
    address = f"{url}/api/v2/public/event/pipedrive"
    async with (
        httpx.AsyncClient(headers=headers) as session,
        RefoldClient(api_key=API_KEY, linked_account_id="acct_1", base_url=url, rate_limit=None) as client,
    ):

        async def post() -> object:
            response = await session.post(address, json={"event": "Deal Created", "payload": PAYLOAD})
            return response.json()

        async def trigger() -> object:
            return await client.trigger("pipedrive", "Deal Created", PAYLOAD)

        contenders = {"httpx post + json": post, "refold_async trigger": trigger}
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        for call in contenders.values():
            await round_of(call, requests // 4)
        for _ in range(rounds):
            for name, call in contenders.items():
                samples[name].append(await round_of(call, requests))
    return samples


def main() -> None:
    """Run it and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with mock_server() as (url, _):
        samples = asyncio.run(compare(url, arguments.requests, arguments.rounds))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    base = medians["httpx post + json"]
    print(f"CPU per request at {CONCURRENT} concurrent, median of {arguments.rounds} rounds of {arguments.requests}:")
    for name, seconds in medians.items():
        print(f"  {name:<22}{seconds * 1e6:8.0f} µs   {seconds / base:5.2f} of httpx")


if __name__ == "__main__":
    main()
