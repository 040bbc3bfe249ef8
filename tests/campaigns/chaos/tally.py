"""What the client said of each trigger, and whether the ledger agrees."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field

from refold_async import Delivery, Receipt, RefoldClient, RefoldError
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import Fault, MockRefold
from refold_async.testing.ledger import Entry
from tests.wire.wire import state_of, until

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
BEAT = 0.01
STALL = 0.05
"""Seconds; a third of the shortest timeout of a scene."""

HIDING = {fault.name for fault in FAULTS if fault.hides_truth}


@define
class PlannedFaults:
    """Draws the fault of each attempt at each trigger by chance, whatever the order in which they arrive.

    :param chances: how likely each fault is.
    """

    seed: int
    chances: dict[Fault, float] = field(factory=FAULTS.copy)
    _arrived: Counter[int] = field(factory=Counter)

    def __call__(self, entry: Entry) -> Fault | None:
        number = entry.payload["n"]
        self._arrived[number] += 1
        drawn = random.Random(f"fault {self.seed} {number} {self._arrived[number]}").random()
        for fault, chance in self.chances.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None


@define
class Tally:
    """What the client said of each trigger, and how each was ended from outside.

    :ivar verdicts: the verdict that the last hook event of each call named.
    :ivar cut: the triggers that were to be cancelled.
    :ivar abandoned: those whose event loop was closed under them: they need not end.
    :ivar marked: those whose receipt says `after_ambiguous`.
    :ivar overruns: by how many seconds each call outlived its deadline.
    :ivar problems: what did not hold, as sentences.
    """

    verdicts: dict[int, Delivery] = field(factory=dict)
    cut: set[int] = field(factory=set)
    abandoned: set[int] = field(factory=set)
    marked: set[int] = field(factory=set)
    overruns: dict[int, float] = field(factory=dict)
    problems: list[str] = field(factory=list)
    _times: dict[int, tuple[float, float]] = field(factory=dict)
    _stalls: list[tuple[float, float]] = field(factory=list)

    @property
    def comparable(self) -> dict[int, bool]:
        """Whether each trigger is ambiguous that ran to its own end and reached the server: so it met its fault."""
        reached = {n: said for n, said in self.verdicts.items() if said is not Delivery.NOT_SENT}
        return {n: said is Delivery.AMBIGUOUS for n, said in reached.items() if n not in self.cut}

    def watch(self, event: HookEvent) -> None:
        """Note how a call ended: a hook for `hooks=`."""
        if isinstance(event, CallFinished) and event.trigger is not None and event.trigger.payload is not None:
            number = event.trigger.payload["n"]
            if number in self.verdicts:
                self.problems.append(f"{number} ended twice")
            self.verdicts[number] = event.delivery
            now = time.monotonic()
            self._times[number] = (now - event.elapsed, now)
            if event.receipt is not None and event.receipt.after_ambiguous:
                self.marked.add(number)

    def compare(self, number: int, ended: Receipt | RefoldError) -> None:
        """Hold what a caller was told against what the hooks were told."""
        if self.verdicts.get(number) is not ended.delivery:
            self.problems.append(
                f"{number} ended {ended.delivery}, and the hooks were told {self.verdicts.get(number)}"
            )

    async def crew(self, numbers: range, workers: int, do: Callable[[int], Awaitable[None]]) -> None:
        """Do something for each number, so many at a time."""
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                await do(number)

        beating = asyncio.ensure_future(self._notice_stalls())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        finally:
            beating.cancel()

    async def _notice_stalls(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(BEAT)
            if time.monotonic() - began > BEAT + STALL:
                self._stalls.append((began, time.monotonic()))

    @property
    def over_deadline(self) -> float:
        """By how many seconds a call outlived its deadline at most, unless this process stood still meanwhile."""
        slow = self._met_stalls()
        return max((late for number, late in self.overruns.items() if number not in slow), default=0.0)

    def _met_stalls(self) -> set[int]:
        """Return the triggers during which this process stood still, as on a machine that is too busy.

        Their timeouts may have passed although nothing was wrong with their answers.
        """
        return {
            number
            for number, (began, ended) in self._times.items()
            if any(stall[0] <= ended and began <= stall[1] for stall in self._stalls)
        }

    async def end_it(
        self, number: int, seed: int, fire: Callable[[], Awaitable[Receipt]], deadline: float, cut: float = 0.15
    ) -> None:
        """Fire one trigger and end it in one of four ways: let it be, or cancel it by task, by scope or by timeout.

        :param cut: how likely it is that it is cancelled.
        """
        chance = random.Random(f"end {seed} {number}")
        is_cut, way = chance.random() < cut, chance.choice([_by_task, _by_scope, _by_timeout])
        loop = asyncio.get_running_loop()
        started = loop.time()
        if is_cut:
            self.cut.add(number)

        async def told() -> None:
            try:
                ended: Receipt | RefoldError = await fire()
            except RefoldError as error:
                ended = error
            if self.verdicts.get(number) is not ended.delivery:
                hooks = self.verdicts.get(number)
                self.problems.append(f"{number} ended {ended.delivery}, and the hooks were told {hooks}")

        try:
            await (way(told(), chance) if is_cut else told())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
            self.problems.append(f"{number} raised {error!r}")
        self.overruns[number] = loop.time() - started - deadline

    async def look_for_leftovers(self, client: RefoldClient, slots: int) -> None:
        """Look for tasks that still run, and for connections and slots that nobody uses."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if not await until(lambda: all(task.done() for task in tasks), within=2.0):
            left = [task for task in tasks if not task.done()]
            self.problems.append(f"{len(left)} tasks were left running, such as {left[0]}")
        transport = client.session._transport

        def is_at_rest() -> bool:
            state = state_of(transport)
            return state.connections == state.idle and state[2:] == (0, 0, 0)

        if not await until(is_at_rest):  # a connection that was aborted is gone some turns later
            self.problems.append(f"the pool holds what nobody uses: {state_of(transport)}")
        free = client._sender.life.slots
        if free is None or free.available != slots:
            self.problems.append(f"{free} slots are free, not {slots}")
        if client._sender.life.calls:
            self.problems.append(f"{len(client._sender.life.calls)} calls are still noted as running")

    def check(self, server: MockRefold, triggers: int, *, resends: bool = False, excused: int = 0) -> None:
        """Hold every verdict against the ledger.

        :param resends: whether something between the client and the wire may send a trigger again; then one that fired
            twice must be said to be ambiguous, or be marked.
        :param excused: how many may be ambiguous without a fault, as their deadline may have passed before the answer.
        """
        ledger = server.ledger
        fired = ledger.count_fired_by("n")
        mine = [entry for entry in ledger.entries if isinstance(entry.payload, dict)]
        hidden = {entry.payload["n"] for entry in mine if entry.fault in HIDING}
        # Where a failed request has claimed the key, its repeats are dropped; the receipt says that this may be so,
        # if there is one: a call that is cancelled after its status was seen has none.
        claimed = {entry.payload["n"] for entry in mine if entry.fault == "claim_then_500"}
        missing = set(range(triggers)) - self.verdicts.keys() - self.abandoned
        if missing:
            self.problems.append(f"{len(missing)} calls never finished, such as {min(missing)}")
        slow = self._met_stalls()
        unexplained = []
        for number, verdict in self.verdicts.items():
            count = fired[number]
            twice_told = resends and (verdict is Delivery.AMBIGUOUS or number in self.marked)
            if count > 1 and not twice_told:
                self.problems.append(f"{number} fired {count} times, and the client said {verdict}")
            elif verdict is Delivery.ACCEPTED and not count and number not in claimed & (self.marked | self.cut):
                self.problems.append(f"{number} was said to be accepted and never fired")
            elif verdict in (Delivery.REJECTED, Delivery.NOT_SENT) and count:
                self.problems.append(f"{number} fired, and the client said {verdict}")
            elif verdict is Delivery.AMBIGUOUS and number not in hidden | self.cut | self.abandoned | slow:
                unexplained.append(number)
        dropped = ledger.dropped_idle
        if len(unexplained) > dropped + excused:
            self.problems.append(
                f"{len(unexplained)} are ambiguous without a fault of their own, such as {unexplained[0]}; "
                f"{dropped} idle connections dropped"
            )
        self._print(fired, ledger.faults(), len(hidden), len(unexplained), dropped)

    def _print(self, fired: Counter[int], played: Counter[str], hidden: int, unexplained: int, dropped: int) -> None:
        verdicts = Counter(self.verdicts.values())
        print(f"{len(self.verdicts)} triggers, {len(self.cut)} of them to be cancelled")
        for verdict in Delivery:
            really = sum(fired[number] for number, said in self.verdicts.items() if said is verdict)
            print(f"  {verdict.name:<10}{verdicts[verdict]:>6}   really fired {really:>6}")
        print(
            f"  ambiguous: {verdicts[Delivery.AMBIGUOUS]}; truth was hidden by a fault for {hidden}, "
            f"{unexplained} met one of the {dropped} idle connections that were dropped"
        )
        slow = len(self._met_stalls())
        if slow:
            print(f"  this process stood still during {slow} calls: their timeouts prove nothing")
        print("faults played: " + ", ".join(f"{name} {count}" for name, count in sorted(played.items())))
        print(f"longest overrun of a deadline: {max(0.0, self.over_deadline):.3f} s")


async def _by_task(call: Coroutine[Any, Any, None], chance: random.Random) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(chance.randrange(1, 40)):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _by_scope(call: Coroutine[Any, Any, None], chance: random.Random) -> None:
    with anyio.move_on_after(chance.random() * 0.02):
        await call


async def _by_timeout(call: Coroutine[Any, Any, None], chance: random.Random) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.random() * 0.02):
            await call


def open_descriptors() -> int:
    """Count the open descriptors of this process, where the system says; 0 elsewhere."""
    gc.collect()
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0
