"""A rate limit for the processes of one host, in a file of SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from .._types.errors import ConfigurationError
from .._types.values import RateLimit
from ..policies.pacing import LONGEST_PAUSE
from ..policies.shared_pacing import MICRO, Answer, Question, SharedState
from ._link import ANSWER_WITHIN, Store
from ._shared import OnOutage, SharedRateLimiter

_SCHEMA = "CREATE TABLE IF NOT EXISTS refold_rate_limit (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID"


class SQLiteStore:
    """The shared state as a row of a file, which a lock of SQLite guards.

    :param wall_clock: seconds since the epoch: the clock of the host, which all its processes share.
    """

    def __init__(self, path: Path, name: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._name = name
        self._wall_clock = wall_clock
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._abandoned: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._limiter = anyio.CapacityLimiter(1)

    async def ask(self, question: Question) -> Answer:
        return await anyio.to_thread.run_sync(self.ask_now, question, limiter=self._limiter)

    def ask_now(self, question: Question) -> Answer:
        """Ask from this thread."""
        with self._lock:
            try:
                return self._ask(question)
            except sqlite3.Error:
                self.close_now()
                raise

    def _ask(self, question: Question) -> Answer:
        if self._connection is not None and self._identity() != self._file:
            self._abandon(self._connection)
        if self._connection is None:
            self._connection = self._open()
            self._file = self._identity()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute("SELECT state FROM refold_rate_limit WHERE name = ?", (self._name,)).fetchone()
            now = round(self._wall_clock() * MICRO)
            state = SharedState.new(now) if row is None else _read(row[0], now)
            answer = state.ask(question, now)
            connection.execute(
                "INSERT OR REPLACE INTO refold_rate_limit (name, state) VALUES (?, ?)",
                (self._name, json.dumps(state.to_dict(), separators=(",", ":"))),
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answer

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the file at the path from another; None if there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _abandon(self, connection: sqlite3.Connection) -> None:
        """Leave a file that was deleted or replaced, which others no longer share.

        Its connection stays open: closing it deletes the write-ahead log by its name, which may be the new file's.
        """
        self._connection = None
        self._abandoned.append(connection)

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=0.8 * ANSWER_WITHIN, isolation_level=None, check_same_thread=False
        )
        # What a crash of the host loses is a second of pacing; so nothing waits for the disk.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        return connection

    def close_now(self) -> None:
        """Close from this thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def aclose(self) -> None:
        with self._lock:
            self.close_now()


def _read(text: str, now: int) -> SharedState:
    """Read the state; begin anew if it cannot be read, as everyone would go alone for ever otherwise."""
    try:
        return SharedState.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        return SharedState.new(now)


class SQLiteRateLimiter(SharedRateLimiter):
    """One limit for the processes of a host, in a file.

    Needs nothing but a path that all of them can write, on a local disk (not a network share). Works on asyncio and
    trio. See `SharedRateLimiter` for the other parameters.

    :param path: of the file; it is made if it is not there, in a folder that is. It may be the file of other tables.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        *,
        name: str | None = None,
        on_outage: OnOutage = "local",
        instances: int | None = None,
        max_retry_after: float = LONGEST_PAUSE,
    ) -> None:
        self._path = Path(path)
        self._place = f"the file {self._path}"
        super().__init__(limit, name=name, on_outage=on_outage, instances=instances, max_retry_after=max_retry_after)
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"the folder of the rate limit's file is not there: {self._path.parent}")

    def _connect(self, name: str) -> Store:
        return SQLiteStore(self._path, name)
