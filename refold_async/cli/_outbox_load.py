"""`refold-async outbox load` and `import`: rows of a file into an outbox."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import define, evolve

from .. import ConfigurationError, Trigger
from ..outbox import check_trigger
from ..policies.fence import Sent, State
from ._exits import EXIT_ACCEPTED, EXIT_FAILED, stop
from ._input import Input, InputError
from ._open import make_format
from ._options import Verbose
from ._outbox_place import AnyOutbox, Into, Queue
from ._reading import InputFormat, Reading
from ._reads import AsJSON
from ._records import Constants, Origin
from ._recovery import JournalError, journal_at_rest
from ._source import Again, BadRow, Source
from ._table import Table
from ._words import counted, in_options

Use = Callable[..., Any]
"""`use_outbox`."""

Rows = Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or CSV; - for standard input.")]
Format = Annotated[
    InputFormat | None, typer.Option("--format", help="CSV where the name ends in .csv or .tsv, else JSON Lines.")
]
Delimiter = Annotated[str | None, typer.Option(help="Between the cells of CSV, where the header leaves it open.")]
Encoding = Annotated[str | None, typer.Option(help="Of the text, such as cp1252.")]
Types = Annotated[
    list[str] | None, typer.Option(metavar="NAME=TYPE,…", help="Columns of CSV that are number, bool or json.")
]
Slug = Annotated[str | None, typer.Option(help="For rows without one.")]
EventName = Annotated[str | None, typer.Option("--event", help="For rows without one.")]
Account = Annotated[str | None, typer.Option(help="For rows without one.")]
Prefix = Annotated[str | None, typer.Option(help="What keys begin with; the name of the file, if left out.")]


_MOST_TOLD = 20
"""Rows that cannot be sent of which each has its line; the others are counted."""


@define
class Counts:
    """What became of the rows."""

    queued: int = 0
    held: int = 0
    left_out: int = 0
    bad: int = 0


def load(use: Use) -> Callable[..., None]:
    """Return the command `outbox load`."""

    def command(
        rows: Rows,
        into: Into,
        slug: Slug = None,
        event: EventName = None,
        linked_account_id: Account = None,
        input_format: Format = None,
        delimiter: Delimiter = None,
        encoding: Encoding = None,
        types: Types = None,
        prefix: Prefix = None,
        queue: Queue = None,
        as_json: AsJSON = False,
        verbose: Verbose = False,
    ) -> None:
        """Put an event for each row of a file into an outbox, for its relay or its workers to send.

        The rows are those of `refold-async batch`. A row's key is the file's name and the row's line; so repeated after
        a stop or a kill, no row is there twice.

        Exit codes: 0 all are in, 1 some rows cannot be sent and were left out, 2 wrong usage or input.
        """
        counts = Counts()
        reading = _reading(rows, input_format, delimiter, encoding, types)

        async def work(outbox: AnyOutbox) -> None:
            with _opened(rows, reading, Constants(slug=slug, event=event)) as found:
                keyed = _keyed(found, prefix or _name_of(rows), linked_account_id, counts)
                counts.queued = await outbox.put_many(keyed)

        use(into, work, as_json=as_json, is_new=True, queue=queue)
        _finish(counts, as_json=as_json)

    return command


def import_journal(use: Use) -> Callable[..., None]:
    """Return the command `outbox import`."""

    def command(
        journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal of a batch.")],
        rows: Annotated[str, typer.Argument(metavar="FILE", help="The input of that batch.")],
        into: Into,
        slug: Slug = None,
        event: EventName = None,
        linked_account_id: Account = None,
        input_format: Format = None,
        delimiter: Delimiter = None,
        encoding: Encoding = None,
        types: Types = None,
        prefix: Prefix = None,
        queue: Queue = None,
        as_json: AsJSON = False,
        verbose: Verbose = False,
    ) -> None:
        """Take over into an outbox what a batch left: rows that were not sent, and rows that may have fired.

        Those that may have fired are held; those that were accepted or rejected are left out. Repeated, no row is there
        twice. The journal is not changed: do not resume it afterwards.

        Exit codes: 0 all are in, 1 some rows cannot be sent and were left out, 2 wrong usage or input.
        """
        counts = Counts()
        reading = _reading(rows, input_format, delimiter, encoding, types)
        try:
            table = read_table(journal)
        except JournalError as error:
            stop(str(error))

        async def work(outbox: AnyOutbox) -> None:
            with _opened(rows, reading, Constants(slug=slug, event=event)) as found:
                for key, trigger in _keyed(found, prefix or _name_of(rows), linked_account_id, counts):
                    origin = _origin(trigger)
                    line, state = origin.line, table.fence(origin.line)
                    if state is not State.QUEUED and not table.matches(line, origin.digest):
                        stop(
                            f"{rows}, line {line}: it is another row than the one that was sent; was the file changed?"
                        )
                    if state.is_final:
                        counts.left_out += 1
                    elif state is State.QUEUED:
                        await outbox.put(trigger, key=key)
                        counts.queued += 1
                    else:
                        sent = table.sent.get(line)
                        await outbox.adopt(trigger, key=key, sent=sent if isinstance(sent, Sent) else None)
                        counts.held += 1

        use(into, work, as_json=as_json, is_new=True, queue=queue)
        _finish(counts, as_json=as_json)

    return command


def read_table(path: Path) -> Table:
    """Return what a journal says of its rows.

    :raises JournalError: for what is no journal, damaged, or in use.
    """
    table = Table()
    with journal_at_rest(path, table):
        return table


def _reading(
    rows: str,
    input_format: InputFormat | None,
    delimiter: str | None,
    encoding: str | None,
    types: list[str] | None,
) -> Reading:
    try:
        return Reading.parse(
            rows,
            chosen=input_format,
            delimiter=delimiter,
            encoding=encoding,
            types=types or (),
            empty=None,
            limit=None,
            multiline_cells=False,
        )
    except ConfigurationError as error:
        stop(in_options(error.message))


@contextmanager
def _opened(rows: str, reading: Reading, constants: Constants) -> Iterator[Iterator[Trigger | BadRow]]:
    try:
        source = Input.open(rows)
        try:
            form = make_format(reading, constants, with_digests=True)
            yield Source(source, form, constants, check_trigger, Table(), Again(), reading).rows()
        finally:
            source.close()
    except InputError as error:
        stop(str(error))


def _keyed(
    rows: Iterator[Trigger | BadRow], prefix: str, account: str | None, counts: Counts
) -> Iterator[tuple[str, Trigger]]:
    """Return the rows that can be sent, each with its key; tell of the others."""
    for row in rows:
        if isinstance(row, BadRow):
            counts.bad += 1
            if counts.bad <= _MOST_TOLD:
                typer.echo(f"{row.place}: {row.problem}", err=True)
            continue
        trigger = row
        if account is not None and row.linked_account_id is None:
            trigger = evolve(row, linked_account_id=account)
        yield f"{prefix}:{_origin(row).line}", trigger


def _origin(trigger: Trigger) -> Origin:
    origin = trigger.context
    assert isinstance(origin, Origin)
    return origin


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
        facts = {"queued": counts.queued, "held": counts.held, "left_out": counts.left_out, "bad": counts.bad}
        typer.echo(json.dumps({**facts, "exit_code": code}))
    else:
        words = [f"{counted(counts.queued, 'event')} in the outbox"]
        words += [f"{counts.held} held, because they may have fired"] if counts.held else []
        words += [f"{counts.left_out} left out, because they have ended"] if counts.left_out else []
        words += [f"{counted(counts.bad, 'row')} left out, because they cannot be sent"] if counts.bad else []
        typer.echo("; ".join(words) + ".")
    raise typer.Exit(code)
