"""TLS handshakes that take long and end together, and a limit that the mock enforces: the pace holds at the write."""

from __future__ import annotations

import random
import time

import httpx

from refold_async import RateLimit, Receipt
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import Fault, MockRefold
from tests.fakes.relay import SlowHandshakes
from tests.unit.policies.test_pacing import check_pace

from .faults import CONNECTIONS, DECLARED, DEDUPE, RETRY, WORKERS
from .tally import FAULTS, PlannedFaults, Tally, open_descriptors

LIMIT = RateLimit(200, 20)
PERIOD = 0.4
DEADLINE = 8.0
GOODBYE = Fault.answer(200, headers={"Connection": "close"}, name="goodbye")


class Recorded(MemoryRateLimiter):
    """Keeps the times of all writes, as the limiter itself has read its clock."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit, clock=self._read)
        self.writes: list[float] = []
        self._now = 0.0

    def _read(self) -> float:
        self._now = time.monotonic()
        return self._now

    def on_sent(self, *arguments: object) -> None:
        super().on_sent(*arguments)  # type: ignore[arg-type]
        self.writes.append(self._now)

    def try_take(self) -> bool:
        taken = super().try_take()
        if taken:
            self.writes.append(self._now)
        return taken


async def slow_handshakes(triggers: int, seed: int, patience: float = 1.0) -> Tally:
    """Run it; what did not hold is in the tally."""
    random.seed(f"handshakes {seed}")
    tally = Tally()
    descriptors = open_descriptors()
    limiter = Recorded(LIMIT)
    faults = PlannedFaults(seed, {fault: chance / 3 for fault, chance in FAULTS.items()} | {GOODBYE: 0.2})
    deadline = DEADLINE * patience
    async with MockRefold(
        tls=True, rate_limit=LIMIT, retry_after="0.05", dedupe=DEDUPE, faults=faults, latency=0.001
    ) as server:
        with SlowHandshakes(server.port, PERIOD) as relay:
            async with server.client(
                base_url=f"https://127.0.0.1:{relay.port}",
                rate_limit=limiter,
                retry=RETRY,
                timeout=httpx.Timeout(0.3 * patience, connect=5.0 * patience),
                hooks=[tally.watch],
                max_connections=CONNECTIONS * 2,
            ) as plain:
                declared = plain.with_options(idempotency=DECLARED)

                async def fire(number: int) -> None:
                    client = declared if number % 2 else plain

                    async def one() -> Receipt:
                        return await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=deadline)

                    await tally.end_it(number, seed, one, deadline)

                await tally.crew(range(triggers), WORKERS, fire)
                await tally.look_for_leftovers(plain, CONNECTIONS * 2)
            if limiter.waiting:
                tally.problems.append(f"{limiter.waiting} still wait at the limiter")
        tally.check(server, triggers)
        try:
            check_pace(limiter.writes, LIMIT)
        except AssertionError as error:
            tally.problems.append(f"the writes were {error}")
        refused = server.ledger.totals.statuses[429] - server.ledger.faults()["throttle"]
        print(f"{relay.connections} slow handshakes, {len(limiter.writes)} writes, {refused} beyond the server's limit")
        # The pace is held at the writes, as checked above. The way from there to the server takes its time, on a busy
        # machine so much that a few per cent arrive together; many more would mean that the limits are not the same.
        if refused > max(5, triggers * 0.1 * patience):
            tally.problems.append(f"the server refused {refused} as beyond its limit")
    if open_descriptors() > descriptors:
        tally.problems.append(f"{open_descriptors() - descriptors} file descriptors were left open")
    return tally
