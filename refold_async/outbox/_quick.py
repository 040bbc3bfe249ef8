"""Putting one event where it is asked for, without a thread in between."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ._database import OwnConnection
from ._row import Value
from ._schema import INSERT

_ROUND: Final = 128
"""The first two of so many puts are refused. The thread's connection makes them, and with them checkpoints, which flush
the disk: the first may copy the log into the database, and the second then begins the log anew."""


class QuickConnection:
    """A second connection to an outbox's file, for puts that flush no disk: "normal" and a write-ahead log.

    Waking a thread and being woken by it takes longer than such a put. It never waits: not for a lock, nor for another
    thread that puts. Whatever it cannot do at once it refuses, and then nothing was put; the outbox's thread does it,
    waits, and names errors.

    States: closed, and open. `open` is called by the outbox's thread, after its own connection has prepared the file.
    Any error but a lock closes it, and so does `close`. After a fork it counts as closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._own = OwnConnection()
        self._count = 0

    def open(self) -> None:
        """Open it, unless it is open, the file has no write-ahead log, or it cannot be done at once."""
        if not self._lock.acquire(blocking=False):  # also where a fork left it locked
            return
        try:
            if self._own.get() is None:
                connection = _connect(self._path)
                if connection is not None:
                    self._own.keep(connection)
        except sqlite3.Error:  # too few descriptors, or a lock: the thread does without it
            return
        finally:
            self._lock.release()

    def put(self, values: Sequence[Value]) -> bool:
        """Put a row, and return True; or return False, with nothing put.

        :param values: those of `INSERT`.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._count += 1
            connection = self._own.get()
            if connection is None or self._count % _ROUND < 2:
                return False
            return connection.execute(INSERT, values).rowcount == 1
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", None) != "SQLITE_BUSY":
                self._own.close()
            return False
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close it, after a put that is being made in another thread."""
        if self._own.get() is not None:
            with self._lock:
                self._own.close()


def _connect(path: Path) -> sqlite3.Connection | None:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            connection.execute("PRAGMA synchronous = normal")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None
