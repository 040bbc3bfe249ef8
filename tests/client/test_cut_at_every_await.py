"""A call that is cut at each of its awaits, in each way, tells the truth and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from refold_async import CircuitBreaker, Delivery, Idempotency, RateLimit, RefoldClient, RefoldError
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Dedupe, Fault, MockRefold
from tests.support import QUICK, abandons_sockets
from tests.wire.wire import state_of, until

pytestmark = pytest.mark.asyncio

MOST_AWAITS = 60


class CutAt:
    """Awaits a coroutine, and does something when that waits for the n-th time.

    :param then: called when the coroutine has begun to wait; or, if `is_waking`, when what it waits for has come, just
        before it goes on.
    :ivar awaits: how often it has waited.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], n: int, then: Callable[[], object], *, is_waking: bool = False
    ) -> None:
        self._coroutine = coroutine
        self._n = n
        self._then = then
        self._is_waking = is_waking
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        go_on: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        while True:
            try:
                waited_for = go_on(given)
            except StopIteration as stop:
                return stop.value
            self.awaits += 1
            if self.awaits == self._n:
                if self._is_waking and waited_for is not None:
                    waited_for.add_done_callback(lambda _: self._then())
                else:
                    self._then()
            try:
                given = yield waited_for
                go_on = self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                given = error
                go_on = self._coroutine.throw


async def _api_key() -> str:
    await asyncio.sleep(0)
    return "tk_mock_0000"


async def _before_send(sending: object) -> None:
    await asyncio.sleep(0)


class OwnLimiter:
    """A limiter of a user's own, which waits wherever it may."""

    async def acquire(self, *, deadline: float | None = None) -> None:
        await asyncio.sleep(0)

    async def throttled(self, retry_after: float | None) -> None:
        await asyncio.sleep(0)


Setting = Callable[[], dict[str, Any]]
SETTINGS: dict[str, Setting] = {
    "plain": dict,
    "all in steps": lambda: {"api_key": _api_key, "before_send": _before_send, "rate_limit": OwnLimiter()},
    "one slot": lambda: {"max_connections": 1, "rate_limit": RateLimit(1000, 50)},
    "circuit breaker": lambda: {"circuit_breaker": CircuitBreaker()},
    "window": lambda: {"idempotency": Idempotency(header="Idempotency-Key", window=60)},
    "stock wire": lambda: {"transport": "httpx"},
    "stock wire in steps": lambda: {"transport": "httpx", "api_key": _api_key, "rate_limit": OwnLimiter()},
}
PLANS: dict[str, tuple[Fault | None, ...]] = {
    "200": (),
    "refused twice by 429 and 503": (
        Fault.throttle("0.001"),
        Fault.answer(503, headers={"Retry-After": "0.001"}, name="503"),
    ),
    "500 after firing": (Fault.answer(500, fires=True),),
    "closed after firing": (Fault.close_after_firing(),),
    "body breaks off": (Fault.truncate_body(),),
}


async def _cut_once(setting: str, plan: str, way: str, n: int) -> tuple[int, bool]:
    """Run one call that is cut at its n-th await. Returns how often it awaited, and whether it was cut."""
    told: list[CallFinished] = []

    def hook(event: HookEvent) -> None:
        if isinstance(event, CallFinished):
            told.append(event)

    async with MockRefold(rate_limit=None, dedupe=Dedupe(header="Idempotency-Key", window=60)) as server:
        faults = iter(PLANS[plan])
        server.plan(lambda entry: next(faults, None))
        options = {"rate_limit": None, "retry": QUICK, "hooks": [hook], "max_connections": 2, **SETTINGS[setting]()}
        client: RefoldClient = server.client(**options)
        closing: list[asyncio.Task[None]] = []

        async def call() -> Delivery:
            task = asyncio.current_task()
            assert task is not None

            def cut() -> None:
                if way == "closed":
                    closing.append(asyncio.ensure_future(client.aclose(grace=0)))
                else:
                    task.cancel("from outside")
                if way == "cancelled twice":
                    asyncio.get_running_loop().call_soon(task.cancel, "again")

            watched = CutAt(client.trigger("slack", "E", {"id": 1}), n, cut, is_waking=way == "cancelled while waking")
            try:
                receipt = await watched
                return Delivery(receipt.delivery)
            finally:
                awaits.append(watched.awaits)

        awaits: list[int] = []
        said: Delivery | None = None
        ended = await asyncio.gather(asyncio.ensure_future(call()), return_exceptions=True)
        if isinstance(ended[0], Delivery):
            said = ended[0]
        elif isinstance(ended[0], RefoldError):
            said = ended[0].delivery
        else:
            assert isinstance(ended[0], asyncio.CancelledError), ended[0]
            assert way != "closed"
        assert [said or told[0].delivery] == [event.delivery for event in told], "told once, and the same"
        await asyncio.gather(*closing)
        life = client._sender.life
        assert not life.calls
        assert life.slots is None or life.slots.available == options["max_connections"]
        if not closing:
            server.plan(None)
            again = await client.trigger("slack", "E", {"id": 2})
            assert again.delivery is Delivery.ACCEPTED
            assert await until(lambda: state_of(client.session._transport)[2:] == (0, 0, 0))
        await client.aclose()
        fired = server.ledger.fired_count(id=1)
    verdict = told[0].delivery
    assert fired <= 1
    assert fired == 1 or verdict is not Delivery.ACCEPTED
    assert fired == 0 or verdict in (Delivery.ACCEPTED, Delivery.AMBIGUOUS)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others
    return awaits[0], awaits[0] >= n


@abandons_sockets
@pytest.mark.parametrize("way", ["cancelled", "cancelled while waking", "cancelled twice", "closed"])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("setting", SETTINGS)
async def test_a_call_cut_at_any_of_its_awaits_tells_the_truth(setting: str, plan: str, way: str) -> None:
    for n in range(1, MOST_AWAITS):
        _, is_cut = await _cut_once(setting, plan, way, n)
        if not is_cut:
            break
    else:
        pytest.fail("it awaits more often than was thought")
    assert n > 1, "it was cut at least once"
