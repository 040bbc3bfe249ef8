"""An hour without Refold, for a relay on a real file with a real client, on a clock that jumps."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from refold_async import RefoldClient, Trigger
from refold_async.outbox import EventHeld, RelayPaused, RelayResumed, SQLiteOutbox
from tests.cli.batch.test_outage import BEGINS, HOUR, PAGES, REFUSED, SILENCE, Service
from tests.fakes.clock import run

T = TypeVar("T")


class Uneven(Service):
    """Its answers take between 0.3 and 0.7 seconds, so that what is in flight does not end at one moment."""

    @property
    def latency(self) -> float:
        return self.randomness.uniform(0.3, 0.7)

    @latency.setter
    def latency(self, value: float) -> None:
        self.randomness = random.Random(value)


EVENTS = 1200
CONCURRENCY = 10
"""As answers take half a second, that makes twenty events a second."""


class SameThread:
    """Runs the jobs of an outbox where they are asked for, because a clock that jumps waits for no other thread."""

    is_idle = True

    async def run(self, job: Callable[[], T]) -> T:
        return job()

    def stop(self) -> None:
        pass


def outbox_on_this_loop(path: Path) -> SQLiteOutbox:
    outbox = SQLiteOutbox(path, synchronous="normal")
    outbox._thread = SameThread()  # type: ignore[assignment]
    outbox._clock = lambda: 1_700_000_000.0 + anyio.current_time()
    return outbox


@pytest.mark.parametrize("outage", [REFUSED, PAGES, SILENCE])
def test_after_an_hour_without_refold_every_event_was_fired_but_what_was_in_flight(
    outage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refold_async._core.lifecycle.OTHER_RATE", 1e6)  # the pace of reads goes by a real clock
    service, told = Uneven(outage), list[Any]()

    async def main() -> None:
        client = RefoldClient(api_key="tk_1", linked_account_id="acct_1", rate_limit=None, transport=service)
        outbox = outbox_on_this_loop(tmp_path / "refold.db")
        async with client, outbox:
            await outbox.put_many((str(n), Trigger("crm", "Placed", {"n": n})) for n in range(EVENTS))
            async with outbox.relay(client, max_concurrency=CONCURRENCY, hooks=[told.append], prune_after=None):
                await anyio.sleep(BEGINS + HOUR)
                before = len(service.fired)
                await anyio.sleep(900)
            held = {int(status.key) for status in await outbox.held()}
            stats = await outbox.stats()
        assert BEGINS * 15 < before < EVENTS - 100, "the outage was not in the middle"
        assert (stats.queued, stats.sending, stats.ambiguous, stats.rejected) == (0, 0, 0, 0)
        assert len(service.fired) == len(set(service.fired)), "fired twice"
        assert set(service.fired) == set(range(EVENTS)) - held
        if outage == REFUSED:
            assert not held
        else:
            assert 1 <= len(held) <= CONCURRENCY
        assert service.triggers_in_outage <= 2 * CONCURRENCY, "the relay went on sending into the outage"
        assert HOUR / 16 <= len(service.reads) <= HOUR / 5, "a read probes every five seconds, or after its timeout"
        assert {status.status.key for status in told if isinstance(status, EventHeld)} == {str(n) for n in held}

    run("asyncio", main)
    assert [type(each) for each in told if not isinstance(each, EventHeld)] == [RelayPaused, RelayResumed]
