"""Thousands of triggers over every fault the mock can play, with random cancellations, held against its ledger.

Run it with `python -m tests.chaos --triggers 10000 --seed 1`; it prints what it counted and fails loudly.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
from attrs import define, field

from refold_async import Delivery, Idempotency, RefoldClient, RefoldError, RetryPolicy
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Dedupe, Fault, MockRefold, SeededFaults

FAULTS: dict[Fault, float] = dict.fromkeys(
    [
        Fault.reset_before_reading(),
        Fault.close_before_firing(),
        Fault.reset_after_firing(),
        Fault.close_after_firing(),
        Fault.truncate_head(),
        Fault.truncate_body(),
        Fault.stall_head(),
        Fault.stall_head(fires=False),
        Fault.stall_body(),
        Fault.garbage(),
        Fault.answer(302, headers={"Location": "/elsewhere"}),
        Fault.answer(400),
        Fault.answer(401),
        Fault.answer(404),
        Fault.answer(408),
        Fault.answer(425),
        Fault.answer(500),
        Fault.answer(500, fires=True, name="status_500_after_firing"),
        Fault.answer(501),
        Fault.answer(503),
        Fault.answer(503, headers={"Retry-After": "0.02"}, name="status_503_asking_to_wait"),
        Fault.answer(504, fires=True),
        Fault.html_502(),
        Fault.throttle("0.02"),
        Fault.not_json(),
        Fault.not_json(b"", headers={}),
        Fault.corrupt_gzip(),
        Fault.close_idle(),
        Fault.refuse_next(0.02),
        Fault.claim_then_500(),
    ],
    0.013,
)
HIDING = {fault.name for fault in FAULTS if fault.hides_truth}
DEADLINE = 1.0
WORKERS = 40
CONNECTIONS = 20


@define
class Tally:
    """What the client said of each trigger, and how each was ended from outside."""

    verdicts: dict[int, Delivery] = field(factory=dict)
    cut: set[int] = field(factory=set)
    perhaps_dropped: set[int] = field(factory=set)
    over_deadline: float = 0.0


async def _end_it(client: RefoldClient, number: int, chance: random.Random, tally: Tally) -> None:
    """Fire one trigger and end it in one of four ways: let it be, or cancel it by task, by scope or by timeout."""
    way = chance.random()
    after = chance.random() * 0.02
    started = time.monotonic()

    async def fire() -> None:
        await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=DEADLINE)

    try:
        if way < 0.85:
            await fire()
        elif way < 0.90:
            tally.cut.add(number)
            task = asyncio.ensure_future(fire())
            for _ in range(chance.randrange(1, 40)):
                await asyncio.sleep(0)
            task.cancel()
            await task
        elif way < 0.95:
            tally.cut.add(number)
            with anyio.move_on_after(after):
                await fire()
        else:
            tally.cut.add(number)
            async with asyncio.timeout(after):
                await fire()
    except (RefoldError, TimeoutError):
        pass
    except asyncio.CancelledError:
        if way < 0.85 or way >= 0.90:
            raise
    tally.over_deadline = max(tally.over_deadline, time.monotonic() - started - DEADLINE)


async def chaos(triggers: int, seed: int) -> list[str]:
    """Run it; give what did not hold, as sentences."""
    tally = Tally()
    chance = random.Random(seed)

    def watch(event: HookEvent) -> None:
        if isinstance(event, CallFinished) and event.trigger is not None and event.trigger.payload is not None:
            number = event.trigger.payload["n"]
            assert number not in tally.verdicts, "a call finished twice"
            tally.verdicts[number] = event.delivery
            if event.receipt is not None and event.receipt.after_ambiguous:
                tally.perhaps_dropped.add(number)

    policy = RetryPolicy(base_delay=0.01, throttled_base_delay=0.02, max_delay=0.05)
    descriptors = _open_descriptors()
    faults = SeededFaults(seed, FAULTS)
    dedupe = Dedupe(header="Idempotency-Key", window=60)
    async with MockRefold(rate_limit=None, dedupe=dedupe, faults=faults, latency=0.001) as server:
        async with server.client(
            rate_limit=None, retry=policy, timeout=0.15, hooks=[watch], max_connections=CONNECTIONS
        ) as plain:
            declared = plain.with_options(idempotency=Idempotency(header="Idempotency-Key", window=60))
            numbers = iter(range(triggers))

            async def work() -> None:
                for number in numbers:
                    await _end_it(declared if number % 2 else plain, number, chance, tally)

            async with asyncio.TaskGroup() as workers:
                for _ in range(WORKERS):
                    workers.create_task(work())
            problems = _leftovers(plain)
        problems += _check(tally, server, triggers)
    gc.collect()
    left = _open_descriptors() - descriptors
    if left > 0:
        problems.append(f"{left} file descriptors were left open")
    return problems


def _open_descriptors() -> int:
    """Count the open descriptors of this process, where the system says; 0 elsewhere."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def _leftovers(client: RefoldClient) -> list[str]:
    problems = []
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        problems.append(f"{len(tasks)} tasks were left running")
    pool = client.session._transport._pool  # type: ignore[attr-defined]
    if pool._requests:
        problems.append(f"the pool still holds {len(pool._requests)} requests")
    if any(not connection.is_idle() for connection in pool._connections):
        problems.append(f"the pool holds connections that nobody uses: {pool.connections}")
    slots = client._runtime.slots(CONNECTIONS)
    if slots is None or slots.value != CONNECTIONS:
        problems.append(f"{slots} slots are free, not {CONNECTIONS}")
    return problems


