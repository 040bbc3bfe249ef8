"""What several tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from refold_async import Receipt, RefoldError, RetryPolicy
from refold_async.testing import Fault

QUICK = RetryPolicy(base_delay=0.001, throttled_base_delay=0.001, max_delay=0.002)
"""Retries that a test need not wait for."""

_IGNORED = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def abandons_sockets(test: Callable[..., Any]) -> Any:
    """Mark a test that leaves sockets to the garbage collector, of which Python warns.

    That is so where an event loop is closed before its client, and where a call is cancelled while it connects: then
    `anyio.connect_tcp` drops the stream it has just opened. What is left after a collection is looked for all the same.
    """
    return pytest.mark.usefixtures("collected")(_IGNORED(test))


def timeout_for(fault: Fault | None) -> httpx.Timeout:
    """Return a timeout that is short only where the fault makes the client wait for ever.

    What is answered has 20 seconds, so that a machine that is busy with other things changes no ending.
    """
    waits = fault is not None and fault.name.startswith("stall")
    return httpx.Timeout(20.0, read=0.5 if waits else 20.0)


async def ending(call: Awaitable[Receipt]) -> Receipt | RefoldError:
    """Return how a call ended: its receipt or its error. Whatever else it raises is raised."""
    try:
        return await call
    except RefoldError as error:
        return error
