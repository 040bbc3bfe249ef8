"""Code of the user's own that raises, returns and swallows what nobody would, at every place where it is called.

Whatever it does, a call ends with a receipt or an error whose verdict the server's ledger confirms, and leaves no slot
and no connection behind. Only what is to end the program passes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from refold_async import (
    CallbackError,
    ConfigurationError,
    Delivery,
    RefoldError,
    RetryPolicy,
    Trigger,
)
from refold_async.testing import Fault, MockRefold
from tests.fakes.hostile import ERRORS, VALUES, HostileLimiter, NotEvenAClass, OddError, hostile, made, raises
from tests.fakes.transport import client_over, fired
from tests.support import ending

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

ACCEPTED, REJECTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS


@pytest.mark.parametrize("name", [*ERRORS, *VALUES])
@pytest.mark.parametrize("place", ["hooks", "classify", "on_outcome"])
async def test_code_that_only_watches_changes_no_ending(server: MockRefold, place: str, name: str) -> None:
    mine = hostile(name)
    options: dict[str, Any] = {"rate_limit": None, "retry": RetryPolicy(max_attempts=1)}
    if place == "hooks":
        options["hooks"] = [mine]
    if place == "classify":
        options["retry"] = RetryPolicy(max_attempts=1, classify=mine)
    server.plan(lambda entry: Fault.answer(404) if entry.payload["id"] % 2 else None)
    rows = [Trigger("slack", "E", {"id": n}) for n in range(4)]
    async with server.client(**options) as client:
        ended = [await ending(client.trigger("slack", "E", row.payload)) for row in rows]
        assert [each.delivery for each in ended] == [ACCEPTED, REJECTED] * 2
        result = await client.trigger_many(rows, on_outcome=mine if place == "on_outcome" else None)
        assert [outcome.delivery for outcome in result] == [ACCEPTED, REJECTED] * 2
        assert client._sender.slots is not None
        assert client._sender.slots.available == 50


REFUSES = [
    *ERRORS,
    *(name for name in VALUES if name not in ("generator", "async generator", "no class", "bytes", "nan", "the type")),
]


@pytest.mark.parametrize("name", REFUSES)
@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_whatever_before_send_does_amiss_ends_the_call_unsent(server: MockRefold, wire: Any, name: str) -> None:
    async with server.client(rate_limit=None, before_send=hostile(name), transport=wire) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(3)])
        assert type(got) is CallbackError
        assert got.__cause__ is not None
        assert [got.delivery, *(outcome.delivery for outcome in result)] == [NOT_SENT] * 4
        assert client._sender.slots is not None
        assert client._sender.slots.available == 50
    assert server.ledger.requests == 0


@pytest.mark.parametrize("name", [*ERRORS, *VALUES])
@pytest.mark.parametrize("place", ["api_key", "json_encoder"])
async def test_whatever_a_credential_or_an_encoder_does_amiss_ends_the_call_unsent(
    server: MockRefold, place: str, name: str
) -> None:
    mine = hostile(name)
    if place == "json_encoder" and name == "bytes":
        pytest.skip("bytes are what it is to return; whether they are JSON is its own affair")
    async with server.client(**{"rate_limit": None, place: mine}) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert isinstance(got, CallbackError | ConfigurationError)
        assert got.delivery is NOT_SENT
        assert client._sender.slots is not None
        assert client._sender.slots.available == 50
    assert server.ledger.requests == 0


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("part", ["try_take", "try_reserve", "reserve", "throttled", "is_fresh", "sent", "dropped"])
async def test_a_limiter_that_raises_anywhere_leaks_nothing_and_lies_about_nothing(
    server: MockRefold, part: str, wire: Any, name: str
) -> None:
    server.plan(lambda entry: Fault.throttle("1") if entry.payload["id"] == 2 else None)
    limiter: Any = HostileLimiter(part, hostile(name))
    refuse = False

    def before_send(sending: object) -> None:
        if refuse:
            raise KeyError("mine")

    async with server.client(rate_limit=limiter, retry=None, transport=wire, before_send=before_send) as client:
        for n in (1, 2, 3):
            got = await ending(client.trigger("slack", "E", {"id": n}))
            fired_now = server.ledger.fired_count(id=n)
            assert got.delivery is (ACCEPTED if fired_now else got.delivery)
            if not fired_now:
                assert got.delivery in (REJECTED, NOT_SENT)
        refuse = True
        got = await ending(client.trigger("slack", "E", {"id": 4}))
        assert got.delivery is NOT_SENT
        assert client._sender.slots is not None
        assert client._sender.slots.available == 50
    assert server.most_connections <= 1


async def test_a_grant_that_is_never_fresh_lets_the_deadline_pass(server: MockRefold) -> None:
    limiter: Any = HostileLimiter("is_fresh", lambda: False)
    async with server.client(rate_limit=limiter, deadline=0.05) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT
    assert server.ledger.requests == 0


# Errors of the library's own, raised by the user's code.


async def test_the_error_of_another_call_keeps_its_own_verdict_when_before_send_raises_it(server: MockRefold) -> None:
    """The fence records elsewhere: that record may have been made, and this event was not sent."""
    kept: list[RefoldError] = []
    server.plan(lambda entry: Fault.answer(500))
    async with server.client(rate_limit=None, retry=None) as audit:

        async def before_send(sending: object) -> None:
            try:
                await audit.trigger("slack", "Audit", {"id": 7})
            except RefoldError as error:
                kept.append(error)
                raise

        async with server.client(rate_limit=None, retry=None, before_send=before_send) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert type(got) is CallbackError
    assert got.__cause__ is kept[0]
    assert (got.delivery, got.attempts, got.sent) == (NOT_SENT, 0, None)
    assert (kept[0].delivery, kept[0].attempts, kept[0].safe_to_resend) == (AMBIGUOUS, 1, False)
    assert kept[0].trigger is not None
    assert kept[0].trigger.event == "Audit"


class HeldError(RefoldError):
    """A fence's own."""


