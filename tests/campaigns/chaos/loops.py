"""Event loops that change: a client and its views on one after the other, and clients in threads, over one limiter.

Some loops are closed while calls wait, in the queue of the limiter or for an answer: of those nothing is said, and they
must not be missed by what runs on the next loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import threading
from collections.abc import Iterator

from anyio._backends import _asyncio

from refold_async import RateLimit, Receipt, RefoldClient, RefoldError, Trigger
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import MockRefold

from .faults import CONNECTIONS, DEADLINE, DECLARED, DEDUPE, RETRY
from .tally import PlannedFaults, Tally, open_descriptors

ROUND = 40
"""Triggers for each loop."""

THREADS = 4
LIMIT = RateLimit(1500, 20)


def changing_loops(triggers: int, seed: int, patience: float = 1.0) -> Tally:
    """Run it; what did not hold is in the tally."""
    tally = Tally()
    descriptors = open_descriptors()
    unraisable, sys.unraisablehook = sys.unraisablehook, _tell_unless_closed
    try:
        loops_closed = _play(triggers, seed, patience, tally)
        _let_anyio_forget()
        left = open_descriptors() - descriptors
        if left > 0:
            tally.problems.append(f"{left} descriptors were left open after {loops_closed} loops closed under calls")
    finally:
        sys.unraisablehook = unraisable
    return tally


def _tell_unless_closed(what: sys.UnraisableHookArgs) -> None:
    """Keep quiet about each transport and task that is collected after its loop was closed, of which asyncio tells."""
    if not (isinstance(what.exc_value, RuntimeError) and "closed" in str(what.exc_value)):
        sys.__unraisablehook__(what)


def _let_anyio_forget() -> None:
    """Make anyio let go of the tasks whose loop was closed while they were in a scope of its: it would keep them."""
    states = _asyncio._task_states
    for task in [task for task in states if task.get_loop().is_closed()]:
        del states[task]


def _play(triggers: int, seed: int, patience: float, tally: Tally) -> int:
    with MockRefold(rate_limit=None, dedupe=DEDUPE, faults=PlannedFaults(seed), latency=0.001) as server:
        limiter = MemoryRateLimiter(LIMIT)
        users = [User(n, server, limiter, tally, seed, patience) for n in range(THREADS)]
        threads = [
            threading.Thread(target=user.use, args=(range(n, triggers, THREADS),)) for n, user in enumerate(users)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if limiter.waiting:
            tally.problems.append(f"{limiter.waiting} still wait at the limiter, although every loop is closed")
        tally.check(server, triggers)
        return sum(user.loops_closed for user in users)


class User:
    """Uses one client, and a view of it, on one loop after the other, in a thread of its own.

    :ivar loops_closed: how many loops were closed under their calls; only with our own wire, as anyio holds on to all
        that stock httpx has under way then.
    """

    def __init__(
        self, number: int, server: MockRefold, limiter: MemoryRateLimiter, tally: Tally, seed: int, patience: float
    ) -> None:
        self._number = number
        self._tally = tally
        self._seed = seed
        self._chance = chance = random.Random(f"loops {seed} {number}")
        self._deadline = DEADLINE * patience
        self._is_own_wire = chance.random() < 0.7
        self.loops_closed = 0
        self._client: RefoldClient = server.client(
            rate_limit=limiter,
            retry=RETRY,
            timeout=0.15 * patience,
            deadline=self._deadline,
            hooks=[tally.watch],
            max_connections=CONNECTIONS,
            transport="pool" if self._is_own_wire else "httpx",
        )
        self._view = self._client.for_account("acct_view").with_options(idempotency=DECLARED)

    def use(self, numbers: range) -> None:
        rounds: Iterator[range] = (numbers[at : at + ROUND] for at in range(0, len(numbers), ROUND))
        try:
            for some in rounds:
                way = self._chance.random()
                if way < (0.6 if self._is_own_wire else 0.8):
                    self._run(some)
                elif way < (0.8 if self._is_own_wire else 1.0):
                    asyncio.run(self._leave_some_running(some))
                else:
                    self._abandon(some)
            asyncio.run(self._end())
        except BaseException as error:
            self._tally.problems.append(f"a loop ended with {error!r}")
            raise

    def _pick(self) -> RefoldClient:
        return self._chance.choice([self._client, self._view])

    def _run(self, numbers: range) -> None:
        """Use both on a loop until all has ended, one by one and in a batch."""

        async def single(number: int) -> None:
            client = self._pick()

            async def one() -> Receipt:
                return await client.trigger("pipedrive", "Deal Created", {"n": number})

            await self._tally.end_it(number, self._seed, one, self._deadline)

        async def main() -> None:
            half = len(numbers) // 2
            rows = [Trigger("pipedrive", "Deal Created", {"n": n}) for n in numbers[half:]]
            batch = asyncio.ensure_future(self._pick().trigger_many(rows, stop_on=None))
            await self._tally.crew(numbers[:half], 10, single)
            for number, outcome in zip(numbers[half:], await batch, strict=True):
                if self._tally.verdicts.get(number) is not outcome.delivery:
                    self._tally.problems.append(f"{number} of a batch came back {outcome.delivery}")

        asyncio.run(main())

    async def _leave_some_running(self, numbers: range) -> None:
        """End the loop's main function while calls run: `asyncio.run` cancels them."""
        calls = [
            asyncio.ensure_future(self._pick().trigger("pipedrive", "Deal Created", {"n": number}))
            for number in numbers
        ]
        self._tally.cut.update(numbers)
        await asyncio.wait(calls, timeout=self._chance.random() * 0.03)
        for call in calls:
            call.add_done_callback(lambda each: each.cancelled() or each.exception())

    def _abandon(self, numbers: range) -> None:
        """Close a loop under its calls, with nothing cancelled."""
        self._tally.cut.update(numbers)
        self._tally.abandoned.update(numbers)
        self.loops_closed += 1
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it tells of each task that it loses

        async def some() -> None:
            for number in numbers:
                task = loop.create_task(fire(number))
                task._log_destroy_pending = False  # type: ignore[attr-defined] # it is what this is about
                kept.append(task)
            await asyncio.sleep(self._chance.random() * 0.02)

        async def fire(number: int) -> None:
            with contextlib.suppress(RefoldError):
                await self._pick().trigger("pipedrive", "Deal Created", {"n": number})

        kept: list[asyncio.Task[None]] = []
        loop.run_until_complete(some())
        loop.close()
        if self._chance.random() < 0.5:
            kept.clear()
            gc.collect()

    async def _end(self) -> None:
        """Look that nothing is left over, on a last loop."""
        with contextlib.suppress(RefoldError):
            await self._client.trigger("pipedrive", "Last", {"n": -1 - self._number}, retry=None)
        await self._tally.look_for_leftovers(self._client, CONNECTIONS)
        await self._client.aclose()
