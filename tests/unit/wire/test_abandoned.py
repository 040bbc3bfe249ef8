"""A pool and a timer whose event loop is closed hold on to nothing: something may hold them for ever."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from typing import Any

import pytest

from refold_async._wire.pool import Pool
from refold_async._wire.timer import LoopTimer
from tests.fakes.clock import run


class Watched:
    def __init__(self, until: float) -> None:
        self.until = until
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.until = math.inf


def test_a_pool_lets_go_of_what_its_timer_watches() -> None:
    loop = asyncio.new_event_loop()
    connector: Any = None
    pool = Pool(loop, connector, max_connections=1, max_keepalive=None, keepalive_expiry=None)
    watched = Watched(loop.time() + 60)
    pool.timer.timed.add(watched)
    pool.timer.note(watched.until)
    loop.close()
    pool.abandon()
    assert (pool.timer.timed, pool.timer.due) == (set(), math.inf)
    seen = weakref.ref(watched)
    del watched
    gc.collect()
    assert seen() is None


def test_a_timer_goes_off_for_each_at_its_time_and_rests_in_the_end() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        timer = LoopTimer(loop)
        began = loop.time()
        watched = [Watched(began + seconds) for seconds in (0.03, 0.01, math.inf, 0.02)]
        for each in watched:
            timer.timed.add(each)
            timer.note(each.until)
        assert timer.due == began + 0.01
        timer.timed.discard(watched[3])
        await asyncio.sleep(1)
        assert [len(each.expired) for each in watched] == [1, 1, 0, 0]
        assert [each.expired[0] - began for each in watched[:2]] == [pytest.approx(0.03), pytest.approx(0.01)]
        assert timer.due == math.inf
        timer.close()

    run("asyncio", main)
