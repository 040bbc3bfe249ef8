"""The outbox on procrastinate, whose workers are killed and frozen, held against the ledger of what really fired.

Run it with `python -m tests.campaigns.outbox_kill_procrastinate --events 1000 --kills 20 --seed 1`; it starts a
PostgreSQL of its own. Three processes save orders, each with its event in one transaction (a tenth is rolled back), and
run a worker. Orders, rows and jobs are read here with plain SQL, not by what is under test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import procrastinate
import psycopg
from attrs import asdict

from refold_async import Trigger
from refold_async.outbox.postgres import PostgresStore
from refold_async.outbox.procrastinate import Outbox
from refold_async.testing import Dedupe, MockRefold, SeededFaults
from tests.contract.servers import postgres_server

from .outbox_kill import (
    CONCURRENCY,
    FAULTS,
    HEADER,
    LATENCY,
    PACE,
    Counts,
    Crew,
    Plan,
    client_of,
    is_rolled_back,
    wait_for_turn,
)

PROCESSES = 3

_AGREE = """SELECT count(*) FROM refold_outbox o LEFT JOIN procrastinate_jobs j ON j.id = o.job WHERE NOT coalesce(
    CASE WHEN o.state = 'accepted' THEN j.status = 'succeeded'
    WHEN o.state = 'rejected' OR o.state = 'ambiguous' AND o.due IS NULL THEN j.status = 'failed' END, false)"""
"""Events of which row and job do not say the same, or that are not settled."""


def app_of(url: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=6))


async def work(options: dict[str, Any], share: int) -> None:
    """Save orders, and send."""
    app = app_of(options["database"])
    outbox = Outbox(app, client=lambda: client_of(options), pace=PACE, stalled_after=1.0)
    async with app.open_async():
        worker = asyncio.ensure_future(
            app.run_worker_async(
                concurrency=CONCURRENCY, install_signal_handlers=False, fetch_job_polling_interval=0.1,
                update_heartbeat_interval=0.25, stalled_worker_timeout=1.0, shutdown_graceful_timeout=5,
            )
        )  # fmt: skip
        async with await psycopg.AsyncConnection.connect(options["database"]) as orders:
            for number in range(share, options["events"], PROCESSES):
                await wait_for_turn(options, number)
                async with orders.transaction() as transaction:
                    cursor = await orders.execute(
                        "INSERT INTO orders VALUES (%s) ON CONFLICT DO NOTHING RETURNING id", (number,)
                    )
                    if not await cursor.fetchone():
                        continue
                    await outbox.put(Trigger("crm", "Placed", {"id": number}), connection=orders, key=f"order-{number}")
                    if is_rolled_back(number):
                        raise psycopg.Rollback(transaction)
        while not await is_done(options):
            await outbox.reap()
            await asyncio.sleep(0.2)
        worker.cancel()
        await asyncio.wait([worker])


async def is_done(options: dict[str, Any]) -> bool:
    expected = sum(not is_rolled_back(number) for number in range(options["events"]))
    async with await psycopg.AsyncConnection.connect(options["database"], autocommit=True) as own:
        found = await (await own.execute("SELECT count(*) FROM refold_outbox")).fetchone()
        open_ones = await (await own.execute(_AGREE)).fetchone()
    return found == (expected,) and open_ones == (0,)


class Workers(Crew):
    def start(self, which: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.campaigns.outbox_kill_procrastinate", "--process", str(which)]
        return subprocess.Popen([*command, json.dumps(self.options)])


async def prepare(url: str) -> None:
    app = app_of(url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as own:
        await own.execute("DROP SCHEMA public CASCADE")
        await own.execute("CREATE SCHEMA public")
        await own.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    store = PostgresStore(url)
    await store.create_schema()
    await store.aclose()


def run(
    url: str, events: int, kills: int, freezes: int, seed: int, *, window: bool, timeout: float = 240
) -> tuple[Counts, int]:
    """Run the campaign; return what was counted, and how many jobs say something else than their rows.

    :raises AssertionError: when a process failed, or did not end.
    """
    randomness = random.Random(seed)
    asyncio.run(prepare(url))
    dedupe = Dedupe(header=HEADER) if window else None
    faults = SeededFaults(seed, FAULTS)
    plan = Plan.draw(randomness, kills, freezes, 0.8, 1.6)
    with MockRefold(rate_limit=None, faults=faults, latency=LATENCY, dedupe=dedupe) as server:
        options = {
            "begin": time.time() + 1.0, "span": plan.span, "events": events,
            "database": url, "url": server.url, "window": window,
            "api_key": server.api_key, "account": server.linked_account_id,
        }  # fmt: skip
        crew = Workers(options, randomness)
        try:
            caught = plan.carry_out(crew, lambda: under_way(url))
            codes = crew.wait(timeout)
        finally:
            crew.end()
        fired = Counter(entry.payload["id"] for entry in server.ledger.fired)
        met = server.ledger.faults()
        hidden = sum(met[fault.name] for fault in FAULTS if fault.hides_truth)
    with psycopg.connect(url) as own:
        rows = {
            int(key.removeprefix("order-")): (state, due)
            for key, state, due in own.execute("SELECT key, state, due FROM refold_outbox")
        }
        orders = {number for (number,) in own.execute("SELECT id FROM orders")}
        disagree = own.execute(_AGREE.encode()).fetchone()
    assert codes == [0, 0, 0], f"the processes ended with {codes}"
    assert disagree is not None
    return count(rows, orders, fired, hidden, kills, freezes, caught), disagree[0]


def under_way(url: str) -> int:
    """Return how many events are being sent."""
    with psycopg.connect(url) as own:
        found = own.execute("SELECT count(*) FROM refold_outbox WHERE state IN ('sending', 'resending')").fetchone()
        assert found is not None
        return int(found[0])


def count(
    rows: dict[int, tuple[str, Any]],
    orders: set[int],
    fired: Counter[int],
    hidden: int,
    kills: int,
    freezes: int,
    caught: int,
) -> Counts:
    held = {number for number, (state, due) in rows.items() if state == "ambiguous" and due is None}
    accepted = {number for number, (state, _) in rows.items() if state == "accepted"}
    rejected = {number for number, (state, _) in rows.items() if state == "rejected"}
    queued = {number for number, (state, _) in rows.items() if state == "queued"}
    return Counts(
        fired=sum(fired.values()),
        twice=sum(times > 1 for times in fired.values()),
        lost=len(orders - set(rows)) + sum(not fired[number] for number in orders - held),
        lies=sum(not fired[number] for number in accepted) + sum(fired[number] > 0 for number in queued | rejected),
        rolled_back=sum(number not in orders for number in fired),
        held=len(held),
        may_be_held=hidden + (kills + freezes) * CONCURRENCY,
        stuck=len(set(rows) - held - accepted - rejected),
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
        logging.disable()  # each held event is an error to procrastinate
        asyncio.run(work(json.loads(given.process[1]), int(given.process[0])))
        return 0
    good = True
    with postgres_server() as server:
        if server is None:
            print("no PostgreSQL here")
            return 1
        for window in (False, True):
            counts, disagree = run(server.url, given.events, given.kills, given.freezes, given.seed, window=window)
            words = "with a declared window:" if window else "without a window:"
            print(words, asdict(counts), "jobs that disagree:", disagree)
            good = good and counts.is_good and counts.under_way >= given.kills
            good = good and not disagree and not (window and counts.held)
    print("good" if good else "BROKEN")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
