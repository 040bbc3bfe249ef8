"""What befalls an outbox's file, truly made: full disks, files that may not be written, locks, torn and damaged files.

Each must end in an error that names the cure, and what was put before must be there afterwards.
"""

# ruff: noqa: ASYNC220, ASYNC240 - small local files, and processes that are started at once
from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from refold_async import OutboxError, OutboxFileError, OutboxWriteError, Trigger
from refold_async.outbox import SQLiteOutbox

pytestmark = pytest.mark.anyio

BEGIN = """
import asyncio, json, os, resource, signal, sys
from pathlib import Path
from refold_async import OutboxError, OutboxFileError, OutboxWriteError, Trigger
from refold_async.outbox import SQLiteOutbox

folder = Path(sys.argv[1])
path = folder / "refold.db"
big = Trigger("crm", "Placed", {"x": "y" * 3000})

async def put_until_it_fails(outbox, most=2000):
    for number in range(most):
        try:
            await outbox.put(big, key=f"big-{number}")
        except OutboxError as error:
            return number, error
    raise AssertionError("nothing failed")

async def keys(outbox):
    stats = await outbox.stats()
    return stats.queued
"""

FULL = """
async def main():
    filler = folder / "filler"
    async with SQLiteOutbox(path) as outbox:
        await outbox.put(big, key="before")
        filler.write_bytes(b"x" * 150_000)
        put, error = await put_until_it_fails(outbox)
        assert isinstance(error, OutboxWriteError) and "the disk is full" in str(error), error
        assert await keys(outbox) == put + 1, "what was put can be read while the disk is full"
        try:
            await outbox.put_many((f"many-{n}", big) for n in range(500))
        except OutboxWriteError:
            assert await keys(outbox) == put + 1, "a chunk is in as a whole, or not at all"
        else:
            raise AssertionError("500 more found room")
        filler.unlink()
        await outbox.put(big, key="after")
        kept = await keys(outbox)
    async with SQLiteOutbox(path) as outbox:
        assert await keys(outbox) == kept == put + 2
    print(json.dumps(kept))

asyncio.run(main())
"""

FULL_RELAY = """
from refold_async.testing import MockRefold

async def main():
    filler = folder / "filler"
    server = MockRefold(rate_limit=None)
    with server:
        async with server.client(rate_limit=None) as client, SQLiteOutbox(path) as outbox:
            for number in range(5):
                await outbox.put(Trigger("crm", "Placed", {"n": number}))
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 1024)
                except OSError:
                    pass
            async with outbox.relay(client):
                await asyncio.sleep(1.5)
                sent = len(server.ledger.entries)
                filler.unlink()
                for _ in range(400):
                    if (await outbox.stats()).accepted == 5:
                        break
                    await asyncio.sleep(0.05)
            stats = await outbox.stats()
    assert sorted(entry.payload["n"] for entry in server.ledger.fired) == [0, 1, 2, 3, 4]
    assert (stats.accepted, stats.held) == (5, 0), stats
    print(json.dumps(sent))

asyncio.run(main())
"""

TOO_LARGE = """
async def main():
    async with SQLiteOutbox(path) as outbox:
        await outbox.put(big, key="before")
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
        put, error = await put_until_it_fails(outbox)
        assert isinstance(error, OutboxWriteError) and "disk" in str(error), error
        assert await keys(outbox) == put + 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        await outbox.put(big, key="after")
        assert await keys(outbox) == put + 2
    async with SQLiteOutbox(path) as outbox:
        print(json.dumps(await keys(outbox)))

asyncio.run(main())
"""

FORBIDDEN = """
async def main():
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        async with SQLiteOutbox(path) as outbox:
            await outbox.put(big, key="k")
    except OutboxFileError as error:
        print(json.dumps(str(error)))

asyncio.run(main())
"""


