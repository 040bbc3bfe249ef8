"""What a put costs: alone, beside others, in a large file, and by the thousand."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anyio

from refold_async import RateLimit, RefoldClient, Trigger
from refold_async.outbox import SQLiteOutbox
from refold_async.outbox.postgres import PostgresStore, schema_sql
from refold_async.testing import MockRefold
from tests.fakes.transport import FakeTransport, client_over

Synchronous = Literal["full", "normal"]

PUTTER = "import sys; from benchmarks.outbox.putting import put_beside; put_beside(*sys.argv[1:])"


def trigger(number: int) -> Trigger:
    """Return an event of the usual size."""
    payload = {"n": number, "name": f"Acmé {number}", "amount": number * 1.25, "stage": "won", "note": "some, note"}
    return Trigger("pipedrive", "Deal Created", payload, linked_account_id="acct_1")


def pairs(count: int) -> Iterator[tuple[str, Trigger]]:
    """Return so many events with keys."""
    return ((f"deals.csv:{number}", trigger(number)) for number in range(count))


async def timed_puts(outbox: SQLiteOutbox, count: int) -> list[float]:
    """Put so many events one after the other; return how many seconds each took."""
    taken = []
    for number in range(count):
        event = trigger(number)
        began = time.perf_counter()
        await outbox.put(event)
        taken.append(time.perf_counter() - began)
    return taken


def puts(folder: Path, *, synchronous: Synchronous, count: int) -> list[float]:
    """Return the microseconds of each put into a file of its own."""

    async def main() -> list[float]:
        async with SQLiteOutbox(folder / f"{synchronous}.db", synchronous=synchronous) as outbox:
            await timed_puts(outbox, 50)
            return await timed_puts(outbox, count)

    return [seconds * 1e6 for seconds in anyio.run(main)]


def put_beside(path: str, seconds: str, pause: str) -> None:
    """Put for so many seconds with pauses, in a process of its own; print the milliseconds of each put."""

    async def main() -> list[float]:
        taken: list[float] = []
        async with SQLiteOutbox(path, synchronous="normal") as outbox:
            until = time.monotonic() + float(seconds)
            while time.monotonic() < until:
                taken += await timed_puts(outbox, 1)
                await anyio.sleep(float(pause))
        return taken

    print(json.dumps([each * 1e3 for each in anyio.run(main)]))


def beside(folder: Path, *, seconds: float, pause: float, rate_limit: RateLimit | None) -> list[float]:
    """Return the milliseconds of each put of four processes, while a fifth relays."""
    path = folder / f"beside-{pause}-{rate_limit}.db"
    command = [sys.executable, "-c", PUTTER, str(path), str(seconds), str(pause)]

    async def main() -> list[float]:
        with MockRefold(rate_limit=None) as server:
            async with (
                server.client(rate_limit=rate_limit) as client,
                SQLiteOutbox(path, synchronous="normal") as outbox,
                outbox.relay(client),
            ):
                putters = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]  # noqa: ASYNC220
                printed = [await anyio.to_thread.run_sync(putter.communicate) for putter in putters]
            assert server.ledger.fired, "nothing was relayed meanwhile"
        return [each for out, _ in printed for each in json.loads(out)]

    return anyio.run(main)


async def relayed(outbox: SQLiteOutbox, count: int) -> float:
    """Return the seconds for each of so many events, through a transport that answers at once."""
    transport = FakeTransport()
    client: RefoldClient = client_over(transport)
    async with client:
        began = time.perf_counter()
        async with outbox.relay(client, prune_after=None):
            while len(transport.answered) < count:  # noqa: ASYNC110 - the transport tells nobody
                await anyio.sleep(0.005)
            taken = time.perf_counter() - began
    return taken / len(transport.answered)


def large(folder: Path, *, rows: int, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Return what a put and a relayed event cost in a file of many rows ÷ in one of few, for each round.

    Half of the rows have been accepted, and half are queued.
    """

    async def main() -> tuple[list[float], list[float]]:
        few = SQLiteOutbox(folder / "few.db", synchronous="normal")
        many = SQLiteOutbox(folder / "many.db", synchronous="normal")
        async with few, many:
            await many.put_many(pairs(rows))
            with sqlite3.connect(many.path) as own:
                own.execute("UPDATE refold_outbox SET state = 'accepted', due = NULL WHERE seq % 2")
            own.close()
            put, relay = [], []
            for _ in range(rounds):
                medians = {}
                for outbox in (few, many):
                    medians[outbox] = statistics.median(await timed_puts(outbox, count))
                put.append(medians[many] / medians[few])
                relay.append(await relayed(many, count) / await relayed(few, count))
        return put, relay

    return anyio.run(main)


