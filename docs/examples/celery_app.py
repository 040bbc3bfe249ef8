"""A Celery task that fires an event: `celery -A celery_app worker`. The broker is in CELERY_BROKER_URL."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown
from refold_portal import close_refold, get_refold

from refold_async import DeadlineExceededError, RateLimitedError, RefoldConnectionError, RefoldError, RefoldTimeoutError

TRANSIENT = (DeadlineExceededError, RateLimitedError, RefoldConnectionError, RefoldTimeoutError)

app = Celery("celery_app")


@worker_process_shutdown.connect
def stop(**_: Any) -> None:
    """Let a worker's calls finish before it exits; it runs no `atexit` functions."""
    close_refold()


# Celery acknowledges a task before it runs, so a worker that is killed loses it. With `acks_late=True` the task runs
# again: then the event may fire twice, unless Refold drops repeats and the client declares it with `idempotency=`.
@app.task(bind=True, max_retries=5)
def deal_created(self: Task[Any, Any], event_id: str, customer: str, deal: dict[str, Any]) -> str:
    """Fire the event; try again later only where that cannot fire it twice."""
    try:
        receipt = get_refold().trigger(
            "pipedrive", "Deal Created", deal, linked_account_id=customer, idempotency_key=event_id
        )
    except RefoldError as error:
        if isinstance(error, TRANSIENT) and error.safe_to_resend:
            raise self.retry(exc=error, countdown=error.retry_after or 30) from error
        raise
    return receipt.message