async def test_one_error_that_a_fence_raises_for_many_rows_has_the_facts_of_each(server: MockRefold) -> None:
    held = HeldError("the customer has paused")

    def before_send(sending: object) -> None:
        raise held

    async with server.client(rate_limit=None, before_send=before_send) as client:
        result = await client.trigger_many([Trigger("slack", "E", {"id": n}) for n in range(20)])
    errors = [outcome.error for outcome in result]
    assert {type(error) for error in errors} == {HeldError}
    assert len({id(error) for error in errors}) == 20
    assert [error.trigger for error in errors if error is not None] == [outcome.trigger for outcome in result]


@dataclass
class UnhashableError(RefoldError):
    reason: str = "mine"


@dataclass(frozen=True)
class FrozenError(RefoldError):
    reason: str = "mine"


class DeafError(RefoldError):
    """Never calls the constructor of its base."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("kind", [UnhashableError, FrozenError, DeafError])
async def test_an_error_that_takes_no_facts_is_the_cause_of_one_that_does(
    server: MockRefold, kind: Callable[[], RefoldError]
) -> None:
    def before_send(sending: object) -> None:
        raise kind()

    async with server.client(rate_limit=None, before_send=before_send) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT
    assert isinstance(got, RefoldError)
    assert type(got) is CallbackError
    assert got.trigger is not None


# Names, times and logs.


class Name(str):
    def __repr__(self) -> str:
        raise KeyError("repr")

    __str__ = strip = encode = lower = __repr__  # type: ignore[assignment]


NAMES: dict[str, Callable[[], Any]] = {
    "own str": lambda: Name("E"),
    "own empty str": lambda: Name(""),
    "unshowable": OddError,
    "no class": NotEvenAClass,
    "None": lambda: None,
    "number": lambda: 5,
}


@pytest.mark.parametrize("kind", NAMES)
async def test_a_name_that_cannot_be_shown_ends_in_an_error_of_the_library(server: MockRefold, kind: str) -> None:
    event = NAMES[kind]()
    async with server.client(rate_limit=None) as client:
        for slug, name in (("slack", event), (event, "E")):
            got = await ending(client.trigger(slug, name, {"id": 1}))
            assert got.delivery in (NOT_SENT, ACCEPTED)
            assert (got.delivery is ACCEPTED) == bool(server.ledger.fired_count(id=1))


class RaisingFilter(logging.Filter):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._raise = hostile(name)

    def filter(self, record: logging.LogRecord) -> bool:
        self._raise()
        return True


@pytest.mark.parametrize("name", ERRORS)
async def test_a_log_filter_that_raises_changes_no_ending(server: MockRefold, name: str) -> None:
    server.plan(lambda entry: Fault.answer(404) if entry.payload["id"] % 2 else None)
    logger = logging.getLogger("refold_async")
    level, broken = logger.level, RaisingFilter(name)
    logger.addFilter(broken)
    logger.setLevel(logging.DEBUG)
    try:
        async with server.client(rate_limit=None) as client:
            ended = [await ending(client.trigger("slack", "E", {"id": n})) for n in range(4)]
    finally:
        logger.removeFilter(broken)
        logger.setLevel(level)
    assert [each.delivery for each in ended] == [ACCEPTED, REJECTED] * 2


# A cancellation that the user's code swallows.


async def test_a_deadline_that_before_send_swallows_is_kept_all_the_same(server: MockRefold) -> None:
    async def before_send(sending: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with server.client(rate_limit=None, before_send=before_send, deadline=0.05) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert (got.delivery, type(got).__name__) == (NOT_SENT, "DeadlineExceededError")
    assert server.ledger.requests == 0


async def test_a_close_that_before_send_swallows_is_kept_all_the_same(server: MockRefold) -> None:
    begun = asyncio.Event()

    async def before_send(sending: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    client = server.client(rate_limit=None, before_send=before_send)
    call = asyncio.ensure_future(ending(client.trigger("slack", "E", {"id": 1})))
    await begun.wait()
    await client.aclose()
    got = await call
    assert (got.delivery, type(got).__name__) == (NOT_SENT, "ClientClosedError")
    assert server.ledger.requests == 0


# Transports and hooks of a foreign client.


@pytest.mark.parametrize("name", ERRORS)
async def test_a_transport_that_raises_anything_after_the_send_began_is_ambiguous(name: str) -> None:
    class Mine(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise made(name)

    async with client_over(Mine()) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is AMBIGUOUS
    assert got.attempts == 1


ODD_RESPONSES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a string": lambda: "200",
    "status as text": lambda: httpx.Response("200", content=b"{}"),  # type: ignore[arg-type]
    "status None": lambda: httpx.Response(None, content=b"{}"),  # type: ignore[arg-type]
    "status nan": lambda: httpx.Response(float("nan"), content=b"{}"),  # type: ignore[arg-type]
    "sync stream": lambda: httpx.Response(200, content=iter([b"{}"])),
    "stream of text": lambda: httpx.Response(200, stream=_Stream("{}")),
    "stream of numbers": lambda: httpx.Response(200, stream=_Stream(5)),
    "closed": lambda: _closed(),
}


class _Stream(httpx.AsyncByteStream):
    def __init__(self, part: Any) -> None:
        self._part = part

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield self._part


def _closed() -> httpx.Response:
    response = fired()
    response.is_closed = True
    return response


@pytest.mark.parametrize("name", ODD_RESPONSES)
async def test_an_odd_response_of_a_transport_ends_in_a_verdict(name: str) -> None:
    class Mine(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response: httpx.Response = ODD_RESPONSES[name]()
            return response

    async with client_over(Mine()) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery in (ACCEPTED, AMBIGUOUS)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("when", ["request", "response"])
async def test_an_event_hook_of_a_foreign_client_that_raises_changes_no_evidence(
    server: MockRefold, when: str, name: str
) -> None:
    async def hook(_: object) -> None:
        raise made(name)

    async with (
        httpx.AsyncClient(event_hooks={when: [hook]}) as session,
        server.client(http_client=session, rate_limit=None, retry=None) as client,
    ):
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    fired_now = server.ledger.fired_count(id=1)
    assert got.delivery in ((ACCEPTED, AMBIGUOUS) if fired_now else (NOT_SENT, AMBIGUOUS))
    assert fired_now == (when == "response")


# Sources.


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_source_that_raises_interrupts_the_batch_with_what_was_sent(
    server: MockRefold, kind: str, name: str
) -> None:
    def rows() -> Iterator[Trigger]:
        for n in range(3):
            yield Trigger("slack", "E", {"id": n})
        raise made(name)

    async def async_rows() -> AsyncIterator[Trigger]:
        for n in range(3):
            yield Trigger("slack", "E", {"id": n})
        raise made(name)

    from refold_async import BatchInterruptedError

    async with server.client(rate_limit=None) as client:
        with pytest.raises(BatchInterruptedError) as caught:
            await client.trigger_many(rows() if kind == "sync" else async_rows())
    assert [outcome.delivery for outcome in caught.value.result] == [ACCEPTED] * 3


# All of it at once.


@pytest.mark.parametrize("seed", range(6))
async def test_hostile_code_at_random_places_never_makes_a_verdict_lie(server: MockRefold, seed: int) -> None:
    chance = random.Random(seed)
    names = [*ERRORS, *VALUES]

    def sometimes(*args: object, **kwargs: object) -> Any:
        if chance.random() < 0.2:
            return hostile(chance.choice(names))()
        return None

    def throttle_some(entry: Any) -> Fault | None:
        return chance.choice([None, None, None, Fault.answer(500), Fault.answer(404), Fault.reset_after_firing()])

    server.plan(throttle_some)
    policy = RetryPolicy(max_attempts=2, base_delay=0.001, max_delay=0.001, classify=lambda *a: sometimes())
    rows = [Trigger("slack", "E", {"id": n}) for n in range(150)]
    async with server.client(
        rate_limit=None, hooks=[sometimes], before_send=sometimes, retry=policy, max_connections=5
    ) as client:
        result = await client.trigger_many(rows, on_outcome=sometimes)
        assert client._sender.slots is not None
        assert client._sender.slots.available == 5
        assert not client._sender.life.calls
    fired_of = server.ledger.count_fired_by("id")
    for n, outcome in enumerate(result):
        fired_now = fired_of.get(n, 0)
        if outcome.delivery is ACCEPTED:
            assert fired_now >= 1
        elif outcome.delivery is not AMBIGUOUS:
            assert fired_now == 0, outcome


async def test_a_coroutine_from_an_encoder_is_closed_and_no_warning_comes_later(server: MockRefold) -> None:
    made_ones: list[Any] = []

    def encoder(document: object) -> Any:
        made_ones.append(raises(KeyError("later")))
        return made_ones[-1]

    async with server.client(json_encoder=encoder) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert type(got) is CallbackError
    assert [each.cr_frame for each in made_ones] == [None], "closed"
