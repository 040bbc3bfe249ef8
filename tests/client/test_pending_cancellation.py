"""A cancellation that was asked for while the task ran, by a signal or by itself, and is thrown at its next await."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from refold_async import CallbackError, RateLimit, RefoldClient, Trigger
from refold_async.testing import MockRefold


async def slow_key() -> str:
    await asyncio.sleep(0)
    return "tk_mock_0000"


CALLS: dict[str, Callable[[RefoldClient], Awaitable[Any]]] = {
    "trigger": lambda client: client.trigger("slack", "E"),
    "trigger_many": lambda client: client.trigger_many([Trigger("slack", "E")]),
    "read": lambda client: client.executions.list().first(),
    "rerun": lambda client: client.executions.rerun("0" * 24),
}


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a key that is awaited": {"api_key": slow_key},
    "a limit": {"rate_limit": RateLimit(1, 1)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.asyncio
async def test_a_cancellation_that_was_pending_when_the_call_began_is_raised(
    server: MockRefold, call: str, options: str
) -> None:
    async with server.client(**OPTIONS[options]) as client:
        reached_the_end = False

        async def cancelled_by_itself() -> None:
            nonlocal reached_the_end
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await CALLS[call](client)
            reached_the_end = True

        task = asyncio.create_task(cancelled_by_itself())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not reached_the_end
        assert task.cancelled()
    assert server.ledger.fired == []


@pytest.mark.asyncio
async def test_a_cancellation_that_was_caught_before_the_call_does_not_hide_one_of_the_users_code(
    server: MockRefold,
) -> None:
    async def cancels_itself() -> str:
        raise asyncio.CancelledError

    async def caught_then_called() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        async with server.client(api_key=cancels_itself) as client:
            with pytest.raises(CallbackError):
                await client.trigger("slack", "E")

    await asyncio.create_task(caught_then_called())
