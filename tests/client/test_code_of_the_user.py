"""What a user's own code raises or returns amiss bends no ending: it is logged by name, and the default stands.

Callables that a call cannot do without (a credential, an encoder, a limiter) end it with `CallbackError` and a true
verdict.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import refold_async
from refold_async import Delivery, RefoldError, RetryPolicy, Trigger
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Fault, MockRefold
from tests.support import ending

pytestmark = [
    pytest.mark.asyncio,
    # That a coroutine was dropped is looked for in the log, where it is named.
    pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

ACCEPTED, REJECTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS


async def _write_to_a_database() -> None:
    """What a user meant to be awaited."""


def broken_coroutine(*args: object) -> Any:
    """Return a coroutine where nobody will await it."""
    return _write_to_a_database()


def raising(error: BaseException) -> Callable[..., Any]:
    def broken_callable(*args: object, **kwargs: object) -> Any:
        raise error

    return broken_callable


def returning(value: object) -> Callable[..., Any]:
    def broken_callable(*args: object) -> Any:
        return value

    return broken_callable


AMISS: dict[str, Callable[..., Any]] = {
    "KeyError": raising(KeyError("mine")),
    "CancelledError": raising(asyncio.CancelledError("mine")),
    "TimeoutError": raising(TimeoutError("mine")),
    "coroutine": broken_coroutine,
}
CLASSIFIERS = {
    **AMISS,
    "string": returning("rejected"),
    "number": returning(1),
    "true": returning(True),
}


def named(log: pytest.LogCaptureFixture, *names: str) -> bool:
    """Whether a warning or an error of the library names the callable."""
    texts = [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]
    return any(name in text for text in texts for name in names)


@pytest.mark.parametrize("amiss", CLASSIFIERS)
@pytest.mark.parametrize(
    ("status", "verdict"), [(200, ACCEPTED), (404, REJECTED), (500, AMBIGUOUS)], ids=["200", "404", "500"]
)
async def test_a_classifier_gone_wrong_is_logged_by_name_and_the_default_verdict_stands(
    server: MockRefold, amiss: str, status: int, verdict: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    classify = CLASSIFIERS[amiss]
    server.plan(lambda entry: Fault.answer(status) if status != 200 else None)
    async with server.client(rate_limit=None, retry=RetryPolicy(max_attempts=1, classify=classify)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert (got.delivery, got.attempts) == (verdict, 1)
        assert (await client.trigger_many([Trigger("slack", "E", {"id": 2})]))[0].delivery is verdict
    assert named(caplog, classify.__name__, "classify")


@pytest.mark.parametrize("amiss", AMISS)
@pytest.mark.parametrize("hooked", [False, True], ids=["alone", "with a hook"])
async def test_a_classifier_gone_wrong_does_not_replace_a_cancellation(
    server: MockRefold, amiss: str, hooked: bool
) -> None:
    """The status has come, the body has not, and the caller is cancelled meanwhile."""
    finished: list[HookEvent] = []
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def classify(status: int, headers: Mapping[str, str]) -> Any:
        loop.call_soon(seen.set)
        return AMISS[amiss](status, headers)

    def plan(entry: object) -> Fault:
        loop.call_soon_threadsafe(seen.set)
        return Fault.stall_body()

    server.plan(plan)
    policy = RetryPolicy(max_attempts=1, classify=classify)
    async with server.client(rate_limit=None, retry=policy, hooks=[finished.append] if hooked else []) as client:
        call = asyncio.ensure_future(client.trigger("slack", "E", {"id": 1}))
        await seen.wait()
        call.cancel("by the caller")
        with pytest.raises(asyncio.CancelledError, match="by the caller"):
            await call
    assert [type(event) for event in finished if isinstance(event, CallFinished)] == [CallFinished] * hooked


@pytest.mark.parametrize("amiss", AMISS)
async def test_a_hook_gone_wrong_is_logged_by_name_and_changes_nothing(
    server: MockRefold, amiss: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = AMISS[amiss]
    told: list[HookEvent] = []
    async with server.client(rate_limit=None, hooks=[hook, told.append]) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert got.delivery is ACCEPTED
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(2, 5)])
    assert [outcome.delivery for outcome in result] == [ACCEPTED] * 3
    assert sum(isinstance(event, CallFinished) for event in told) == 4, "the other hooks are told all the same"
    assert named(caplog, hook.__name__)
    assert server.ledger.fired_count(id=1) == 1


@pytest.mark.parametrize("amiss", AMISS)
async def test_an_on_outcome_gone_wrong_is_logged_by_name_and_the_batch_goes_on(
    server: MockRefold, amiss: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_outcome = AMISS[amiss]
    rows = [Trigger("slack", "E", {"id": n}) for n in range(5)]
    async with server.client(rate_limit=None) as client:
        result = await client.trigger_many(rows, on_outcome=on_outcome)
        assert [outcome.delivery for outcome in result] == [ACCEPTED] * 5
        async with client.trigger_stream(rows, on_outcome=on_outcome) as outcomes:
            assert [outcome.delivery async for outcome in outcomes] == [ACCEPTED] * 5
    assert named(caplog, on_outcome.__name__)
    assert server.ledger.count_fired_by("id") == dict.fromkeys(range(5), 2)


@pytest.mark.parametrize("amiss", ["KeyError", "CancelledError", "TimeoutError"])
async def test_a_credential_that_raises_ends_the_call_unsent(server: MockRefold, amiss: str) -> None:
    async with server.client(rate_limit=None, api_key=AMISS[amiss]) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(2, 5)])
    assert type(got).__name__ == "CallbackError"
    assert got.delivery is NOT_SENT
    assert [outcome.delivery for outcome in result] == [NOT_SENT] * 3
    assert server.ledger.requests == 0


@pytest.mark.parametrize("amiss", ["KeyError", "CancelledError", "TimeoutError"])
async def test_an_encoder_that_raises_ends_the_call_unsent(server: MockRefold, amiss: str) -> None:
    async with server.client(rate_limit=None, json_encoder=AMISS[amiss]) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(2, 5)])
    assert type(got).__name__ == "CallbackError"
    assert got.delivery is NOT_SENT
    assert [outcome.delivery for outcome in result] == [NOT_SENT] * 3
    assert server.ledger.requests == 0


class BrokenLimiter:
    """A limiter of a user's own that raises where it is told to."""

    def __init__(self, *, acquire: BaseException | None = None, throttled: Callable[..., Any] | None = None) -> None:
        self._acquire = acquire
        self._throttled = throttled

    async def acquire(self, *, deadline: float | None = None) -> float:
        if self._acquire is not None:
            raise self._acquire
        return 0.0

    def throttled(self, retry_after: float | None) -> Any:
        return None if self._throttled is None else self._throttled(retry_after)


