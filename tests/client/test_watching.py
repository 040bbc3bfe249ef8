"""What hooks and logs are told."""

from __future__ import annotations

import logging

import pytest

from refold_async import Delivery, InvalidTriggerError, RateLimit, RefoldClient, RefoldError
from refold_async.hooks import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    HookEvent,
    RateLimitPaused,
    RateLimitWaited,
    RetryScheduled,
)
from refold_async.testing import Fault, MockRefold
from tests.fakes.clock import slept_limiter
from tests.support import QUICK, ending

pytestmark = pytest.mark.asyncio


async def test_the_story_of_a_call_that_was_throttled(server: MockRefold, caplog: pytest.LogCaptureFixture) -> None:
    told: list[HookEvent] = []
    caplog.set_level(logging.DEBUG, logger="refold_async")
    server.next(Fault.throttle("0"), None)
    async with server.client(retry=QUICK, rate_limit=slept_limiter(RateLimit(50, 5)), hooks=[told.append]) as client:
        receipt = await client.trigger("pipedrive", "Deal Created", {"x": "private"})
    assert [type(event) for event in told] == [
        AttemptStarted, RateLimitPaused, AttemptFinished, RetryScheduled,
        AttemptStarted, RateLimitWaited, AttemptFinished, CallFinished,
    ]  # fmt: skip
    _, paused, failed, scheduled, again, _, finished, end = told
    assert isinstance(paused, RateLimitPaused)
    assert paused.retry_after is None, "zero is no hint"
    assert isinstance(failed, AttemptFinished)
    assert (failed.attempt, failed.delivery, failed.status_code, failed.error) == (1, Delivery.REJECTED, 429, None)
    assert isinstance(scheduled, RetryScheduled)
    assert (scheduled.attempt, scheduled.delivery) == (1, Delivery.REJECTED)
    assert scheduled.delay < 0.01
    assert isinstance(again, AttemptStarted)
    assert again.attempt == 2
    assert isinstance(finished, AttemptFinished)
    assert (finished.attempt, finished.delivery, finished.status_code) == (2, Delivery.ACCEPTED, 200)
    assert isinstance(end, CallFinished)
    assert (end.delivery, end.attempts, end.receipt, end.error) == (Delivery.ACCEPTED, 2, receipt, None)
    assert all(event.trigger is not None and event.trigger.slug == "pipedrive" for event in told)
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.INFO, logging.DEBUG, logging.INFO, logging.DEBUG]
    for secret in ("private", server.api_key, server.linked_account_id):
        assert secret not in caplog.text


async def test_giving_up_is_a_warning(server: MockRefold, caplog: pytest.LogCaptureFixture) -> None:
    server.next(Fault.answer(500))
    async with server.client() as client:
        with pytest.raises(RefoldError):
            await client.trigger("pipedrive", "Deal Created")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    words = record.getMessage().partition(": ")[2]
    assert words == "gave up after 1 attempt: ServerError (ambiguous)"
    assert "pipedrive" in record.getMessage()


async def test_a_wait_for_the_limiter_is_told(server: MockRefold) -> None:
    told: list[HookEvent] = []
    async with server.client(rate_limit=slept_limiter(RateLimit(50, 1)), hooks=[told.append]) as client:
        for _ in range(2):
            await client.trigger("pipedrive", "Deal Created")
    [waited] = [event for event in told if isinstance(event, RateLimitWaited)]
    assert 0 < waited.waited < 1


async def test_a_call_that_was_never_sent_has_an_end_too(server: MockRefold) -> None:
    told: list[HookEvent] = []
    async with server.client(hooks=[told.append]) as client:
        with pytest.raises(InvalidTriggerError) as caught:
            await client.trigger("..", "Deal Created")
    [end] = told
    assert isinstance(end, CallFinished)
    assert (end.delivery, end.attempts, end.error) == (Delivery.NOT_SENT, 0, caught.value)


@pytest.mark.parametrize("fault", [None, Fault.answer(500)])
async def test_a_hook_that_raises_changes_nothing(
    server: MockRefold, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[HookEvent] = []

    def fail(event: HookEvent) -> None:
        raise RuntimeError("a broken hook")

    server.next(fault)
    async with server.client(hooks=[fail, told.append]) as client:
        if fault is None:
            assert (await client.trigger("pipedrive", "Deal Created")).delivery is Delivery.ACCEPTED
        else:
            with pytest.raises(RefoldError) as caught:
                await client.trigger("pipedrive", "Deal Created")
            assert caught.value.delivery is Delivery.AMBIGUOUS
    assert len(told) == 3
    assert "a hook on AttemptStarted (test_a_hook_that_raises_changes_nothing.<locals>.fail) raised" in caplog.text


async def test_hooks_of_a_view_are_its_own(server: MockRefold) -> None:
    told: list[HookEvent] = []
    async with server.client() as client:
        await client.with_options(hooks=[told.append]).trigger("pipedrive", "Deal Created")
        count = len(told)
        await client.trigger("pipedrive", "Deal Created")
    assert count == len(told) == 3


async def test_unset_hooks_cost_no_import() -> None:
    client = RefoldClient(api_key="k", linked_account_id="a")
    assert not client._sender.settings.hooks
    await client.aclose()


@pytest.mark.asyncio
async def test_an_accepted_attempt_that_no_hook_watches_is_logged_at_debug(
    server: MockRefold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="refold_async")
    async with server.client() as client:
        await client.trigger("slack", "E")
    [line] = [record.getMessage() for record in caplog.records if "attempt 1" in record.getMessage()]
    assert "accepted" in line


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
@pytest.mark.parametrize("status", [200, 404])
async def test_a_hook_is_told_of_each_attempt_once_whatever_is_logged(
    server: MockRefold, caplog: pytest.LogCaptureFixture, level: int, status: int
) -> None:
    told: list[HookEvent] = []
    caplog.set_level(level, logger="refold_async")
    server.plan(lambda entry: Fault.answer(status) if status != 200 else None)
    async with server.client(hooks=[told.append]) as client:
        for _ in range(2):
            await ending(client.trigger("pipedrive", "Deal Created"))
    assert [type(event) for event in told] == [AttemptStarted, AttemptFinished, CallFinished] * 2
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert len(lines) == (2 if level == logging.DEBUG else 0)
