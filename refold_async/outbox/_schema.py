"""The tables of an outbox in SQLite, and the statements on them."""

from __future__ import annotations

from typing import Final

from .._types.errors import OutboxFileError
from ._row import COLUMNS

APPLICATION_ID: Final = 0x5265466F
"""`ReFo`: marks a file that was made for an outbox, and for nothing else."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE refold_outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            "trigger" TEXT NOT NULL,
            digest TEXT NOT NULL,
            ordering_key TEXT,
            state TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            due REAL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            sent_key TEXT,
            sent_place TEXT,
            first_sent_at REAL,
            send_until REAL,
            verdict TEXT
        )""",
        "CREATE INDEX refold_outbox_due ON refold_outbox (due, seq) WHERE due IS NOT NULL",
        """CREATE INDEX refold_outbox_open ON refold_outbox (state, created)
            WHERE state NOT IN ('accepted', 'rejected')""",
        """CREATE INDEX refold_outbox_order ON refold_outbox (ordering_key, seq)
            WHERE ordering_key IS NOT NULL AND state NOT IN ('accepted', 'rejected')""",
        """CREATE INDEX refold_outbox_ended ON refold_outbox (state, updated)
            WHERE state IN ('accepted', 'rejected')""",
    ),
)
"""What leads from one version to the next. The first entry makes version 1 of nothing."""

_META = "CREATE TABLE IF NOT EXISTS refold_outbox_meta (version INTEGER NOT NULL)"
"""The version has a table of its own, because the file's `user_version` may be the app's."""

HAS_META: Final = "SELECT 1 FROM sqlite_master WHERE name = 'refold_outbox_meta'"

READ_VERSION: Final = "SELECT version FROM refold_outbox_meta"


def migration(place: object, since: int) -> list[str]:
    """Return the statements that bring the tables to the version of this library: to be run in one transaction.

    :param place: the file, for the error.
    :param since: the version that they have now; 0 for none.
    :raises OutboxFileError: for a newer version than this library knows.
    """
    newest = len(MIGRATIONS)
    if since > newest:
        raise OutboxFileError(
            f"the outbox {place} was made by a newer version of refold_async (its schema is {since}, and this one "
            f"knows {newest}): upgrade this process"
        )
    if since == newest:
        return []
    steps = [each for version in MIGRATIONS[since:] for each in version]
    return [
        _META, *steps, "DELETE FROM refold_outbox_meta", f"INSERT INTO refold_outbox_meta VALUES ({newest})"  # noqa: S608
    ]  # fmt: skip


def _quoted(name: str) -> str:
    return f'"{name}"'


SELECTED: Final = ", ".join(map(_quoted, COLUMNS))

_PUT: Final = tuple(name for name in COLUMNS[:10] if name != "seq")

INSERT: Final = (
    f"INSERT INTO refold_outbox ({', '.join(map(_quoted, _PUT))}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' * len(_PUT))}) ON CONFLICT (key) DO NOTHING"
)
"""In the order key, trigger, digest, ordering key, state, attempt, due, created, updated."""

BY_KEY: Final = f"SELECT {SELECTED} FROM refold_outbox WHERE key = ?"  # noqa: S608

IS_OPEN: Final = "state NOT IN ('accepted', 'rejected')"
"""Neither fired nor rejected. Written as the condition of the indexes, because SQLite draws no conclusions."""

IS_HELD: Final = f"state = 'ambiguous' AND due IS NULL AND {IS_OPEN}"

_EARLIER = f"e.ordering_key IS NOT NULL AND e.{IS_OPEN}"
"""Of an earlier event `e` of an ordering key: it is not settled. Written as the condition of its index."""

IS_BEHIND: Final = f"""SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = ? AND e.seq < ? AND {_EARLIER}
    LIMIT 1"""  # noqa: S608
"""In the order ordering key, seq."""

DUE: Final = f"""SELECT {SELECTED} FROM refold_outbox AS r WHERE due <= ? AND (
        ordering_key IS NULL OR state != 'queued' OR NOT EXISTS (
            SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = r.ordering_key AND e.seq < r.seq
            AND {_EARLIER}
        )
    ) ORDER BY due, seq LIMIT ?"""  # noqa: S608
"""What somebody should look at, the first in its ordering key only."""

HELD: Final = f"SELECT {SELECTED} FROM refold_outbox WHERE {IS_HELD} ORDER BY seq LIMIT ?"  # noqa: S608

BLOCKED: Final = f"""SELECT count(DISTINCT r.seq) FROM refold_outbox AS e CROSS JOIN refold_outbox AS r
    ON r.ordering_key = e.ordering_key AND r.seq > e.seq
    WHERE e.state = 'ambiguous' AND e.due IS NULL AND {_EARLIER}
    AND r.state = 'queued' AND r.ordering_key IS NOT NULL AND r.{IS_OPEN}"""  # noqa: S608
"""How many wait behind a held one. The held ones first, because they are few."""
