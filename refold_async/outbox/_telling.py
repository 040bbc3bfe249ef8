"""Telling the log and the hooks what becomes of events. Hooks are code of the user's own: they change nothing."""

from __future__ import annotations

from collections.abc import Iterable

from .._core.usercode import call_logged
from .._logging import logger
from .._types.errors import OutboxError
from ._events import EventHeld, RelayEvent, RelayHook
from ._status import status_of
from ._store import DeliveryStore


def tell(hooks: Iterable[RelayHook], event: RelayEvent) -> None:
    """Call each hook."""
    for hook in hooks:
        call_logged(f"a hook of the outbox on {type(event).__name__}", hook, event)


async def tell_held(store: DeliveryStore, key: str, hooks: Iterable[RelayHook]) -> None:
    """Tell of an event that may have fired, if it is held."""
    try:
        row = await store.load(key)
    except OutboxError as error:
        logger.warning("the event %r may have fired, and is held; its row cannot be read: %s", key, error)
        return
    if row is None or not row.is_held:
        return
    status = status_of(row)
    logger.error(
        "the event %r (%s, %s) may have fired, and is held: look whether it did, and say so with resolve() or "
        "`refold-async outbox resolve`",
        key, status.slug, status.event,
    )  # fmt: skip
    tell(hooks, EventHeld(status))
