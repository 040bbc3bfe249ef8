"""A hundred waits beside a stream of triggers, in virtual time: they share a slow pace, and triggers keep theirs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import httpx
import pytest

from refold_async import ExecutionDetail, RateLimit, RefoldClient, WaitTimeoutError
from refold_async.limiters import MemoryRateLimiter
from tests.fakes.clock import run

WAITS = 100
TRIGGERS = 1200
RUN_SECONDS = 90.0


class Refold(httpx.AsyncBaseTransport):
    """Lists each execution as running, and after 90 seconds as completed; fires what is fired.

    :ivar reads: when each read came.
    :ivar fired: when each trigger came.
    """

    def __init__(self, *, ends: bool = True) -> None:
        self.reads: list[float] = []
        self.fired: list[float] = []
        self.ends = ends
        self.began: float | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        now = anyio.current_time()
        self.began = now if self.began is None else self.began
        if request.method == "POST":
            self.fired.append(now)
            return httpx.Response(200, content=b'{"message":"Webhook Fired Success"}')
        self.reads.append(now)
        has_ended = self.ends and now >= self.began + RUN_SECONDS
        status = "COMPLETED" if has_ended else "RUNNING"
        listed = request.url.params.get("execution_id")
        document: Any = {"_id": listed or request.url.path.rpartition("/")[2], "status": status}
        return httpx.Response(200, content=json.dumps({"docs": [document]} if listed else document))


def most_in(moments: list[float], seconds: float) -> int:
    """Return the most of these moments that any stretch so long holds, its end left out."""
    moments = sorted(moments)
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds - 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


def client_over(refold: Refold) -> RefoldClient:
    """A client with its own limits, by the loop's clock."""
    limiter = MemoryRateLimiter(RateLimit(20, 5), clock=anyio.current_time)
    client = RefoldClient(
        api_key="k", linked_account_id="a", transport=refold, rate_limit=limiter, retry=None, deadline=None
    )
    client._sender.life.lane.limiter._clock = anyio.current_time
    return client


def test_a_hundred_waits_share_ten_reads_a_second_and_triggers_keep_their_pace() -> None:
    refold = Refold()
    found: list[ExecutionDetail] = []

    async def main() -> None:
        async with client_over(refold) as client, anyio.create_task_group() as tasks:

            async def wait(number: int) -> None:
                found.append(await client.executions.wait(f"e{number}", timeout=600))

            async def fire() -> None:
                for _ in range(TRIGGERS // 20):
                    await client.trigger("slack", "E")

            for number in range(WAITS):
                tasks.start_soon(wait, number)
            for _ in range(20):
                tasks.start_soon(fire)

    run("asyncio", main)
    assert sorted(each.id for each in found) == sorted(f"e{number}" for number in range(WAITS))
    assert all(each.ok for each in found)
    assert most_in(refold.reads, 1.0) <= 10
    assert most_in(refold.fired, 1.0) <= 20
    took = max(refold.fired) - min(refold.fired)
    assert (TRIGGERS - 1) / took >= 0.97 * 20, "triggers lost their pace to the waits"
    assert len(refold.reads) >= 0.8 * 10 * RUN_SECONDS, "the reads had something to share"


@pytest.mark.parametrize("after", [0.0, 0.35, 3.0, 30.0])
def test_waits_that_are_cancelled_leave_no_task_and_hold_up_nobody(after: float) -> None:
    refold = Refold(ends=False)

    async def main() -> None:
        before = asyncio.all_tasks()
        async with client_over(refold) as client:
            waits = [
                asyncio.ensure_future(client.executions.wait(f"e{number}", timeout=None)) for number in range(WAITS)
            ]
            await asyncio.sleep(after)
            for wait in waits:
                wait.cancel()
            ended = await asyncio.gather(*waits, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended)
            assert asyncio.all_tasks() == before
            count, now = len(refold.reads), anyio.current_time()
            await client.executions.get("other")
            assert len(refold.reads) == count + 1
            assert anyio.current_time() - now <= 1.0, "a slot that nobody waits for was waited for"

    run("asyncio", main)


def test_waits_end_in_time_however_many_share_the_pace() -> None:
    refold = Refold(ends=False)
    late: list[float] = []

    async def main() -> None:
        async with client_over(refold) as client, anyio.create_task_group() as tasks:

            async def wait(number: int) -> None:
                began = anyio.current_time()
                with pytest.raises(WaitTimeoutError):
                    await client.executions.wait(f"e{number}", timeout=20)
                late.append(anyio.current_time() - began - 20)

            for number in range(WAITS):
                tasks.start_soon(wait, number)

    run("asyncio", main)
    assert len(late) == WAITS
    assert max(late) <= 0.1
