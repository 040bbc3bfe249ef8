"""`refold-async outbox load` and `import`: rows of a file into an outbox."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from attrs import asdict, define, evolve, frozen

from ... import ConfigurationError, Trigger
from ...outbox import check_trigger
from ...policies.fence import Sent, State
from ..batch.recovery import JournalError, journal_at_rest
from ..batch.source import BadRow, open_rows
from ..batch.table import Table
from ..console.exits import EXIT_ACCEPTED, EXIT_FAILED, stop
from ..console.options import Verbose, grouped
from ..console.output import AsJSON, print_json
from ..console.words import counted, in_options, sentence
from ..reading.input import InputError
from ..reading.options import ReadingOptions
from ..reading.records import Constants, origin_of
from ..reading.settings import Reading
from .place import AnyOutbox, Into, Queue, use_outbox


@frozen(kw_only=True)
class PlaceOptions:
    """Where the events go."""

    into: Into
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="What keys begin with; the name of the file, if left out.")
    ] = None
    queue: Queue = None
    as_json: AsJSON = False
    verbose: Verbose = False

    def use(self, work: Callable[[AnyOutbox], Awaitable[None]]) -> None:
        """Do something with the outbox."""
        use_outbox(self.into, work, as_json=self.as_json, is_new=True, queue=self.queue)


_MOST_TOLD = 20
"""Rows that cannot be sent of which each has its line; the others are counted."""


@define
class Counts:
    """What became of the rows."""

    queued: int = 0
    held: int = 0
    left_out: int = 0
    bad: int = 0


@grouped
def load(rows: ReadingOptions, place: PlaceOptions) -> None:
    """Put an event for each row of a file into an outbox, for its relay or its workers to send.

    The rows are those of `refold-async batch`. A row's key is the file's name and the row's line; so repeated after a
    stop or a kill, no row is there twice.

    Exit codes: 0 all are in, 1 some rows cannot be sent and were left out, 2 wrong usage or input.
    """
    counts = Counts()
    with _errors_of_usage():
        reading = rows.make_reading()

    async def work(outbox: AnyOutbox) -> None:
        with _keyed(rows, reading, place.prefix, counts) as found:
            counts.queued = await outbox.put_many(found)

    place.use(work)
    _finish(counts, as_json=place.as_json)


@grouped
def import_journal(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal of a batch.")],
    rows: ReadingOptions,
    place: PlaceOptions,
) -> None:
    """Take over into an outbox what a batch left: rows that were not sent, and rows that may have fired.

    Those that may have fired are held; those that were accepted or rejected are left out. Repeated, no row is there
    twice. The journal is not changed: do not resume it afterwards.

    Exit codes: 0 all are in, 1 some rows cannot be sent and were left out, 2 wrong usage or input.
    """
    counts, file, table = Counts(), rows.file, Table()
    with _errors_of_usage():
        reading = rows.make_reading()
        with journal_at_rest(journal, table):
            pass  # it is in the table now

    async def work(outbox: AnyOutbox) -> None:
        with _keyed(rows, reading, place.prefix, counts) as found:
            for key, trigger in found:
                origin = origin_of(trigger)
                line, state = origin.line, table.fence(origin.line)
                if state is not State.QUEUED and not table.matches(line, origin.digest):
                    stop(f"{file}, line {line}: it is another row than the one that was sent; was the file changed?")
                if not await _take_over(outbox, key, trigger, state, table.sent.get(line), counts):
                    stop(
                        f"{file}, line {line}: the batch has fired it, or may have, and this outbox is to send it "
                        f"too, as {key!r}: was the file loaded besides? It would fire twice: import into another "
                        "outbox"
                    )

    place.use(work)
    _finish(counts, as_json=place.as_json)


async def _take_over(
    outbox: AnyOutbox, key: str, trigger: Trigger, state: State, sent: Sent | None, counts: Counts
) -> bool:
    """Put a row that was not sent, hold one that may have fired. False if the outbox would fire it once more."""
    if state is State.QUEUED:
        await outbox.put(trigger, key=key)
        counts.queued += 1
        return True
    if not state.is_final:
        await outbox.adopt(trigger, key=key, sent=sent)
    row = await outbox.load(key)
    if row is not None and row.is_held:
        counts.held += 1
    else:
        counts.left_out += 1
    return row is None or row.state is not State.QUEUED or row.attempt > 0 or not state.may_have_fired


@contextmanager
def _errors_of_usage() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, JournalError) as error:
        stop(in_options(str(error)))


@contextmanager
def _keyed(
    options: ReadingOptions, reading: Reading, prefix: str | None, counts: Counts
) -> Iterator[Iterator[tuple[str, Trigger]]]:
    """Open the rows, of which those that can be sent come with their keys; tell of the others."""
    prefix = prefix or _name_of(options.file)
    constants = Constants(slug=options.slug, event=options.event)
    try:
        with open_rows(options.file, reading, constants, check_trigger, with_digests=True) as source:
            yield _with_keys(source.rows(), options, prefix, counts)
    except InputError as error:
        stop(str(error))


def _with_keys(
    rows: Iterator[Trigger | BadRow], options: ReadingOptions, prefix: str, counts: Counts
) -> Iterator[tuple[str, Trigger]]:
    """Yield the rows that can be sent.

    :raises InputError: at a row after which nobody can tell where rows begin again.
    """
    account = options.linked_account_id
    for row in rows:
        if isinstance(row, Trigger):
            is_addressed = account is None or row.linked_account_id is not None
            yield f"{prefix}:{origin_of(row).line}", row if is_addressed else evolve(row, linked_account_id=account)
            continue
        if not row.is_skippable:
            raise InputError(
                f"{options.file}, {row.place}: {sentence(row.problem)} Nothing after it was put into the outbox"
            )
        counts.bad += 1
        if counts.bad <= _MOST_TOLD:
            typer.echo(f"{row.place}: {row.problem}", err=True)


def _name_of(rows: str) -> str:
    if rows == "-":
        stop("--prefix names the rows of standard input, so that they are not put twice")
    name = Path(os.path.abspath(rows)).name  # noqa: PTH100 - links are not followed: the name is what was given
    if len(name) <= 100:
        return name
    return f"{name[:80]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _finish(counts: Counts, *, as_json: bool) -> None:
    code = EXIT_FAILED if counts.bad else EXIT_ACCEPTED
    if as_json:
        print_json({**asdict(counts), "exit_code": code})
    else:
        words = [f"{counted(counts.queued, 'event')} in the outbox"]
        words += [f"{counts.held} held, because they may have fired"] if counts.held else []
        words += [f"{counts.left_out} left out, because they have ended"] if counts.left_out else []
        words += [f"{counted(counts.bad, 'row')} left out, because they cannot be sent"] if counts.bad else []
        typer.echo("; ".join(words) + ".")
    raise typer.Exit(code)
