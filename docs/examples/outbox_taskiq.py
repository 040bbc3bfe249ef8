"""Events of an outbox, sent by the workers of taskiq: `taskiq worker outbox_taskiq:broker`.

REDIS_URL is where its queue is, OUTBOX the file of the outbox. On more than one host take `PostgresStore` in its place.
Beside the workers run `taskiq scheduler outbox_taskiq:scheduler --update-interval 1`: it runs again what was not sent.
"""

from __future__ import annotations

import os

from taskiq import SmartRetryMiddleware, TaskiqEvents, TaskiqScheduler, TaskiqState
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from refold_async import OutboxWriteError, RefoldClient, RetryLater, Trigger
from refold_async.outbox import SQLiteOutbox

outbox = SQLiteOutbox(os.environ.get("OUTBOX", "outbox.db"))
later = ListRedisScheduleSource(os.environ["REDIS_URL"])

# Only what asks for it is run again, every five seconds while it asks. A run that comes too early sends nothing.
retries = SmartRetryMiddleware(
    default_retry_label=True,
    default_retry_count=1_000_000,
    default_delay=5,
    schedule_source=later,
    types_of_exceptions=[RetryLater, OutboxWriteError],
)
broker = RedisStreamBroker(os.environ["REDIS_URL"]).with_middlewares(retries)
scheduler = TaskiqScheduler(broker, [later, LabelScheduleSource(broker)])
clients: list[RefoldClient] = []


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_client(state: TaskiqState) -> None:
    clients.append(RefoldClient())


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_client(state: TaskiqState) -> None:
    await clients.pop().aclose()
    await outbox.aclose()


@broker.task
async def deliver(key: str) -> str:
    receipt = await outbox.deliver(key, clients[0])
    return receipt.message


# The process that put an event may die before its task is in the queue, and a queue may lose tasks. Beside that, a
# stream's worker looks for tasks that were cut off only when a new one has come: this one comes each minute.
@broker.task(schedule=[{"cron": "* * * * *"}])
async def sweep() -> None:
    for key in await outbox.due_keys():
        await deliver.kiq(key)


async def fire(trigger: Trigger, key: str) -> None:
    """Keep the event, and let a worker send it."""
    await deliver.kiq(await outbox.put(trigger, key=key))
