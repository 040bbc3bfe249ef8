"""Every fault that the mock can play, with random cancellations, on our own wire and on stock httpx's.

Both meet the same faults for the same triggers, and it is a problem when ours leaves more of them ambiguous than chance
explains.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal

from refold_async import Delivery, Idempotency, Receipt, RetryPolicy
from refold_async.testing import Dedupe, MockRefold

from .tally import PlannedFaults, Tally, open_descriptors

Wire = Literal["pool", "httpx"]

DEADLINE = 1.0
WORKERS = 40
CONNECTIONS = 20
COMPARED_RATE = 400.0
"""Triggers per second when the wires are compared: what either can bear."""

RETRY = RetryPolicy(base_delay=0.01, throttled_base_delay=0.02, max_delay=0.05)
DEDUPE = Dedupe(header="Idempotency-Key", window=60)
DECLARED = Idempotency(header="Idempotency-Key", window=60)


async def chaos(
    triggers: int, seed: int, wire: Wire = "pool", rate: float | None = None, patience: float = 1.0
) -> Tally:
    """Run it on a wire; what did not hold is in the tally, as sentences.

    :param rate: triggers per second at most, so that two wires bear the same load.
    :param patience: how many times longer timeouts and deadlines are, for a machine that is busy with other things.
    """
    tally = Tally()
    descriptors = open_descriptors()
    deadline = DEADLINE * patience
    async with MockRefold(rate_limit=None, dedupe=DEDUPE, faults=PlannedFaults(seed), latency=0.001) as server:
        async with server.client(
            rate_limit=None,
            retry=RETRY,
            timeout=0.15 * patience,
            hooks=[tally.watch],
            max_connections=CONNECTIONS,
            transport=wire,
        ) as plain:
            declared = plain.with_options(idempotency=DECLARED)
            began = time.monotonic()

            async def fire(number: int) -> None:
                if rate is not None:
                    await asyncio.sleep(began + number / rate - time.monotonic())
                client = declared if number % 2 else plain

                async def one() -> Receipt:
                    return await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=deadline)

                await tally.end_it(number, seed, one, deadline)

            await tally.crew(range(triggers), WORKERS, fire)
            await tally.look_for_leftovers(plain, CONNECTIONS)
        tally.check(server, triggers)
    if tally.over_deadline > 0.5 * patience:
        tally.problems.append(f"a call outlived its deadline by {tally.over_deadline:.2f} s")
    left = open_descriptors() - descriptors
    if left > 0:
        tally.problems.append(f"{left} file descriptors were left open")
    return tally


def compare(ours: Tally, stock: Tally) -> list[str]:
    """Say whether more triggers are ambiguous on our wire than on the stock one, beyond chance.

    Only those are compared that reached the server on both, and were not cancelled: they met the same faults. Where the
    wires differ it is by chance, such as a connection that was dropped as the request was on its way, and under the
    same load that is as likely on one as on the other.
    """
    for name, tally in (("our own wire", ours), ("stock httpx", stock)):
        every = {n for n, said in tally.verdicts.items() if said is Delivery.AMBIGUOUS}
        print(f"ambiguous on {name}: {len(every)}, of which {len(every - tally.cut)} were not cancelled")
    one, other = ours.comparable, stock.comparable
    both = one.keys() & other.keys()
    only_ours = sum(one[n] and not other[n] for n in both)
    only_stock = sum(other[n] and not one[n] for n in both)
    print(f"of {len(both)} that met the same faults, {sum(one[n] for n in both)} and {sum(other[n] for n in both)}")
    print(f"on our own wire alone {only_ours}, on stock httpx alone {only_stock}")
    if only_ours - only_stock > 3 * math.sqrt(only_ours + only_stock):
        return [f"{only_ours} are ambiguous only on our own wire, and {only_stock} only on the stock one"]
    return []
