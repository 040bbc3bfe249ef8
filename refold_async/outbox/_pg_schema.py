"""The tables of an outbox in PostgreSQL, and the statements on them.

Statements mark their parameters `%s`. All stamps are made by the server's clock as each statement runs.
"""

from __future__ import annotations

from typing import Final

from ._row import COLUMNS, Change, Later

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE refold_outbox (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key text NOT NULL UNIQUE,
            "trigger" text NOT NULL,
            digest text NOT NULL,
            ordering_key text,
            state text NOT NULL,
            attempt integer NOT NULL,
            due timestamptz,
            created timestamptz NOT NULL,
            updated timestamptz NOT NULL,
            sent_key text,
            sent_place text,
            first_sent_at timestamptz,
            send_until timestamptz,
            verdict text,
            job bigint
        )""",
        "CREATE INDEX refold_outbox_due ON refold_outbox (due, seq) WHERE due IS NOT NULL",
        """CREATE INDEX refold_outbox_open ON refold_outbox (state, created)
            WHERE state NOT IN ('accepted', 'rejected')""",
        """CREATE INDEX refold_outbox_order ON refold_outbox (ordering_key, seq)
            WHERE ordering_key IS NOT NULL AND state NOT IN ('accepted', 'rejected')""",
        """CREATE INDEX refold_outbox_ended ON refold_outbox (updated)
            WHERE state IN ('accepted', 'rejected')""",
    ),
)
"""What leads from one version to the next. The first entry makes version 1 of nothing."""

META: Final = "CREATE TABLE IF NOT EXISTS refold_outbox_meta (version integer NOT NULL)"

LOCK: Final = "SELECT pg_advisory_xact_lock(8243107321717482095)"
"""One migrates at a time. The number is `refoldbo`, as bytes."""

HAS_META: Final = """SELECT EXISTS (
        SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'refold_outbox_meta' AND pg_catalog.pg_table_is_visible(oid)
    )"""
"""Not by `to_regclass`: that one goes by what its session knew of the catalog before it waited for the lock."""

_STAMPS: Final = frozenset({"due", "created", "updated", "first_sent_at", "send_until"})

_NOW: Final = "clock_timestamp()"

_LATER: Final = f"{_NOW} + make_interval(secs => %s)"


def _selected(name: str) -> str:
    return f"extract(epoch FROM {name})::float8" if name in _STAMPS else f'"{name}"'


_SELECTED: Final = ", ".join([*map(_selected, COLUMNS), f"extract(epoch FROM {_NOW})::float8"])
"""The columns of a row, and the time."""

INSERT: Final = f"""INSERT INTO refold_outbox
    (key, "trigger", digest, ordering_key, state, attempt, due, created, updated)
    VALUES (%s, %s, %s, %s, 'queued', 0, {_LATER}, {_NOW}, {_NOW}) ON CONFLICT (key) DO NOTHING RETURNING key"""  # noqa: S608
"""In the order key, trigger, digest, ordering key, seconds until it is due."""

DIGEST: Final = "SELECT digest FROM refold_outbox WHERE key = %s"

BY_KEY: Final = f"SELECT {_SELECTED} FROM refold_outbox WHERE key = %s"  # noqa: S608 - our own columns

HELD: Final = f"""SELECT {_SELECTED} FROM refold_outbox WHERE state = 'ambiguous' AND due IS NULL
    ORDER BY seq LIMIT %s"""  # noqa: S608

ADOPT: Final = f"""INSERT INTO refold_outbox
    (key, "trigger", digest, ordering_key, state, attempt, created, updated, sent_key, sent_place, first_sent_at)
    VALUES (%s, %s, %s, %s, 'ambiguous', 1, {_NOW}, {_NOW}, %s, %s, to_timestamp(%s::float8))
    ON CONFLICT (key) DO NOTHING RETURNING key"""  # noqa: S608
"""In the order key, trigger, digest, ordering key, and what is known of the attempts: key, place, first time."""

NOW: Final = f"""SELECT to_char({_NOW} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'"""
"""As text, which is the same for every session's style of dates, and cheaper to copy than a `datetime`."""

COPY: Final = """COPY refold_outbox (key, "trigger", digest, ordering_key, state, attempt, due, created, updated)
    FROM STDIN"""

LOAD_TABLE: Final = """CREATE TEMP TABLE refold_outbox_load (
    n integer NOT NULL, key text NOT NULL, "trigger" text NOT NULL, digest text NOT NULL, ordering_key text
    ) ON COMMIT DROP"""

LOAD_COPY: Final = """COPY refold_outbox_load (n, key, "trigger", digest, ordering_key) FROM STDIN"""

LOAD_INSERT: Final = f"""INSERT INTO refold_outbox
    (key, "trigger", digest, ordering_key, state, attempt, due, created, updated)
    SELECT key, "trigger", digest, ordering_key, 'queued', 0, {_NOW}, {_NOW}, {_NOW}
    FROM refold_outbox_load ORDER BY n ON CONFLICT (key) DO NOTHING RETURNING key"""  # noqa: S608

LOAD_CONFLICT: Final = """SELECT l.key FROM refold_outbox_load AS l JOIN refold_outbox AS o ON o.key = l.key
    WHERE o.digest <> l.digest ORDER BY l.n LIMIT 1"""

PRUNE: Final = f"""WITH old AS (
        SELECT seq FROM refold_outbox
        WHERE state IN ('accepted', 'rejected') AND updated < {_NOW} - make_interval(secs => %s)
        ORDER BY updated LIMIT %s FOR UPDATE SKIP LOCKED
    ), gone AS (DELETE FROM refold_outbox WHERE seq IN (SELECT seq FROM old) RETURNING 1)
    SELECT count(*) FROM gone"""  # noqa: S608

STATS: Final = f"""SELECT
    count(*) FILTER (WHERE state = 'queued'),
    count(*) FILTER (WHERE state IN ('sending', 'resending')),
    count(*) FILTER (WHERE state = 'ambiguous' AND due IS NOT NULL),
    count(*) FILTER (WHERE state = 'ambiguous' AND due IS NULL),
    count(*) FILTER (WHERE state = 'accepted'),
    count(*) FILTER (WHERE state = 'rejected'),
    greatest(0, extract(epoch FROM {_NOW} - min(created) FILTER (WHERE state NOT IN ('accepted', 'rejected'))))::float8,
    count(*) FILTER (WHERE state NOT IN ('accepted', 'rejected'))
    FROM refold_outbox"""  # noqa: S608

BLOCKED: Final = """SELECT count(*) FROM refold_outbox AS r WHERE r.state = 'queued' AND r.ordering_key IS NOT NULL
    AND EXISTS (
        SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = r.ordering_key AND e.seq < r.seq
        AND e.ordering_key IS NOT NULL AND e.state = 'ambiguous' AND e.due IS NULL
    )"""

EARLIER: Final = "e.ordering_key IS NOT NULL AND e.state NOT IN ('accepted', 'rejected')"
"""Of an earlier event `e` of an ordering key: it is not settled. Written as the condition of its index."""

IS_BEHIND: Final = f"""SELECT EXISTS (
        SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = %s AND e.seq < %s AND {EARLIER}
    )"""  # noqa: S608 - our own words
"""Whether an earlier event of the ordering key is not settled; in the order ordering key, seq."""

DUE: Final = f"""SELECT o.key FROM refold_outbox AS o WHERE o.due <= {_NOW} AND (
        o.ordering_key IS NULL OR o.state <> 'queued' OR NOT EXISTS (
            SELECT 1 FROM refold_outbox AS e WHERE e.ordering_key = o.ordering_key AND e.seq < o.seq AND {EARLIER}
        )
    ) ORDER BY o.due, o.seq LIMIT %s"""  # noqa: S608 - our own words
"""What somebody should look at, the first in its ordering key only."""


def update(change: Change) -> tuple[str, list[object]]:
    """Return one step as one statement, with its first parameters; key, state and attempt follow."""
    parts: list[str] = []
    values: list[object] = []
    for name, value in change.columns.items():
        if isinstance(value, Later):
            parts.append(f'"{name}" = {_LATER}')
            values.append(float(value.seconds))
        else:
            parts.append(f'"{name}" = %s')
            values.append(value)
    statement = (
        f"UPDATE refold_outbox SET {', '.join(parts)} "  # noqa: S608 - our own columns
        f"WHERE key = %s AND state = %s AND attempt = %s RETURNING {_SELECTED}"
    )
    return statement, values
