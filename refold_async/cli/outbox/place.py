"""Where an outbox of the command line is: a SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from ...outbox import SQLiteOutbox
from ..console.exits import stop
from ..console.output import run_or_fail

if TYPE_CHECKING:
    from ...outbox.postgres import PostgresStore

    AnyOutbox = SQLiteOutbox | PostgresStore
else:
    AnyOutbox = SQLiteOutbox  # PostgreSQL is an extra

T = TypeVar("T")

Place = Annotated[str, typer.Argument(metavar="OUTBOX", help="The outbox's file, or the URL of its PostgreSQL.")]
Into = Annotated[
    str,
    typer.Option("--into", metavar="OUTBOX", help="A file, made if it is not there; or the URL of a PostgreSQL."),
]
Queue = Annotated[
    str | None,
    typer.Option(help="In PostgreSQL: procrastinate's queue, if the database does not show it.", show_default=False),
]

_POSTGRES: Final = re.compile(
    r"(?i)postgres(ql)?(\+\w+)?://|\s*(host|hostaddr|port|dbname|user|password|passfile|service|sslmode|options)\s*="
)
_URL: Final = re.compile(r"[A-Za-z][\w+.-]*://")


def is_postgres(place: str) -> bool:
    """Whether it is the URL or the connection string of a PostgreSQL database."""
    return _POSTGRES.match(place) is not None


def use_outbox(
    place: str,
    work: Callable[[AnyOutbox], Awaitable[T]],
    *,
    as_json: bool,
    is_new: bool = False,
    queue: str | None = None,
) -> T:
    """Return what a function does with an outbox; a failure is printed, and ends the command.

    :param is_new: the file need not be there.
    :param queue: procrastinate's queue, for the jobs of events in PostgreSQL.
    """

    async def main() -> T:
        async with _outbox(place, queue) as found:
            return await work(found)

    _check(place, is_new=is_new, queue=queue)
    return run_or_fail(main, as_json=as_json)


def migrate_outbox(place: str, *, as_json: bool) -> None:
    """Make the tables of an outbox, or bring them up to date; a failure is printed, and ends the command."""

    async def main() -> None:
        outbox = _outbox(place, None)
        if isinstance(outbox, SQLiteOutbox):
            async with outbox:  # which does it by itself
                return
        try:
            await outbox.create_schema()
        finally:
            await outbox.aclose()

    _check(place, is_new=False, queue=None)
    run_or_fail(main, as_json=as_json)


def _check(place: str, *, is_new: bool, queue: str | None) -> None:
    if is_postgres(place):
        return
    if _URL.match(place):  # which is not repeated, because of its password
        stop("The outbox is a file, or a URL that begins with postgresql://, and this is another URL.")
    if queue is not None:
        stop("--queue is for an outbox in PostgreSQL: a file has a relay, and no queue.")
    if not is_new and not Path(place).exists():
        stop(f"{place} is not there: which file is the outbox?")


def _outbox(place: str, queue: str | None) -> AnyOutbox:
    if not is_postgres(place):
        return SQLiteOutbox(place)
    from ...outbox._job_store import JobStore

    return JobStore(place, queue=queue)
