"""Fire events from code that is not async: one client, in an event loop of its own thread.

In a script:

    with RefoldPortal() as refold:
        refold.trigger("pipedrive", "Deal Created", {"deal_name": "Acme"})

In a web app whose views are plain functions, or a notebook: `get_refold().trigger(…)`.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import start_blocking_portal

from refold_async import Receipt, RefoldClient

T = TypeVar("T")


class RefoldPortal:
    """A client that any thread may call. Each call blocks its thread until the event is accepted or has failed."""

    def __init__(self, **options: Any) -> None:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            client = self._portal.call(partial(RefoldClient, **options))
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()

    def trigger(self, slug: str, event: str, payload: Mapping[str, Any] | None = None, **options: Any) -> Receipt:
        """Fire one event; takes and raises what `RefoldClient.trigger` does."""
        return self._portal.call(partial(self._client.trigger, slug, event, payload, **options))

    def run(self, function: Callable[[RefoldClient], Awaitable[T]]) -> T:
        """Run async code with the client, such as `lambda client: outbox.deliver(key, client)`."""
        return self._portal.call(function, self._client)

    def close(self) -> None:
        """Let the calls under way finish, then stop the thread."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_portal: RefoldPortal | None = None
_lock = threading.Lock()
_inherited: list[RefoldPortal] = []  # never freed: a portal that is freed waits for its thread


def get_refold() -> RefoldPortal:
    """Return this process's portal, which opens at the first call and closes when the process exits."""
    global _portal
    with _lock:
        if _portal is None:
            _portal = RefoldPortal()
            atexit.register(close_refold)
        return _portal


def close_refold() -> None:
    """Close this process's portal, where something else than the end of the process is the time for it."""
    global _portal
    with _lock:
        portal, _portal = _portal, None
    if portal is not None:
        portal.close()


def _forget() -> None:
    """Let a forked child open its own: the parent's thread does not exist there."""
    global _portal, _lock
    if _portal is not None:
        _inherited.append(_portal)
    _portal, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