@pytest.mark.parametrize(
    "error", [KeyError("mine"), asyncio.CancelledError("mine"), TimeoutError("mine")], ids=lambda e: type(e).__name__
)
async def test_a_limiter_that_raises_ends_the_call_unsent(server: MockRefold, error: BaseException) -> None:
    async with server.client(rate_limit=BrokenLimiter(acquire=error)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(2, 5)])
    assert type(got).__name__ == "CallbackError"
    assert got.delivery is NOT_SENT
    assert [outcome.delivery for outcome in result] == [NOT_SENT] * 3
    assert server.ledger.requests == 0


@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("amiss", AMISS)
async def test_a_limiter_whose_throttled_goes_wrong_leaks_no_connection(
    server: MockRefold, amiss: str, wire: Any
) -> None:
    server.plan(lambda entry: Fault.throttle("1"))
    limiter = BrokenLimiter(throttled=AMISS[amiss])
    async with server.client(rate_limit=limiter, retry=None, deadline=5, transport=wire) as client:
        for n in range(5):
            got = await ending(client.trigger("slack", "E", {"id": n}))
            assert isinstance(got, RefoldError)
            assert (got.delivery, got.attempts) == (REJECTED, 1)
        server.plan(None)
        assert (await client.trigger("slack", "E", {"id": 9})).delivery is ACCEPTED
    assert server.most_connections == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_raised_in_a_hook_passes(server: MockRefold, error: type[BaseException]) -> None:
    """Run in a task of its own, whose loop would stop at it."""
    raised: list[BaseException] = []

    def hook(event: HookEvent) -> None:
        if isinstance(event, CallFinished):
            raise error("mine")

    async with server.client(rate_limit=None, hooks=[hook]) as client:
        try:
            await client.trigger("slack", "E", {"id": 1})
        except (KeyboardInterrupt, SystemExit) as caught:
            raised.append(caught)
    assert [type(caught) for caught in raised] == [error]


async def test_a_callback_error_is_exported_and_names_the_callable(server: MockRefold) -> None:
    kind = refold_async.CallbackError
    assert issubclass(kind, RefoldError)

    def my_vault() -> str:
        raise KeyError("vault")

    async with server.client(rate_limit=None, api_key=my_vault) as client:
        got = await ending(client.trigger("slack", "E"))
    assert isinstance(got, kind)
    assert "KeyError" in str(got)
    assert isinstance(got.__cause__, KeyError)
