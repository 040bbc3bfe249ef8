"""Thousands of tagged triggers over every fault the mock can play; then each is looked for, and the ledger is asked.

Run it with `python -m tests.campaigns.reconcile --triggers 10000 --seed 1`. It does so with tags that Refold shows,
with tags that it hides, and with some events that start nothing or are listed late. What is called fired must have
fired; with tags shown each ambiguous event that started something must be found; with tags hidden none may be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from typing import Literal

from attrs import define, field

from refold_async import (
    Delivery,
    RateLimit,
    Receipt,
    Reconciliation,
    RefoldError,
    RetryPolicy,
)
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import MockRefold, RunPlan
from refold_async.testing.ledger import Entry
from tests.campaigns.chaos.tally import PlannedFaults

World = Literal["shown", "hidden", "partly"]
WORLDS: tuple[World, ...] = ("shown", "hidden", "partly")

HOURS = 3600.0
CLAIMS = ("not fire", "never fire", "did not", "didn't")
"""Words that would say that something did not fire."""


def starts_nothing(seed: int, number: int) -> bool:
    """Whether the condition of the workflow drops an event."""
    return random.Random(f"condition {seed} {number}").random() < 0.3


def is_late(seed: int, number: int) -> bool:
    """Whether an event's execution is not listed while it is looked for."""
    return random.Random(f"lag {seed} {number}").random() < 0.3


def plan_of(world: World, seed: int) -> RunPlan:
    """Return what events start in a world, and what of it shows."""
    if world != "partly":
        return RunPlan(shows_tag=world == "shown", tag_field="label")

    def count(entry: Entry) -> int:
        return 0 if starts_nothing(seed, entry.payload["n"]) else 2

    def lag(entry: Entry) -> float:
        return HOURS if is_late(seed, entry.payload["n"]) else 0.0

    return RunPlan(shows_tag=True, tag_field="label", count=count, lag=lag, order="listed")


@define
class Tally:
    """What was found out, and what of it did not hold."""

    ambiguous: int = 0
    fired_of_these: int = 0
    found: int = 0
    requests: int = 0
    problems: list[str] = field(factory=list)


async def campaign(triggers: int, seed: int, world: World, patience: float = 1.0) -> Tally:
    """Fire, look, and compare.

    :param patience: how many times longer timeouts are, for a machine that is busy with other things.
    """
    tally = Tally()
    policy = RetryPolicy(base_delay=0.01, throttled_base_delay=0.02, max_delay=0.05)
    ends: dict[int, Receipt | RefoldError] = {}
    numbers = iter(range(triggers))
    async with MockRefold(rate_limit=None, faults=PlannedFaults(seed), runs=plan_of(world, seed)) as server:
        options = {"rate_limit": None, "retry": policy, "timeout": 0.15 * patience, "deadline": 2.0 * patience}
        async with server.client(**options, tag=True) as client:

            async def work() -> None:
                for n in numbers:
                    try:
                        ends[n] = await client.trigger("slack", "E", {"n": n}, linked_account_id=f"acct_{n % 3}")
                    except RefoldError as error:
                        ends[n] = error

            async with asyncio.TaskGroup() as workers:
                for _ in range(40):
                    workers.create_task(work())
            # How long it takes is another matter.
            client._sender.life.lane.limiter = MemoryRateLimiter(RateLimit(1_000_000, 100_000))
            for n in range(0, triggers, 10):  # another sender, of whose events the list is full as well
                server.runs.add(account=f"acct_{n % 3}", payload={"n": n})
            looked = await client.reconcile(list(ends.values()), max_requests=10_000)
        fired = Counter(entry.payload["n"] for entry in server.ledger.fired)
    for (number, end), found in zip(ends.items(), looked, strict=True):
        _judge(tally, number, found, fired[number])
        if end.delivery is not Delivery.AMBIGUOUS:
            continue
        tally.ambiguous += 1
        tally.found += found.fired
        if not fired[number]:
            continue
        tally.fired_of_these += 1
        is_visible = world == "shown" or (
            world == "partly" and not starts_nothing(seed, number) and not is_late(seed, number)
        )
        if found.fired is not is_visible:
            tally.problems.append(f"{number} fired and its tag is {'' if is_visible else 'not '}shown: {found.why}")
    tally.requests = max((found.requests for found in looked), default=0)
    if not tally.fired_of_these:
        tally.problems.append("no ambiguous event fired, so that nothing was tried")
    return tally


def _judge(tally: Tally, number: int, found: Reconciliation, fired: int) -> None:
    if found.fired and not fired:
        tally.problems.append(f"{number} was said to have fired, and did not")
    if found.state.value not in ("fired", "unresolved"):
        tally.problems.append(f"{number} is {found.state}")
    if any(claim in found.why for claim in CLAIMS):
        tally.problems.append(f"of {number} it was said: {found.why}")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = False
    for world in WORLDS:
        tally = asyncio.run(campaign(options.triggers, options.seed, world))
        print(
            f"tags {world}: {tally.ambiguous} of {options.triggers} ambiguous, {tally.fired_of_these} of them fired, "
            f"{tally.found} found, in {tally.requests} requests for an account"
        )
        for problem in tally.problems[:20]:
            print("  ", problem)
        failed = failed or bool(tally.problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
