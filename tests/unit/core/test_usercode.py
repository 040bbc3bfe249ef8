"""Code of the user's own: what it returns, raises and leaves behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from refold_async import RefoldError
from refold_async._core.usercode import call_async, call_logged, drop_awaitable, wait_for_result


async def sleeps() -> str:
    await asyncio.sleep(0)
    return "done"


class Awaitable:
    def __await__(self) -> Any:
        yield from sleeps().__await__()


@pytest.mark.parametrize("value", [None, 0, "text", [1], object])
def test_what_can_be_returned_is_returned_without_a_word(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert call_logged("classify", lambda given: given, value) == value
    assert caplog.records == []


@pytest.mark.parametrize("make", [sleeps, Awaitable])
def test_what_would_have_to_be_awaited_is_dropped_and_told_of_once(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []

    def hook() -> Any:
        made.append(make())
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call_logged("a hook", hook) is None
        if inspect.iscoroutine(made[0]):
            assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED
        made.clear()
        gc.collect()
    [record] = caplog.records
    assert "which is not awaited" in record.getMessage()


def test_a_coroutine_that_was_begun_is_left_to_its_task() -> None:
    async def main() -> str:
        coroutine = sleeps()
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        drop_awaitable("a hook", coroutine)
        drop_awaitable("a hook", task)
        drop_awaitable("a hook", Awaitable())
        return await task

    assert asyncio.run(main()) == "done"


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), RefoldError("mine"), MemoryError()])
def test_what_a_hook_raises_is_logged_and_changes_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def hook() -> None:
        raise error

    caplog.set_level(logging.WARNING)
    assert call_logged("a hook", hook) is None
    [record] = caplog.records
    kind = "a cancellation of its own" if isinstance(error, asyncio.CancelledError) else type(error).__name__
    assert kind in record.getMessage()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes(error: type[BaseException]) -> None:
    def hook() -> None:
        raise error

    with pytest.raises(error):
        call_logged("a hook", hook)
    with pytest.raises(error):
        asyncio.run(call_async("a hook", hook))


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("error", [None, ValueError("x"), asyncio.CancelledError(), RefoldError("mine")])
def test_what_ends_a_call_is_an_error_with_its_cause_and_a_cancellation_of_its_own_is_none(
    error: BaseException | None, is_async: bool
) -> None:
    def plain() -> str:
        if error is not None:
            raise error
        return "value"

    async def coroutine() -> str:
        await asyncio.sleep(0)
        return plain()

    async def main() -> Any:
        return await call_async("before_send", coroutine if is_async else plain)

    if error is None:
        assert asyncio.run(main()) == "value"
        return
    with pytest.raises(RefoldError) as caught:
        asyncio.run(main())
    if isinstance(error, RefoldError):
        assert caught.value is error
    else:
        assert "before_send" in str(caught.value)
        assert type(error).__name__ in str(caught.value) or "cancel" in str(caught.value)


@pytest.mark.parametrize("swallowed_before", [False, True])
def test_a_cancellation_of_the_caller_is_the_callers(swallowed_before: bool) -> None:
    """Also of a task that was cancelled before, and went on."""

    async def main() -> None:
        if swallowed_before:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(60)
        await wait_for_result("before_send", asyncio.sleep(60))

    async def outer() -> None:
        task = asyncio.ensure_future(main())
        for _ in range(1 + swallowed_before):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(outer())


def test_after_a_cancellation_that_was_swallowed_another_of_the_callables_own_is_still_its_own() -> None:
    async def own() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(60)
        with pytest.raises(RefoldError):
            await wait_for_result("before_send", own())

    async def outer() -> None:
        task = asyncio.ensure_future(main())
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(outer())
