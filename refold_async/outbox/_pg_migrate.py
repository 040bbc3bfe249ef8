"""The version of an outbox's tables in PostgreSQL: making them, bringing them up to date, and refusing others."""

from __future__ import annotations

from typing import Final

from .._types.errors import ConfigurationError, OutboxFileError
from . import _pg_schema as sql
from ._join import Execute

_MIGRATE: Final = (
    "call `await outbox.create_schema()`, run `refold-async outbox migrate`, or have your migrations run `schema_sql()`"
)

NO_TABLE: Final = f"the outbox's tables are not in this database: {_MIGRATE}"


def schema_sql(since: int = 0) -> str:
    """Return the statements that bring the tables to the newest version, for migrations of your own.

    :param since: the version that they have now; 0 for none, and the table `refold_outbox_meta` says which.
    :raises ConfigurationError: for a version that this library does not know.
    """
    newest = len(sql.MIGRATIONS)
    if isinstance(since, bool) or not isinstance(since, int) or not 0 <= since <= newest:
        raise ConfigurationError(f"since must be a version from 0 to {newest}, not {since!r}")
    if since == newest:
        return ""
    statements = [sql.META, *(each for version in sql.MIGRATIONS[since:] for each in version)]
    statements += ["DELETE FROM refold_outbox_meta", f"INSERT INTO refold_outbox_meta VALUES ({newest})"]  # noqa: S608
    return ";\n".join(statements) + ";\n"


async def migrate(execute: Execute) -> None:
    """Make the tables, or bring them to the version of this library, in the transaction that is begun.

    :raises OutboxFileError: for tables of a newer version.
    """
    await execute(sql.LOCK, ())
    version = await _version(execute)
    _refuse_newer(version)
    newest = len(sql.MIGRATIONS)
    if version == newest:
        return
    await execute(sql.META, ())
    for statements in sql.MIGRATIONS[version:]:
        for statement in statements:
            await execute(statement, ())
    await execute("DELETE FROM refold_outbox_meta", ())
    await execute("INSERT INTO refold_outbox_meta VALUES (%s)", (newest,))


async def check_version(execute: Execute) -> None:
    """Check that the tables are of this library's version.

    :raises OutboxFileError: if they are not, or are not there.
    """
    version = await _version(execute)
    _refuse_newer(version)
    if version == 0:
        raise OutboxFileError(f"the outbox in PostgreSQL: {NO_TABLE}")
    if version < len(sql.MIGRATIONS):
        raise OutboxFileError(
            f"the outbox's tables in PostgreSQL are of an older version of refold_async (their schema is {version}, "
            f"and this one needs {len(sql.MIGRATIONS)}): {_MIGRATE}"
        )


async def _version(execute: Execute) -> int:
    """Return the version of the tables; 0 for none."""
    if not (await execute(sql.HAS_META, ()))[0][0]:
        return 0
    found = await execute("SELECT version FROM refold_outbox_meta", ())
    return int(found[0][0]) if found else 0


def _refuse_newer(version: int) -> None:
    if version > len(sql.MIGRATIONS):
        raise OutboxFileError(
            "the outbox's tables were made by a newer version of refold_async (their schema is "
            f"{version}, and this one knows {len(sql.MIGRATIONS)}): upgrade this process"
        )
