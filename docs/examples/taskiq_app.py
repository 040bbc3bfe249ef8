"""A taskiq task that fires an event: `taskiq worker taskiq_app:broker`, or `python taskiq_app.py` to try it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from taskiq import AsyncBroker, Context, InMemoryBroker, TaskiqDepends, TaskiqEvents, TaskiqState

from refold_async import RefoldClient

broker: AsyncBroker = InMemoryBroker()  # in production the broker of your queue, such as taskiq_redis.ListQueueBroker


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_refold(state: TaskiqState) -> None:
    """Open one client for each worker process."""
    state.refold = RefoldClient()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_refold(state: TaskiqState) -> None:
    """Let the calls under way finish."""
    await state.refold.aclose()


async def get_refold(context: Annotated[Context, TaskiqDepends()]) -> RefoldClient:
    client: RefoldClient = context.state.refold
    return client


@broker.task
async def deal_created(customer: str, deal: dict[str, Any], refold: RefoldClient = TaskiqDepends(get_refold)) -> str:
    """Fire the event and wait for Refold's answer."""
    receipt = await refold.trigger("pipedrive", "Deal Created", deal, linked_account_id=customer)
    return receipt.message


async def main() -> None:
    await broker.startup()
    task = await deal_created.kiq("acct_1", {"deal_name": "Acme"})
    print((await task.wait_result(timeout=30)).return_value)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
