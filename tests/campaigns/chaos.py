"""Thousands of triggers over every fault the mock can play, with random cancellations, held against its ledger.

Run it with `python -m tests.campaigns.chaos --triggers 10000 --seed 1`; it prints what it counted and fails loudly. It
does so on our own wire and on stock httpx's, with the same faults for the same triggers, and fails too when ours leaves
more of them ambiguous than chance explains.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import anyio
from attrs import define, field

from refold_async import Delivery, Idempotency, RefoldClient, RefoldError, RetryPolicy
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Dedupe, Fault, MockRefold
from refold_async.testing.ledger import Entry
from tests.wire.wire import state_of, until

Wire = Literal["pool", "httpx"]

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
COMPARED = 4000
"""Triggers by which the wires are compared, at most."""

COMPARED_RATE = 400.0
"""Triggers per second for that: what either wire can bear."""


@define
class PlannedFaults:
    """Draws the fault of each attempt at each trigger by chance, whatever the order in which they arrive."""

    seed: int
    _arrived: Counter[int] = field(factory=Counter)

    def __call__(self, entry: Entry) -> Fault | None:
        number = entry.payload["n"]
        self._arrived[number] += 1
        drawn = random.Random(f"fault {self.seed} {number} {self._arrived[number]}").random()
        for fault, chance in FAULTS.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None


@define
class Tally:
    """What the client said of each trigger, and how each was ended from outside."""

    verdicts: dict[int, Delivery] = field(factory=dict)
    cut: set[int] = field(factory=set)
    perhaps_dropped: set[int] = field(factory=set)
    over_deadline: float = 0.0
    problems: list[str] = field(factory=list)

    @property
    def comparable(self) -> dict[int, bool]:
        """Whether each trigger is ambiguous that ran to its own end and reached the server: so it met its fault."""
        reached = {n: said for n, said in self.verdicts.items() if said is not Delivery.NOT_SENT}
        return {n: said is Delivery.AMBIGUOUS for n, said in reached.items() if n not in self.cut}


async def _end_it(client: RefoldClient, number: int, seed: int, tally: Tally, deadline: float) -> None:
    """Fire one trigger and end it in one of four ways: let it be, or cancel it by task, by scope or by timeout."""
    chance = random.Random(f"end {seed} {number}")
    way = chance.random()
    after = chance.random() * 0.02
    started = time.monotonic()

    async def fire() -> None:
        await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=deadline)

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
    tally.over_deadline = max(tally.over_deadline, time.monotonic() - started - deadline)


async def chaos(
    triggers: int, seed: int, wire: Wire = "pool", rate: float | None = None, patience: float = 1.0
) -> Tally:
    """Run it on a wire; what did not hold is in the tally, as sentences.

    :param rate: triggers per second at most, so that two wires bear the same load.
    :param patience: how many times longer timeouts and deadlines are, for a machine that is busy with other things.
    """
    tally = Tally()

    def watch(event: HookEvent) -> None:
        if isinstance(event, CallFinished) and event.trigger is not None and event.trigger.payload is not None:
            number = event.trigger.payload["n"]
            assert number not in tally.verdicts, "a call finished twice"
            tally.verdicts[number] = event.delivery
            if event.receipt is not None and event.receipt.after_ambiguous:
                tally.perhaps_dropped.add(number)

    policy = RetryPolicy(base_delay=0.01, throttled_base_delay=0.02, max_delay=0.05)
    descriptors = _open_descriptors()
    dedupe = Dedupe(header="Idempotency-Key", window=60)
    async with MockRefold(rate_limit=None, dedupe=dedupe, faults=PlannedFaults(seed), latency=0.001) as server:
        async with server.client(
            rate_limit=None,
            retry=policy,
            timeout=0.15 * patience,
            hooks=[watch],
            max_connections=CONNECTIONS,
            transport=wire,
        ) as plain:
            declared = plain.with_options(idempotency=Idempotency(header="Idempotency-Key", window=60))
            numbers = iter(range(triggers))
            began = time.monotonic()

            async def work() -> None:
                for number in numbers:
                    if rate is not None:
                        await asyncio.sleep(began + number / rate - time.monotonic())
                    await _end_it(declared if number % 2 else plain, number, seed, tally, DEADLINE * patience)

            async with asyncio.TaskGroup() as workers:
                for _ in range(WORKERS):
                    workers.create_task(work())
            tally.problems += await _leftovers(plain)
        tally.problems += _check(tally, server, triggers)
    if tally.over_deadline > 0.5 * patience:
        tally.problems.append(f"a call outlived its deadline by {tally.over_deadline:.2f} s")
    gc.collect()
    left = _open_descriptors() - descriptors
    if left > 0:
        tally.problems.append(f"{left} file descriptors were left open")
    return tally


def _open_descriptors() -> int:
    """Count the open descriptors of this process, where the system says; 0 elsewhere."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def _is_at_rest(client: RefoldClient) -> bool:
    state = state_of(client.session._transport)
    return state.connections == state.idle and state[2:] == (0, 0, 0)


async def _leftovers(client: RefoldClient) -> list[str]:
    problems = []
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        problems.append(f"{len(tasks)} tasks were left running")
    if not await until(lambda: _is_at_rest(client)):  # a connection that was aborted is gone some turns later
        problems.append(f"the pool holds what nobody uses: {state_of(client.session._transport)}")
    slots = client._sender.life.slots
    if slots is None or slots.available != CONNECTIONS:
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


def main() -> None:
    """Read the arguments, run, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wire", choices=["pool", "httpx", "both"], default="both")
    arguments = parser.parse_args()
    seed = arguments.seed
    problems: list[str] = []

    def run(wire: Wire, triggers: int, rate: float | None = None) -> Tally:
        started = time.monotonic()
        print(f"wire {wire}, seed {seed}" + ("" if rate is None else f", at most {rate:g} a second"))
        tally = asyncio.run(chaos(triggers, seed, wire, rate))
        problems.extend(f"wire {wire}: {problem}" for problem in tally.problems)
        print(f"{time.monotonic() - started:.1f} s\n")
        return tally

    wires: tuple[Wire, ...] = ("pool", "httpx")
    for wire in wires:
        if arguments.wire in (wire, "both"):
            run(wire, arguments.triggers)
    if arguments.wire == "both":
        # A faster wire has more on its way whenever the server lets go of everything: so here both bear the same load.
        triggers = min(arguments.triggers, COMPARED)
        problems += compare(run("pool", triggers, COMPARED_RATE), run("httpx", triggers, COMPARED_RATE))
    if problems:
        sys.exit("\n".join(problems[:20]))
    print("every verdict is true, and nothing was left over")


if __name__ == "__main__":
    main()
