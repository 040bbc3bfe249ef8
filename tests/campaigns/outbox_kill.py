"""An outbox whose processes are killed and frozen at random moments, held against the ledger of what really fired.

Run it with `python -m tests.campaigns.outbox_kill --events 1000 --kills 20 --seed 1`; it prints what it counted, and
fails loudly. The orders, the outbox and its rows are read here with plain SQL, not by what is under test.

Two processes save orders, each with its event in one transaction (a tenth is rolled back), and relay. A third one
delivers by `deliver` alone, beside the relay, as an engine of somebody else's would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import asdict, define

from refold_async import HeldError, Idempotency, RefoldClient, RefoldError, RetryLater, Trigger
from refold_async.outbox import Pace, SQLiteOutbox
from refold_async.testing import Dedupe, Fault, MockRefold, SeededFaults

HEADER = "Idempotency-Key"
CONCURRENCY = 10
LATENCY = 0.25
"""Seconds, so that events are under way whenever a process is killed."""
DEADLINE, SLACK = 1.5, 0.5
FROZEN = DEADLINE + SLACK + 0.3
FAULTS: dict[Fault, float] = dict.fromkeys(
    [
        Fault.close_before_firing(),
        Fault.reset_after_firing(),
        Fault.html_502(),
        Fault.answer(500, fires=True, name="status_500_after_firing"),
        Fault.throttle("0.02"),
    ],
    0.02,
)
PACE = Pace(deadline=DEADLINE, slack=SLACK, freshness=0.5, backoff=lambda attempt: 0.1)


def is_rolled_back(number: int) -> bool:
    return number % 10 == 3


@define
class Counts:
    """What came out.

    :ivar twice: events that fired more than once.
    :ivar lost: orders whose event neither fired, nor is held.
    :ivar lies: rows that say something else than the ledger.
    :ivar rolled_back: events that fired although their order was rolled back.
    :ivar held: events that wait for a person.
    :ivar may_be_held: how many may be, at most: hidden answers, and what was under way at kills and freezes.
    :ivar under_way: how many events were being sent at the kills and freezes, in all.
    :ivar stuck: rows that still say that they are being sent, or to be sent.
    """

    fired: int
    twice: int
    lost: int
    lies: int
    rolled_back: int
    held: int
    may_be_held: int
    stuck: int
    kills: int
    freezes: int
    under_way: int

    @property
    def is_good(self) -> bool:
        wrong = self.twice + self.lost + self.lies + self.rolled_back + self.stuck
        return wrong == 0 and self.held <= self.may_be_held and self.under_way > 0


# The processes.


def client_of(options: dict[str, Any]) -> RefoldClient:
    window = Idempotency(header=HEADER) if options["window"] else None
    return RefoldClient(
        api_key=options["api_key"],
        base_url=options["url"],
        linked_account_id=options["account"],
        rate_limit=None,
        idempotency=window,
        timeout=1.0,
    )


async def is_done(outbox: SQLiteOutbox, options: dict[str, Any]) -> bool:
    orders = sum(not is_rolled_back(number) for number in range(options["events"]))
    stats = await outbox.stats()
    rows = stats.accepted + stats.rejected + stats.held
    return rows == orders and stats.queued + stats.sending + stats.ambiguous == 0


async def work(options: dict[str, Any], share: int) -> None:
    """Save orders, and relay."""
    path = options["path"]
    client, outbox = client_of(options), SQLiteOutbox(path, synchronous="normal", shared=True)
    app = sqlite3.connect(path, timeout=10, isolation_level=None)
    async with client, outbox:
        async with outbox.relay(client, max_concurrency=CONCURRENCY, poll=0.05, pace=PACE, prune_after=None):
            for number in range(share, options["events"], 2):
                if app.execute("SELECT 1 FROM orders WHERE id = ?", (number,)).fetchone():
                    continue
                await wait_for_turn(options, number)
                app.execute("BEGIN IMMEDIATE")
                app.execute("INSERT INTO orders VALUES (?)", (number,))
                await outbox.put(Trigger("crm", "Placed", {"id": number}), connection=app, key=f"order-{number}")
                app.execute("ROLLBACK" if is_rolled_back(number) else "COMMIT")
                await asyncio.sleep(0.002)
            while not await is_done(outbox, options):  # noqa: ASYNC110 - others write as well
                await asyncio.sleep(0.05)


async def deliver_beside(options: dict[str, Any]) -> None:
    """Deliver what is due, without any lock."""
    client, outbox = client_of(options), SQLiteOutbox(options["path"], synchronous="normal", shared=True)

    async def one(key: str) -> None:
        try:
            await outbox.deliver(key, client, pace=PACE)
        except (HeldError, RetryLater):
            pass
        except RefoldError as error:
            print(f"{key}: {error!r}", file=sys.stderr)

    async with client, outbox:
        while not await is_done(outbox, options):
            rows, _ = await outbox.due_rows(50)
            random.shuffle(rows)
            await asyncio.gather(*(one(row.key) for row in rows[:5]))
            await asyncio.sleep(0.02)


async def wait_for_turn(options: dict[str, Any], number: int) -> None:
    """Wait until an order comes in. They are spread over the time of the kills."""
    await asyncio.sleep(options["begin"] + options["span"] * number / options["events"] - time.time())


# The campaign.


@define
class Plan:
    """What is done to the processes: pauses in seconds, and a kill or a freeze after each."""

    steps: list[tuple[float, str]]

    @classmethod
    def draw(cls, randomness: random.Random, kills: int, freezes: int, shortest: float, longest: float) -> Plan:
        """Draw one."""
        what = ["kill"] * kills + ["freeze"] * freezes
        randomness.shuffle(what)
        return cls([(randomness.uniform(shortest, longest), each) for each in what])

    @property
    def span(self) -> float:
        """How many seconds it takes."""
        return sum(wait + FROZEN * (each == "freeze") for wait, each in self.steps)

    def carry_out(self, crew: Crew, under_way: Callable[[], int]) -> int:
        """Do it, once the first event is being sent; return how many events were under way at those moments."""
        total, until = 0, time.monotonic() + 60
        while not under_way() and time.monotonic() < until:
            time.sleep(0.05)
        for wait, each in self.steps:
            time.sleep(wait)
            total += under_way()
            crew.kill_one() if each == "kill" else crew.freeze_one()
        return total


class Crew:
    """The processes, and what is done to them."""

    def __init__(self, options: dict[str, Any], randomness: random.Random) -> None:
        self.options = options
        self.random = randomness
        self.processes = [self.start(which) for which in range(3)]

    def start(self, which: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.campaigns.outbox_kill", "--process", str(which)]
        return subprocess.Popen([*command, json.dumps(self.options)])

    def kill_one(self) -> None:
        which = self.random.randrange(3)
        self.processes[which].send_signal(signal.SIGKILL)
        self.processes[which].wait()
        self.processes[which] = self.start(which)

    def freeze_one(self) -> None:
        """Stop one for longer than a call can last, and wake it."""
        process = self.processes[self.random.randrange(3)]
        process.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN)
        process.send_signal(signal.SIGCONT)

    def wait(self, timeout: float) -> list[int | None]:
        until = time.monotonic() + timeout
        codes: list[int | None] = []
        for process in self.processes:
            try:
                codes.append(process.wait(max(0.1, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append(None)
        return codes

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(
    events: int, kills: int, freezes: int, seed: int, folder: Path, *, window: bool, timeout: float = 240
) -> Counts:
    """Run the campaign, and count.

    :raises AssertionError: when a process failed, or did not end.
    """
    randomness = random.Random(seed)
    path = folder / "app.db"
    with sqlite3.connect(path) as app:
        app.execute("PRAGMA journal_mode = WAL")
        app.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    app.close()
    dedupe = Dedupe(header=HEADER) if window else None
    faults = SeededFaults(seed, FAULTS)
    plan = Plan.draw(randomness, kills, freezes, 0.4, 1.2)
    with MockRefold(rate_limit=None, faults=faults, latency=LATENCY, dedupe=dedupe) as server:
        options = {
            "begin": time.time() + 1.0, "span": plan.span, "events": events,
            "path": str(path), "url": server.url, "window": window,
            "api_key": server.api_key, "account": server.linked_account_id,
        }  # fmt: skip
        crew = Crew(options, randomness)
        try:
            caught = plan.carry_out(crew, lambda: under_way(path))
            codes = crew.wait(timeout)
        finally:
            crew.end()
        assert codes == [0, 0, 0], f"the processes ended with {codes}"
        fired = Counter(entry.payload["id"] for entry in server.ledger.fired)
        met = server.ledger.faults()
        hidden = sum(met[fault.name] for fault in FAULTS if fault.hides_truth)
    return count(path, fired, events, hidden, kills, freezes, caught)


def under_way(path: Path) -> int:
    """Return how many events are being sent."""
    with closing(sqlite3.connect(path, timeout=30)) as own:
        try:
            found: int = own.execute(
                "SELECT count(*) FROM refold_outbox WHERE state IN ('sending', 'resending')"
            ).fetchone()[0]
        except sqlite3.OperationalError:  # no process has made the table yet
            return 0
        return found


def count(path: Path, fired: Counter[int], events: int, hidden: int, kills: int, freezes: int, caught: int) -> Counts:
    with sqlite3.connect(path) as app:
        rows = {
            int(key.removeprefix("order-")): (state, due)
            for key, state, due in app.execute("SELECT key, state, due FROM refold_outbox")
        }
        orders = {number for (number,) in app.execute("SELECT id FROM orders")}
    app.close()
    assert orders == {number for number in range(events) if not is_rolled_back(number)}
    held = {number for number, (state, due) in rows.items() if state == "ambiguous" and due is None}
    says_fired = {number for number, (state, _) in rows.items() if state == "accepted"}
    says_not = {number for number, (state, _) in rows.items() if state in ("queued", "rejected")}
    return Counts(
        fired=sum(fired.values()),
        twice=sum(times > 1 for times in fired.values()),
        lost=len(orders - set(rows)) + sum(not fired[number] for number in orders - held),
        lies=sum(not fired[number] for number in says_fired) + sum(fired[number] > 0 for number in says_not),
        rolled_back=sum(number not in orders for number in fired),
        held=len(held),
        may_be_held=hidden + (kills + freezes) * CONCURRENCY,
        stuck=len(set(rows) - held - says_fired - {n for n, (state, _) in rows.items() if state == "rejected"}),
        kills=kills,
        freezes=freezes,
        under_way=caught,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--freezes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--process", nargs=2, metavar=("WHICH", "OPTIONS"))
    given = parser.parse_args()
    if given.process:
        which, options = int(given.process[0]), json.loads(given.process[1])
        asyncio.run(work(options, which) if which < 2 else deliver_beside(options))
        return 0
    good = True
    for window in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            counts = run(given.events, given.kills, given.freezes, given.seed, Path(folder), window=window)
        print("with a declared window:" if window else "without a window:", asdict(counts))
        good = good and counts.is_good and counts.under_way >= given.kills and not (window and counts.held)
    print("good" if good else "BROKEN")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