def _check(tally: Tally, server: MockRefold, triggers: int) -> list[str]:
    problems: list[str] = []
    fired = server.ledger.count_fired_by("n")
    hidden = {e.payload["n"] for e in server.ledger.entries if e.fault in HIDING and isinstance(e.payload, dict)}
    # Where a failed request has claimed the key, its repeats are dropped; the receipt says that this may be so.
    claimed = {e.payload["n"] for e in server.ledger.entries if e.fault == "claim_then_500"}
    played = server.ledger.faults()
    dropped = server.ledger.dropped_idle
    if len(tally.verdicts) != triggers:
        problems.append(f"{triggers - len(tally.verdicts)} calls never finished")
    unexplained = []
    for number, verdict in tally.verdicts.items():
        count = fired[number]
        if count > 1:
            problems.append(f"{number} fired {count} times, and the client said {verdict}")
        elif verdict is Delivery.ACCEPTED and count != 1 and number not in claimed & tally.perhaps_dropped:
            problems.append(f"{number} was said to be accepted and never fired")
        elif verdict in (Delivery.REJECTED, Delivery.NOT_SENT) and count:
            problems.append(f"{number} fired, and the client said {verdict}")
        elif verdict is Delivery.AMBIGUOUS and number not in hidden and number not in tally.cut:
            unexplained.append(number)
    if len(unexplained) > dropped:
        problems.append(
            f"{len(unexplained)} are ambiguous without a fault of their own; {dropped} idle connections dropped"
        )
    if tally.over_deadline > 0.5:
        problems.append(f"a call outlived its deadline by {tally.over_deadline:.2f} s")
    _print(tally, fired, played, hidden, len(unexplained), dropped)
    return problems


def _print(
    tally: Tally, fired: Counter[int], played: Counter[str], hidden: set[int], unexplained: int, dropped: int
) -> None:
    verdicts = Counter(tally.verdicts.values())
    print(f"{len(tally.verdicts)} triggers, {len(tally.cut)} of them to be cancelled")
    for verdict in Delivery:
        really = sum(fired[number] for number, said in tally.verdicts.items() if said is verdict)
        print(f"  {verdict.name:<10}{verdicts[verdict]:>6}   really fired {really:>6}")
    print(
        f"  ambiguous: {verdicts[Delivery.AMBIGUOUS]}; truth was hidden by a fault for {len(hidden)}, "
        f"{unexplained} met one of the {dropped} idle connections that were dropped"
    )
    print("faults played: " + ", ".join(f"{name} {count}" for name, count in sorted(played.items())))
    print(f"longest overrun of a deadline: {max(0.0, tally.over_deadline):.3f} s")


def main() -> None:
    """Read the arguments, run, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    problems = asyncio.run(chaos(arguments.triggers, arguments.seed))
    print(f"seed {arguments.seed}, {time.monotonic() - started:.1f} s")
    if problems:
        sys.exit("\n".join(problems[:20]))
    print("every verdict is true, and nothing was left over")


if __name__ == "__main__":
    main()
