"""A file of an older version is brought up to date by whatever opens it; one of a newer version is refused."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from refold_async import OutboxError, OutboxFileError, Receipt, Trigger
from refold_async.outbox import SQLiteOutbox, State, _schema
from tests.fakes.outbox import ScriptedClient

STEPS = (
    "ALTER TABLE refold_outbox ADD COLUMN note TEXT",
    "UPDATE refold_outbox SET note = 'old'",
    "CREATE INDEX refold_outbox_note ON refold_outbox (note)",
)
"""A made-up second version."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of the version that is published, with an event."""
    path = tmp_path / "refold.db"
    in_outbox(path, lambda outbox: outbox.put(Trigger("crm", "Placed", {"n": 1}), key="a"))
    return path


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this library be one version newer."""
    monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, STEPS))


def in_outbox(path: Path, work: Callable[[SQLiteOutbox], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with SQLiteOutbox(path, synchronous="normal", **options) as outbox:
            return await work(outbox)

    return asyncio.run(main())


def contents(path: Path) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the version, what there is, and the rows."""
    with sqlite3.connect(path) as own:
        version = own.execute("SELECT version FROM refold_outbox_meta").fetchall()
        things = own.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        rows = own.execute("SELECT * FROM refold_outbox ORDER BY seq").fetchall()
    own.close()
    return version, things, rows


async def accept(call: dict[str, Any]) -> Receipt:
    return Receipt(message="queued", status_code=200)


async def deliver(outbox: SQLiteOutbox) -> State:
    await outbox.deliver("a", ScriptedClient(accept))
    return (await outbox.status("a")).state


def test_an_older_file_is_brought_up_to_date_when_it_is_opened_and_keeps_its_events(path: Path, newer: None) -> None:
    newest = len(_schema.MIGRATIONS)
    (_, _, [before]) = contents(path)
    assert in_outbox(path, lambda outbox: outbox.stats()).queued == 1
    version, things, rows = contents(path)
    assert version == [(newest,)]
    assert "refold_outbox_note" in {name for _, name, _ in things}
    assert rows == [(*before, "old")]
    assert in_outbox(path, deliver) is State.ACCEPTED
    assert contents(path)[0] == [(newest,)], "it was migrated once"


def test_a_new_file_is_made_of_all_versions(tmp_path: Path, newer: None) -> None:
    path = tmp_path / "new.db"
    in_outbox(path, lambda outbox: outbox.put(Trigger("crm", "Placed")))
    version, things, _ = contents(path)
    assert version == [(len(_schema.MIGRATIONS),)]
    assert "refold_outbox_note" in {name for _, name, _ in things}


def test_of_many_that_open_an_older_file_at_once_one_migrates(path: Path, newer: None) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(lambda n: in_outbox(path, lambda outbox: outbox.put(Trigger("c", "E"), key=str(n))), range(8))
        )
    assert sorted(done) == [str(n) for n in range(8)]
    version, _, rows = contents(path)
    assert version == [(len(_schema.MIGRATIONS),)]
    assert len(rows) == 9


def test_a_newer_file_is_refused_and_stays_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, STEPS))
        in_outbox(path, lambda outbox: outbox.stats())
    before = contents(path)
    with pytest.raises(OutboxFileError, match="newer version"):
        in_outbox(path, lambda outbox: outbox.stats())

    async def join() -> None:
        own = sqlite3.connect(path)
        try:
            with own:
                own.execute("BEGIN")
                await SQLiteOutbox(path, shared=True).put(Trigger("crm", "Placed"), connection=own)
        finally:
            own.close()

    with pytest.raises(OutboxFileError, match="newer version"):
        asyncio.run(join())
    assert contents(path) == before


def test_an_older_file_is_brought_up_to_date_in_the_callers_own_transaction(path: Path, newer: None) -> None:
    before = contents(path)

    async def join(ending: Exception | None) -> None:
        own = sqlite3.connect(path)
        try:
            with own:
                own.execute("BEGIN")
                await SQLiteOutbox(path, shared=True).put(Trigger("crm", "Placed"), connection=own, key="b")
                if ending is not None:
                    raise ending
        finally:
            own.close()

    with pytest.raises(LookupError):
        asyncio.run(join(LookupError()))
    assert contents(path) == before, "it was rolled back with the rest"
    asyncio.run(join(None))
    version, _, rows = contents(path)
    assert version == [(len(_schema.MIGRATIONS),)]
    assert [row[-1] for row in rows] == ["old", None]


@pytest.mark.parametrize("good", range(len(STEPS) + 1))
def test_a_migration_that_fails_leaves_the_old_version_which_goes_on(
    path: Path, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(path)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, (*STEPS[:good], "nonsense")))
        with pytest.raises(OutboxError, match="nonsense"):
            in_outbox(path, lambda outbox: outbox.stats())
    assert contents(path) == before
    assert in_outbox(path, deliver) is State.ACCEPTED


KILLED = """
import asyncio, os, signal, sqlite3, sys
from refold_async.outbox import SQLiteOutbox, _schema
from tests.unit.outbox.test_migrations import STEPS

class Killing(sqlite3.Connection):
    def execute(self, statement, *values):
        if statement == STEPS[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *values)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **named: connect(*arguments, factory=Killing, **named)
_schema.MIGRATIONS = (*_schema.MIGRATIONS, STEPS)

async def main():
    async with SQLiteOutbox(sys.argv[1]):
        pass

asyncio.run(main())
"""


def test_a_migration_that_is_killed_leaves_the_old_version(path: Path) -> None:
    before = contents(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=150, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents(path) == before
    assert in_outbox(path, deliver) is State.ACCEPTED
