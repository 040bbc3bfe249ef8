"""`put_many` and `outbox load`, killed at seeded moments by SIGKILL and repeated: each row is there, and none twice."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import define

from .servers import Server

ROWS = 12_000
KILLS = 5

KILLER = """
import os, random, signal, sys, threading, time

def kill_when(count, rows, seconds):
    '''Kill this process, so many seconds after so many rows are there.'''
    def watch():
        while count() < rows:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watch, daemon=True).start()

def count():
    try:
        if "://" in place:
            import psycopg
            with psycopg.connect(place) as own:
                return own.execute("SELECT count(*) FROM refold_outbox").fetchone()[0]
        import sqlite3
        if not os.path.exists(place):
            return 0
        own = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
        try:
            return own.execute("SELECT count(*) FROM refold_outbox").fetchone()[0]
        finally:
            own.close()
    except Exception:
        return 0

place, rows, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
kill_when(count, rows, seconds)
"""

PUT_MANY = """
import asyncio
from refold_async import Trigger
from refold_async.outbox import SQLiteOutbox
from refold_async.outbox.postgres import PostgresStore

async def main():
    outbox = PostgresStore(place) if "://" in place else SQLiteOutbox(place, synchronous="normal")
    async with outbox:
        print(await outbox.put_many((f"row-{n}", Trigger("crm", "Placed", {"n": n})) for n in range(int(sys.argv[4]))))

asyncio.run(main())
"""

LOAD = """
from refold_async.cli import main
sys.argv = ["refold-async", "outbox", "load", sys.argv[5], "--into", place]
main()
"""


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@define
class Place:
    """Where an outbox is, and how to look into it without it."""

    name: str
    execute: Callable[[str], list[Any]]

    def numbers(self) -> list[int]:
        found = self.execute('SELECT "trigger" FROM refold_outbox ORDER BY seq')
        return [json.loads(text)["payload"]["n"] for (text,) in found]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "refold.db"

        def on_file(statement: str) -> list[Any]:
            own = sqlite3.connect(path)
            try:
                return own.execute(statement).fetchall()
            finally:
                own.close()

        return Place(str(path), on_file)
    server: Server = request.getfixturevalue("postgres")

    def on_server(statement: str) -> list[Any]:
        with psycopg.connect(server.url, autocommit=True) as own:
            return own.execute(statement.encode()).fetchall()

    from refold_async.outbox.postgres import schema_sql

    with psycopg.connect(server.url, autocommit=True) as own:
        own.execute("DROP TABLE IF EXISTS refold_outbox, refold_outbox_meta")
        own.execute(schema_sql().encode())
    return Place(server.url, on_server)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("program", [PUT_MANY, LOAD], ids=["put_many", "load"])
def test_however_often_it_is_killed_and_repeated_each_row_is_there_and_none_twice(
    place: Place, program: str, seed: int, tmp_path: Path
) -> None:
    randomness = random.Random(seed)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"slug": "crm", "event": "Placed", "payload": {{"n": {n}}}}}\n' for n in range(ROWS)))
    killed, there = 0, 0

    def run(until: int, seconds: float) -> int:
        command = [sys.executable, "-c", KILLER + program, place.name, str(until), str(seconds), str(ROWS), str(rows)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=150, check=False).returncode

    for kill in range(KILLS):
        share = ROWS * (kill + randomness.random()) / KILLS
        code = run(int(share), randomness.uniform(0.0, 0.03))
        assert code in (0, -signal.SIGKILL)
        killed += code == -signal.SIGKILL
        try:
            numbers = place.numbers()
        except sqlite3.OperationalError:  # it had not made its table yet
            numbers = []
        assert numbers == list(range(len(numbers))), "what is there is the beginning, in its order"
        assert len(numbers) >= there, "what had been put is gone"
        there = len(numbers)
    assert killed >= KILLS - 1, "it was hardly ever killed"
    assert run(ROWS + 1, 0.0) == 0
    counts = Counter(place.numbers())
    assert (len(counts), set(counts.values())) == (ROWS, {1})
    assert place.numbers() == list(range(ROWS))