def by_hand(pair: tuple[str, Trigger], now: float) -> tuple[Any, ...]:
    """Return the columns of a row, as somebody would write them without an outbox."""
    key, event = pair
    text = json.dumps(
        {
            "slug": event.slug,
            "event": event.event,
            "payload": event.payload,
            "linked_account_id": event.linked_account_id,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return key, text, hashlib.sha256(text.encode()).hexdigest(), None, "queued", 0, now, now, now


COLUMNS = 'key, "trigger", digest, ordering_key, state, attempt, due, created, updated'


def many_in_sqlite(folder: Path, *, rows: int, rounds: int) -> list[float]:
    """Return the time of `put_many` ÷ that of `executemany`, for each round."""

    async def main() -> list[float]:
        found = []
        for number in range(rounds):
            async with SQLiteOutbox(folder / f"ours-{number}.db", synchronous="normal") as outbox:
                began = time.perf_counter()
                await outbox.put_many(pairs(rows))
                ours = time.perf_counter() - began
            async with SQLiteOutbox(folder / f"hand-{number}.db", synchronous="normal") as outbox:
                path = outbox.path
            own = sqlite3.connect(path, isolation_level=None)
            own.execute("PRAGMA synchronous = normal")
            began = time.perf_counter()
            chunk: list[Any] = []
            for pair in pairs(rows):
                chunk.append(by_hand(pair, time.time()))
                if len(chunk) == 1000:
                    own.execute("BEGIN")
                    own.executemany(f"INSERT INTO refold_outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", chunk)
                    own.execute("COMMIT")
                    chunk = []
            theirs = time.perf_counter() - began
            own.close()
            found.append(ours / theirs)
        return found

    return anyio.run(main)


def many_in_postgres(url: str, *, rows: int, rounds: int) -> list[float]:
    """Return the time of `put_many` ÷ that of COPY into the same table, for each round."""
    import psycopg

    def empty() -> None:
        with psycopg.connect(url, autocommit=True) as own:
            own.execute("DROP TABLE IF EXISTS refold_outbox, refold_outbox_meta")
            own.execute(schema_sql().encode())

    async def main() -> list[float]:
        found = []
        for _ in range(rounds):
            empty()
            async with PostgresStore(url) as store:
                began = time.perf_counter()
                await store.put_many(pairs(rows))
                ours = time.perf_counter() - began
            empty()
            async with await psycopg.AsyncConnection.connect(url) as own:
                began = time.perf_counter()
                stamp = "2026-11-25 12:00:00+00"
                events = pairs(rows)
                for _ in range(0, rows, 5000):
                    async with (
                        own.transaction(),
                        own.cursor() as cursor,
                        cursor.copy(f"COPY refold_outbox ({COLUMNS}) FROM STDIN".encode()) as copy,
                    ):
                        for _, pair in zip(range(5000), events, strict=False):
                            await copy.write_row((*by_hand(pair, 0.0)[:6], stamp, stamp, stamp))
                theirs = time.perf_counter() - began
            found.append(ours / theirs)
        return found

    return anyio.run(main)
