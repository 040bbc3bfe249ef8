"""The connection to an outbox's SQLite file: opening, migrating, and errors that name the cure."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeVar

from .._types.errors import OutboxError, OutboxFileError, OutboxWriteError
from ._schema import APPLICATION_ID, HAS_META, READ_VERSION, migration

T = TypeVar("T")

Synchronous = Literal["full", "normal"]

CACHE_KIB: Final = 65_536
"""How many KiB of pages are kept at most: with the 2 MiB of SQLite's default, each step among a million rows reads
pages of the index of keys again."""

_WRITE_ERRORS: Final = {
    "BUSY": "another program holds its lock, for longer than {timeout:g} s: try again, and keep transactions short",
    "LOCKED": "another connection of this process holds its lock: try again, and keep transactions short",
    "FULL": "the disk is full: make room, and try again",
    "IOERR": "reading or writing the disk failed: look at the disk, and try again",
    "NOMEM": "there is no memory left",
}
_FILE_ERRORS: Final = {
    "NOTADB": "it is no SQLite database: name another file",
    "READONLY": "it, or its folder, may not be written: change its permissions",
    "CANTOPEN": "it cannot be opened: look at the folder and its permissions",
    "PERM": "it may not be opened: change its permissions",
    "AUTH": "it may not be opened: change its permissions",
    "CORRUPT": "it is damaged: stop its programs, keep a copy, and run `sqlite3 FILE .recover`",
}


LEFT_BEHIND: Final[list[sqlite3.Connection]] = []
"""Connections of before a fork. They are the parent's: SQLite forbids closing them here, which the end of the last
reference to them would do."""


class OwnConnection:
    """Holds a connection for the process that opened it. A forked child finds none, and leaves the parent alone."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    def get(self) -> sqlite3.Connection | None:
        """Return the connection of this process; None if there is none."""
        if self._connection is not None and self._pid != os.getpid():
            LEFT_BEHIND.append(self._connection)
            self._connection = None
        return self._connection

    def keep(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Hold a connection that this process has opened, and return it."""
        self._connection, self._pid = connection, os.getpid()
        return connection

    def close(self) -> None:
        """Close it, if there is one."""
        connection, self._connection = self.get(), None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


class Database:
    """One connection, to be used by one thread. It is opened by its first use, and again after an error.

    :param is_shared: the file is the app's own database: other tables may be in it, and its journal mode stays.
    """

    def __init__(self, path: Path, *, synchronous: Synchronous, timeout: float, is_shared: bool) -> None:
        self.path = path
        self._synchronous = synchronous
        self._timeout = timeout
        self._is_shared = is_shared
        self._own = OwnConnection()

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection. What goes wrong is undone, and raised as one of ours.

        :raises OutboxError: naming the cure.
        """
        try:
            yield self._open()
        except sqlite3.Error as error:
            self._undo(error)
            raise self._named(error) from error
        except OSError as error:
            raise OutboxFileError(f"the outbox {self.path} cannot be opened: {error.strerror}") from error
        except BaseException as error:
            self._undo(error)
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction that writes, and commit it.

        :raises OutboxError: naming the cure; then nothing was written.
        """
        with self.use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._own.close()

    def _open(self) -> sqlite3.Connection:
        found = self._own.get()
        if found is not None:
            return found
        self._prepare_file()
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return self._own.keep(connection)

    def _prepare_file(self) -> None:
        """Make the file, for its owner only; see that nothing else is in its place."""
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return
        if not stat.S_ISREG(mode):
            raise OutboxFileError(f"the outbox {self.path} is no regular file: name another")

    def _set_up(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        version = _version(connection)
        statements = migration(self.path, version)
        has_our_id = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        is_empty = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        is_ours = has_our_id or is_empty
        if not is_ours and version == 0 and not self._is_shared:
            raise OutboxFileError(
                f"{self.path} is the database of another program: name another file; or, if it is your app's own and "
                "events are to be put in its transactions, say shared=True"
            )
        if is_ours and not self._is_shared:
            connection.execute("PRAGMA journal_mode = WAL")
        if statements:
            _migrate(connection, self.path, sets_application_id=is_empty and not self._is_shared)
        self._ask_to_write(connection)

    def _ask_to_write(self, connection: sqlite3.Connection) -> None:
        """Let a file that may only be read say so now. One that is locked can be written once it is free."""
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if not _says(error, "BUSY"):
                raise
        connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    def _undo(self, error: BaseException) -> None:
        connection = self._own.get()
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error) and not _says(error, "BUSY", "LOCKED", "CONSTRAINT"):
            self.close()  # the next use looks at the file again

    def _named(self, error: sqlite3.Error) -> OutboxError:
        for kind, table in ((OutboxWriteError, _WRITE_ERRORS), (OutboxFileError, _FILE_ERRORS)):
            for name, words in table.items():
                if _says(error, name):
                    return kind(f"the outbox {self.path}: {words.format(timeout=self._timeout)}")
        return OutboxFileError(f"the outbox {self.path} cannot be used: {error}")


def _says(error: sqlite3.Error, *names: str) -> bool:
    code = getattr(error, "sqlite_errorname", None) or ""
    return code.removeprefix("SQLITE_").split("_")[0] in names


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the outbox in a database; 0 for none."""
    if not connection.execute(HAS_META).fetchone():
        return 0
    found = connection.execute(READ_VERSION).fetchone()
    return int(found[0]) if found else 0


def _migrate(connection: sqlite3.Connection, path: Path, *, sets_application_id: bool) -> None:
    """Bring the tables to the version of this library, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in migration(path, _version(connection)):  # another process may have been faster
            connection.execute(statement)
        if sets_application_id:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
