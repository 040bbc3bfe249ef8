"""Rows of an outbox in SQLite: each step as one statement, or one transaction, on a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .._types.errors import InvalidTriggerError
from ..policies.fence import Sent, State
from ._row import COLUMNS, Change, Row, Value, changed, stamped
from ._schema import BLOCKED, BY_KEY, DUE, HELD, INSERT, IS_BEHIND, IS_HELD, IS_OPEN
from ._status import OutboxStats

_CHUNK: Final = 500


def row_of(values: Sequence[Any], now: float) -> Row:
    """Make a row of its columns."""
    row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    row["state"] = State(row["state"])
    return Row(**row, now=now)


def load(connection: sqlite3.Connection, key: str, now: float) -> Row | None:
    """Return a row; None if there is none of this key."""
    found = connection.execute(BY_KEY, (key,)).fetchone()
    return None if found is None else row_of(found, now)


def move(connection: sqlite3.Connection, row: Row, change: Change, now: float) -> Row | None:
    """Take one step, if the row is as it was read. One statement, which is its own transaction."""
    names = ", ".join(f'"{name}" = ?' for name in change.columns)
    values = [stamped(value, now) for value in change.columns.values()]
    done = connection.execute(
        f"UPDATE refold_outbox SET {names} WHERE key = ? AND state = ? AND attempt = ?",  # noqa: S608 - our own columns
        (*values, row.key, row.state.value, row.attempt),
    )
    return changed(row, change, now) if done.rowcount else None


def due(connection: sqlite3.Connection, now: float, limit: int) -> list[Row]:
    """Return the rows that somebody should look at, those that are due first before the others."""
    return [row_of(found, now) for found in connection.execute(DUE, (now, limit))]


def is_behind(connection: sqlite3.Connection, row: Row) -> bool:
    """Return whether an event waits for an earlier one of its ordering key."""
    if row.ordering_key is None or row.state is not State.QUEUED:
        return False
    return connection.execute(IS_BEHIND, (row.ordering_key, row.seq)).fetchone() is not None


def next_due(connection: sqlite3.Connection, now: float) -> float | None:
    """Return in how many seconds the next row is due; None for never."""
    at = connection.execute("SELECT min(due) FROM refold_outbox WHERE due > ?", (now,)).fetchone()[0]
    return None if at is None else float(at) - now


def held(connection: sqlite3.Connection, now: float, limit: int) -> list[Row]:
    """Return the held rows, the oldest first."""
    return [row_of(found, now) for found in connection.execute(HELD, (limit,))]


def put_values(key: str, text: str, digest: str, ordering_key: str | None, due: float, now: float) -> tuple[Value, ...]:
    """Return the values of `INSERT`."""
    return (key, text, digest, ordering_key, State.QUEUED.value, 0, due, now, now)


def adopt(connection: sqlite3.Connection, values: tuple[Value, ...], sent: Sent | None) -> None:
    """Put a row that may have fired, and hold it.

    :raises InvalidTriggerError: for a key that is there with another trigger.
    """
    if not connection.execute(INSERT, values).rowcount:
        kept = connection.execute("SELECT digest FROM refold_outbox WHERE key = ?", (values[0],)).fetchone()
        check_same(str(values[0]), kept[0], str(values[2]))
        return
    connection.execute(
        "UPDATE refold_outbox SET state = ?, attempt = 1, due = NULL, sent_key = ?, sent_place = ?, first_sent_at = ? "
        "WHERE key = ?",
        (State.AMBIGUOUS.value, *((None, None, None) if sent is None else (sent.key, sent.place, sent.at)), values[0]),
    )


def put_all(connection: sqlite3.Connection, values: Iterable[tuple[Value, ...]]) -> None:
    """Put rows; those that are there already stay as they are.

    :raises InvalidTriggerError: for a key that is there with another trigger.
    """
    chunk = list(values)
    before = connection.total_changes
    connection.executemany(INSERT, chunk)
    if connection.total_changes - before < len(chunk):
        for start in range(0, len(chunk), _CHUNK):
            part = {str(each[0]): each[2] for each in chunk[start : start + _CHUNK]}
            marks = ", ".join("?" * len(part))
            asked = f"SELECT key, digest FROM refold_outbox WHERE key IN ({marks})"  # noqa: S608 - question marks
            for key, digest in connection.execute(asked, list(part)):
                check_same(key, str(digest), str(part[key]))


def check_same(key: str, kept: str, given: str) -> None:
    """Check that a second put of a key is the same as the first.

    :raises InvalidTriggerError: if it is not.
    """
    if kept != given:
        raise InvalidTriggerError(f"the outbox has another trigger of the key {key!r}: one key names one event")


def prune(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete events that ended before then, and return how many; not more than `limit`."""
    done = connection.execute(
        """DELETE FROM refold_outbox WHERE seq IN (
            SELECT seq FROM refold_outbox WHERE state IN ('accepted', 'rejected') AND updated < ? LIMIT ?
        )""",
        (before, limit),
    )
    return done.rowcount


def stats(connection: sqlite3.Connection, now: float) -> OutboxStats:
    """Count."""
    counts: dict[str, int] = {}
    for each in (IS_OPEN, "state IN ('accepted', 'rejected')"):  # each of both has an index
        counts |= dict(connection.execute(f"SELECT state, count(*) FROM refold_outbox WHERE {each} GROUP BY state"))  # noqa: S608
    oldest = connection.execute(f"SELECT min(created) FROM refold_outbox WHERE {IS_OPEN}").fetchone()[0]  # noqa: S608
    are_held = connection.execute(f"SELECT count(*) FROM refold_outbox WHERE {IS_HELD}").fetchone()[0]  # noqa: S608
    return OutboxStats(
        queued=counts.get(State.QUEUED, 0),
        sending=counts.get(State.SENDING, 0) + counts.get(State.RESENDING, 0),
        ambiguous=counts.get(State.AMBIGUOUS, 0) - are_held,
        held=are_held,
        blocked=connection.execute(BLOCKED).fetchone()[0] if are_held else 0,
        accepted=counts.get(State.ACCEPTED, 0),
        rejected=counts.get(State.REJECTED, 0),
        oldest_age=None if oldest is None else max(0.0, now - oldest),
    )
