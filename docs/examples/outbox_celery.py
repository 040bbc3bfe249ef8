"""Events of an outbox, sent by the workers of Celery: `celery -A outbox_celery worker -B`.

CELERY_BROKER_URL is the broker, OUTBOX the file of the outbox. On more than one host take `PostgresStore` in its place.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown
from celery.utils.log import get_task_logger
from refold_portal import close_refold, get_refold

from refold_async import OutboxWriteError, RefoldError, RetryLater, Trigger
from refold_async.outbox import SQLiteOutbox

logger = get_task_logger(__name__)
outbox = SQLiteOutbox(os.environ.get("OUTBOX", "outbox.db"))

DELIVER = "outbox_celery.deliver"
app = Celery("outbox_celery")
app.conf.update(
    task_acks_late=True,  # a task whose worker is killed runs again; `deliver` sees to it that nothing fires twice
    task_reject_on_worker_lost=True,
    beat_schedule={"sweep": {"task": "outbox_celery.sweep", "schedule": 60.0}},
)


@worker_process_shutdown.connect
def stop(**_: Any) -> None:
    """Let a worker's calls finish before it exits; it runs no `atexit` functions."""
    close_refold()


@app.task(bind=True, max_retries=None, name=DELIVER)
def deliver(self: Task[Any, Any], key: str) -> str:
    try:
        receipt = get_refold().run(lambda client: outbox.deliver(key, client))
    except RetryLater as later:
        raise self.retry(countdown=later.delay) from later
    except OutboxWriteError as error:
        raise self.retry(countdown=5) from error
    except RefoldError as error:  # held or rejected: the outbox knows, and no further run would change it
        logger.exception("the event %s was not accepted", key)
        return type(error).__name__
    return receipt.message


# The process that put an event may die before its task is in the queue, and a broker may lose tasks.
@app.task(name="outbox_celery.sweep")
def sweep() -> None:
    for key in get_refold().run(lambda client: outbox.due_keys()):
        app.send_task(DELIVER, [key])


def fire(trigger: Trigger, key: str) -> None:
    """Keep the event, and let a worker send it."""
    get_refold().run(lambda client: outbox.put(trigger, key=key))
    app.send_task(DELIVER, [key])