def child(program: str, folder: Path, *before: str) -> Any:
    command = [*before, sys.executable, "-c", BEGIN + program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refold.db"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="refold-outbox-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def small_disk(folder: Path, size: str) -> list[str]:
    """Return what runs a command with a small disk of its own at that folder."""
    begin = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size={size} tmpfs {folder}"
    try:
        done = subprocess.run([*begin, mount], capture_output=True, timeout=150, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode()[:100]}")
    return [*begin, f'{mount} && exec "$@"', "sh"]


def test_a_disk_that_is_full_says_so_and_what_was_put_is_there_once_there_is_room(tmp_path: Path) -> None:
    assert child(FULL, tmp_path, *small_disk(tmp_path, "800k")) > 2


def test_a_relay_on_a_full_disk_sends_nothing_and_everything_once_there_is_room(tmp_path: Path) -> None:
    assert child(FULL_RELAY, tmp_path, *small_disk(tmp_path, "400k")) == 0


def test_a_file_that_may_not_grow_says_so_and_what_was_put_is_there(tmp_path: Path) -> None:
    assert child(TOO_LARGE, tmp_path) > 2


@pytest.mark.parametrize("forbidden", ["file", "folder"])
async def test_a_file_or_folder_that_may_not_be_written_says_so_and_loses_nothing(
    open_folder: Path, forbidden: str
) -> None:
    path = open_folder / "refold.db"
    async with SQLiteOutbox(path) as outbox:
        await outbox.put(Trigger("crm", "Placed"), key="before")
    path.chmod(0o444 if forbidden == "file" else 0o666)
    open_folder.chmod(0o777 if forbidden == "file" else 0o555)
    said = await anyio.to_thread.run_sync(child, FORBIDDEN, open_folder)
    assert "permissions" in said
    assert str(path) in said
    open_folder.chmod(0o777)
    path.chmod(0o600)
    async with SQLiteOutbox(path) as outbox:
        assert (await outbox.stats()).queued == 1
        await outbox.put(Trigger("crm", "Placed"), key="k")


async def test_a_lock_that_another_process_holds_says_so_and_nothing_is_lost(path: Path) -> None:
    program = (
        "import sqlite3, sys\n"
        "own = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "own.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    async with SQLiteOutbox(path, timeout=0.05) as outbox:
        await outbox.put(Trigger("crm", "Placed"), key="before")
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            await anyio.to_thread.run_sync(other.stdout.readline)
            with pytest.raises(OutboxWriteError, match=r"another program holds its lock, for longer than 0\.05 s"):
                await outbox.put(Trigger("crm", "Placed"), key="k")
            with pytest.raises(OutboxWriteError, match="lock"):
                await outbox.put_many([("many", Trigger("crm", "Placed"))])
            assert (await outbox.stats()).queued == 1
            async with SQLiteOutbox(path, timeout=0.05) as second:
                assert (await second.stats()).queued == 1, "reading goes on"
            other.kill()
        await outbox.put(Trigger("crm", "Placed"), key="k")
        assert (await outbox.stats()).queued == 2


# Torn and damaged files.


def leave_a_wal(path: Path, rows: int) -> None:
    """Put so many rows in a process that is killed, so that they are in the write-ahead log only."""
    program = BEGIN + (
        "async def main():\n"
        "    outbox = SQLiteOutbox(path)\n"
        f"    for n in range({rows}):\n"
        "        await outbox.put(Trigger('crm', 'Placed', {'n': n}), key=str(n))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path.parent)], timeout=150, check=False)
    assert done.returncode == -signal.SIGKILL


async def keys_of(path: Path) -> list[str]:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        due = await outbox.due_keys()
    own = sqlite3.connect(path)
    assert own.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    own.close()
    return due


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "followed by rubbish"])
async def test_a_torn_wal_costs_only_what_came_after_the_tear_and_putting_again_mends_it(
    path: Path, damage: str
) -> None:
    await anyio.to_thread.run_sync(leave_a_wal, path, 30)
    wal = Path(f"{path}-wal")
    database, whole = path.read_bytes(), wal.read_bytes()
    randomness = random.Random(4)
    kept_before = -1
    for at in sorted(randomness.sample(range(len(whole)), 12)):
        for leftover in path.parent.iterdir():
            leftover.unlink()
        path.write_bytes(database)
        rubbish = randomness.randbytes(3000)
        torn = {
            "cut off": whole[:at],
            "overwritten": whole[:at] + rubbish[: len(whole) - at] + whole[at + 3000 :],
            "followed by rubbish": whole + rubbish,
        }[damage]
        wal.write_bytes(torn)
        keys = await keys_of(path)
        assert keys == [str(n) for n in range(len(keys))], "what was put last goes first"
        assert len(keys) >= kept_before, "a later tear costs more than an earlier one"
        kept_before = len(keys)
        assert damage != "followed by rubbish" or len(keys) == 30
        async with SQLiteOutbox(path, synchronous="normal") as outbox:
            assert await outbox.put_many((str(n), Trigger("crm", "Placed", {"n": n})) for n in range(30)) == 30
        assert await keys_of(path) == [str(n) for n in range(30)]


async def test_a_damaged_file_says_so_and_is_left_as_it_is(path: Path) -> None:
    async with SQLiteOutbox(path, synchronous="normal") as outbox:
        await outbox.put_many((str(n), Trigger("crm", "Placed", {"n": n})) for n in range(2000))
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096 - 1):
        content[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(content)
    outbox = SQLiteOutbox(path, synchronous="normal")
    with pytest.raises(OutboxFileError, match=r"damaged.*recover"):
        await outbox.put_many((str(n), Trigger("crm", "Placed", {"n": n})) for n in range(2000))
    with pytest.raises(OutboxError):
        await outbox.due_keys()
    await outbox.aclose()
    assert path.read_bytes() == bytes(content)
