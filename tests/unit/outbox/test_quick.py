"""Puts that are made where they are asked for: they wait for nobody, keep their order, and flush no disk."""

# ruff: noqa: ASYNC240 - small local files
from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

from refold_async import InvalidTriggerError, OutboxError, Trigger
from refold_async.outbox import SQLiteOutbox
from refold_async.outbox._quick import QuickConnection

pytestmark = pytest.mark.anyio

TRIGGER = Trigger("crm", "Placed", {"id": 7})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refold.db"


def row(key: str) -> tuple[Any, ...]:
    return key, "{}", "digest", None, "queued", 0, 1.0, 1.0, 1.0


@contextmanager
def quick(path: Path) -> Iterator[QuickConnection]:
    """A quick connection that is past the two puts of its round that it refuses."""
    connection = QuickConnection(path)
    connection.open()
    for number in range(128):
        connection.put(row(f"first-{number}"))
    connection.put(row("first-128"))
    yield connection
    connection.close()


async def made(path: Path, synchronous: Literal["full", "normal"] = "normal") -> None:
    async with SQLiteOutbox(path, synchronous=synchronous):
        pass


def threads_of(outbox: SQLiteOutbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record in which thread each row is written."""
    threads: list[str] = []
    put, execute = QuickConnection.put, outbox._database.use

    def spied(self: QuickConnection, values: Any) -> bool:
        done = put(self, values)
        if done:
            threads.append(threading.current_thread().name)
        return done

    def used() -> Any:
        threads.append(threading.current_thread().name)
        return execute()

    monkeypatch.setattr(QuickConnection, "put", spied)
    monkeypatch.setattr(outbox._database, "use", used)
    return threads


async def test_all_puts_but_two_of_a_round_are_made_without_the_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        threads = threads_of(outbox, monkeypatch)
        for _ in range(256):
            await outbox.put(TRIGGER)
        assert 4 <= threads.count("refold-outbox") <= 6, "the first, and two of each round"
        assert len(threads) == 256
        assert (await outbox.stats()).queued == 256


async def test_each_put_that_flushes_the_disk_is_made_in_the_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SQLiteOutbox(path, synchronous="full") as outbox:
        threads = threads_of(outbox, monkeypatch)
        for _ in range(20):
            await outbox.put(TRIGGER)
    assert set(threads) == {"refold-outbox"}


async def test_an_apps_own_file_without_a_write_ahead_log_is_written_in_the_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path)) as app:
        app.execute("CREATE TABLE orders (id INTEGER)")
        app.commit()
    async with SQLiteOutbox(path, synchronous="normal", shared=True) as outbox:
        threads = threads_of(outbox, monkeypatch)
        for _ in range(20):
            await outbox.put(TRIGGER)
    assert set(threads) == {"refold-outbox"}


async def test_a_lock_of_another_program_is_waited_for_by_the_thread_only(path: Path) -> None:
    async with SQLiteOutbox(path, synchronous="normal", timeout=60) as outbox:
        for _ in range(5):
            await outbox.put(TRIGGER)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                group.start_soon(outbox.put, TRIGGER)
                for _ in range(50):  # the loop goes on meanwhile
                    await anyio.lowlevel.checkpoint()
                assert other.execute("SELECT count(*) FROM refold_outbox").fetchone() == (5,)
                other.execute("COMMIT")
        assert (await outbox.stats()).queued == 6


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio begins tasks in no order
async def test_puts_that_run_at_the_same_time_are_kept_in_the_order_of_their_calls(path: Path) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        async with anyio.create_task_group() as group:
            for number in range(700):
                group.start_soon(_put, outbox, number)
                if number % 100 == 0:
                    await anyio.lowlevel.checkpoint()
                if number == 350:
                    await outbox.stats()
        rows, _ = await outbox.due_rows(1000)
    with closing(sqlite3.connect(path)) as own:
        kept = [key for (key,) in own.execute("SELECT key FROM refold_outbox ORDER BY seq")]
    assert kept == [f"k{number}" for number in range(700)]
    assert len(rows) == 1, "the first of the ordering key, and no other"


async def _put(outbox: SQLiteOutbox, number: int) -> None:
    await outbox.put(Trigger("crm", "Placed", {"n": number}, ordering_key="o"), key=f"k{number}")


async def test_a_put_of_the_same_key_does_nothing_and_of_another_trigger_is_refused(path: Path) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        for _ in range(10):
            await outbox.put(TRIGGER, key="a")
            await outbox.put(Trigger("crm", "Other"), key="b")
            with pytest.raises(InvalidTriggerError, match="another trigger"):
                await outbox.put(TRIGGER, key="b")
        assert (await outbox.stats()).queued == 2


async def test_a_put_that_is_cancelled_before_it_began_puts_nothing(path: Path) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        for _ in range(5):
            await outbox.put(TRIGGER)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await outbox.put(TRIGGER)
        assert scope.cancelled_caught
        assert (await outbox.stats()).queued == 5


async def test_the_log_does_not_grow_without_end_where_nobody_relays(path: Path) -> None:
    event = Trigger("crm", "Placed", {"text": "x" * 2000})
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        for _ in range(3000):
            await outbox.put(event)
        size = Path(f"{path}-wal").stat().st_size
    assert size < 12_000_000, "a checkpoint is made at a thousand pages, by the puts that the thread makes"


async def test_a_relay_of_this_process_sends_what_was_put_quickly(path: Path) -> None:
    from tests.fakes.transport import FakeTransport, client_over

    transport = FakeTransport()
    async with (
        client_over(transport) as client,
        SQLiteOutbox(path, synchronous="normal") as outbox,
        outbox.relay(client, poll=1000),
    ):
        for _ in range(30):
            await outbox.put(TRIGGER)
        with anyio.fail_after(30):
            while (await outbox.stats()).accepted < 30:  # noqa: ASYNC110 - a relay tells nobody
                await anyio.sleep(0.01)
    assert len(transport.answered) == 30


async def test_after_the_end_a_put_is_refused(path: Path) -> None:
    outbox = SQLiteOutbox(path, synchronous="normal")
    for _ in range(5):
        await outbox.put(TRIGGER)
    await outbox.aclose()
    with pytest.raises(OutboxError, match="closed"):
        await outbox.put(TRIGGER)
    with closing(sqlite3.connect(path)) as own:
        assert own.execute("SELECT count(*) FROM refold_outbox").fetchone() == (5,)


async def test_it_puts_nothing_while_another_thread_puts(path: Path) -> None:
    await made(path)
    with quick(path) as connection:
        assert connection.put(row("a"))
        with connection._lock:
            assert not connection.put(row("b"))
        assert connection.put(row("b"))


async def test_it_is_closed_by_an_error_and_opened_again(path: Path) -> None:
    await made(path)
    with quick(path) as connection:
        with closing(sqlite3.connect(path)) as other:
            other.execute("ALTER TABLE refold_outbox RENAME TO gone")
            other.commit()
            assert not connection.put(row("a"))
            other.execute("ALTER TABLE gone RENAME TO refold_outbox")
            other.commit()
        assert not connection.put(row("a"))
        connection.open()
        assert connection.put(row("a"))


async def test_what_was_put_is_not_called_lost_because_no_second_connection_can_be_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def connects_once(*args: Any, **options: Any) -> Any:
        if options.get("timeout") == 0:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", connects_once)
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        for _ in range(5):
            await outbox.put(TRIGGER)
        assert (await outbox.stats()).queued == 5


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[sqlite3.Connection]]]:
    """Make this process look like a forked child from the call on; it returns what the parent's connections are."""
    left: list[sqlite3.Connection] = []
    monkeypatch.setattr("refold_async.outbox._database.LEFT_BEHIND", left)
    pid = os.getpid()

    def fork() -> list[sqlite3.Connection]:
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        return left

    yield fork
    for connection in left:
        connection.close()


async def test_a_lock_that_a_fork_left_held_stops_nobody(
    path: Path, forked: Callable[[], list[sqlite3.Connection]]
) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        await outbox.put(TRIGGER)
        quick = outbox._quick
        assert quick is not None
        with quick._lock:
            left = forked()
            for _ in range(5):
                await outbox.put(TRIGGER)
            assert (await outbox.stats()).queued == 6
            await outbox.aclose()
        assert len(left) == 2


async def test_after_a_fork_the_child_neither_uses_nor_closes_the_connections_of_its_parent(
    path: Path, forked: Callable[[], list[sqlite3.Connection]]
) -> None:
    outbox = SQLiteOutbox(path, synchronous="normal")
    for _ in range(5):
        await outbox.put(TRIGGER)
    left = forked()
    await outbox.aclose()
    assert len(left) == 2
    for connection in left:  # they can still be used, as the parent does
        assert connection.execute("SELECT count(*) FROM refold_outbox").fetchone() == (5,)
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        await outbox.put(TRIGGER)
        assert (await outbox.stats()).queued == 6


PUT = """
import asyncio, sys
from refold_async import Trigger
from refold_async.outbox import SQLiteOutbox

async def main():
    async with SQLiteOutbox(sys.argv[1], synchronous="normal") as outbox:
        for number in range(100_000):
            print(await outbox.put(Trigger("crm", "Placed", {"n": number}), key=f"{sys.argv[2]}-{number}"), flush=True)

asyncio.run(main())
"""


def test_what_was_put_is_there_when_the_processes_that_put_are_killed(path: Path) -> None:
    told: list[str] = []
    for each in range(2):
        command = [sys.executable, "-c", PUT, str(path)]
        putters = [subprocess.Popen([*command, f"{each}{name}"], stdout=subprocess.PIPE, text=True) for name in "ab"]
        for putter, lines in zip(putters, (300, 150), strict=True):
            assert putter.stdout is not None
            told += [putter.stdout.readline().strip() for _ in range(lines)]
        for putter in putters:
            putter.kill()
            assert putter.stdout is not None
            told += [line.strip() for line in putter.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
            putter.wait()
            putter.stdout.close()
    with closing(sqlite3.connect(path)) as own:
        kept = {key for (key,) in own.execute("SELECT key FROM refold_outbox")}
        assert own.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert set(told) <= kept
    assert len(kept) - len(set(told)) <= 4, "at most what each of the four was putting as it was killed"
