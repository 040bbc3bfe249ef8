"""A test that freezes `time.monotonic`, as freezegun does, changes nothing about calls under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from refold_async import Delivery, Idempotency, RateLimit, RefoldError, RetryPolicy
from refold_async.testing import Dedupe, Fault, MockRefold

QUICK = RetryPolicy(base_delay=0.001, throttled_base_delay=0.001, max_delay=0.002)
WINDOW = Idempotency(header="Idempotency-Key")


class RealTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that keeps real time, as freezegun leaves it with `real_asyncio=True`."""

    def time(self, _now: Callable[[], float] = time.monotonic) -> float:
        return _now()


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [(None, 1), (Fault.throttle("0.01"), 2), (Fault.close_before_firing(), 2), (Fault.stall_head(), 2)],
    ids=lambda it: it.name if isinstance(it, Fault) else str(it),
)
def test_retries_go_on_where_time_is_frozen(
    monkeypatch: pytest.MonkeyPatch, fault: Fault | None, attempts: int
) -> None:
    async def trigger() -> int:
        with MockRefold(rate_limit=None, dedupe=Dedupe(header="Idempotency-Key"), faults=[fault]) as server:
            async with server.client(
                retry=QUICK, idempotency=WINDOW, rate_limit=RateLimit(100, 5), timeout=0.3
            ) as client:
                receipt = await client.trigger("slack", "E")
                return receipt.attempts

    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    with asyncio.Runner(loop_factory=RealTimeLoop) as runner:
        assert runner.run(trigger()) == attempts


def test_a_deadline_ends_a_call_where_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trigger() -> RefoldError:
        with MockRefold(rate_limit=None, faults=[Fault.stall_head()]) as server:
            async with server.client(retry=None, rate_limit=None, deadline=0.1) as client:
                with pytest.raises(RefoldError) as caught:
                    await client.trigger("slack", "E")
                return caught.value

    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    with asyncio.Runner(loop_factory=RealTimeLoop) as runner:
        error = runner.run(trigger())
    assert error.delivery is Delivery.AMBIGUOUS
