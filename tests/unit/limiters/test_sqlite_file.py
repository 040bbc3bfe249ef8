"""The file of a shared limit, when others meddle with it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refold_async import RateLimit, SQLiteRateLimiter
from refold_async.limiters.sqlite import SQLiteStore
from refold_async.policies.shared_pacing import Answer, Question

Make = Callable[[], SQLiteStore]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes stores of one file, each for another process."""
    made: list[SQLiteStore] = []

    def new() -> SQLiteStore:
        made.append(SQLiteStore(tmp_path / "limit.db", "fleet"))
        return made[-1]

    yield new
    for store in made:
        for connection in store._abandoned:
            connection.close()
        store.close_now()


def ask(store: SQLiteStore, member: str) -> Answer:
    return store.ask_now(Question(member, RateLimit()))


def delete(folder: Path) -> None:
    for path in folder.glob("limit.db*"):
        path.unlink()


def test_processes_go_over_to_the_new_file_when_theirs_was_deleted(make: Make, tmp_path: Path) -> None:
    """Else those who came before and those who come later would each use the whole rate."""
    before = make()
    ask(before, "a")
    delete(tmp_path)
    assert ask(make(), "b").members == 1
    assert ask(before, "a").members == 2


def test_a_deleted_file_is_made_anew_by_who_misses_it(make: Make, tmp_path: Path) -> None:
    first, second = make(), make()
    ask(first, "a")
    ask(second, "b")
    delete(tmp_path)
    assert (ask(first, "a").members, ask(second, "b").members) == (1, 2)


def test_a_file_that_was_replaced_is_taken_for_another(make: Make, tmp_path: Path) -> None:
    store = make()
    era = ask(store, "a").era
    delete(tmp_path)
    sqlite3.connect(tmp_path / "limit.db").close()
    assert ask(store, "a").era != era


@pytest.mark.parametrize("state", ["", "null", "[]", "{}", '{"of": "another version"}', "{"])
def test_a_state_that_cannot_be_read_is_begun_anew(make: Make, tmp_path: Path, state: str) -> None:
    store = make()
    ask(store, "a")
    with sqlite3.connect(tmp_path / "limit.db") as other:
        other.execute("UPDATE refold_rate_limit SET state = ?", (state,))
    other.close()
    assert ask(store, "a").slot
    assert ask(store, "b").members == 2


def test_a_file_in_use_by_a_full_disk_is_an_error_and_heals(make: Make, tmp_path: Path) -> None:
    store = make()
    ask(store, "a")
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # what a full disk does, too
    with pytest.raises(sqlite3.Error):
        for number in range(2000):
            ask(store, f"a process with a long name, number {number}")
    assert ask(store, "a").slot


@pytest.mark.asyncio
async def test_who_still_waits_when_the_limiter_is_closed_leaves_no_connection(tmp_path: Path) -> None:
    limiter = SQLiteRateLimiter(tmp_path / "limit.db", RateLimit(20, 1), name="fleet")
    (await limiter.reserve()).sent()
    store = limiter._link().store
    assert isinstance(store, SQLiteStore)
    waiting = asyncio.ensure_future(limiter.reserve())
    await asyncio.sleep(0)
    await limiter.aclose()
    (await waiting).sent()
    while limiter._tasks:
        await asyncio.wait(limiter._tasks)
    assert store._connection is None
