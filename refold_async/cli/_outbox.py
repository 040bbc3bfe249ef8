"""`refold-async outbox`: looking into an outbox in a SQLite file, and saying what became of its events."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer

from .. import ConfigurationError, InvalidTriggerError, OutboxError, UnknownKeyError
from ..outbox import EventStatus, SQLiteOutbox
from ._exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS, EXIT_FAILED, EXIT_USAGE, stop
from ._options import Verbose
from ._outbox_load import import_journal, load
from ._reads import AsJSON, fail, show_table
from ._words import counted

T = TypeVar("T")

outbox = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look into an outbox in a SQLite file, and say what became of its events.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The outbox's file.", exists=False)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The event's key.")]


def use_outbox(path: Path, work: Callable[[SQLiteOutbox], Awaitable[T]], *, as_json: bool, is_new: bool = False) -> T:
    """Return what a function does with an outbox; a failure is printed, and ends the command.

    :param is_new: the file need not be there.
    """
    if not is_new and not path.exists():
        stop(f"{path} is not there: which file is the outbox?")

    async def main() -> T:
        async with SQLiteOutbox(path) as found:
            return await work(found)

    try:
        return anyio.run(main)
    except (ConfigurationError, UnknownKeyError, InvalidTriggerError) as error:
        fail(error, EXIT_USAGE, as_json=as_json)
    except OutboxError as error:
        fail(error, EXIT_FAILED, as_json=as_json)


@outbox.command()
def stats(file: File, as_json: AsJSON = False, verbose: Verbose = False) -> None:
    """Show how many events are where, and how old the oldest open one is.

    Exit codes: 0 nothing is held, 1 the file could not be read, 2 wrong usage, 3 events are held.
    """
    found = use_outbox(file, lambda box: box.stats(), as_json=as_json)
    code = EXIT_AMBIGUOUS if found.held else EXIT_ACCEPTED
    if as_json:
        typer.echo(json.dumps({**found.to_dict(), "exit_code": code}))
    else:
        show_table(("what", "how many"), [(name.replace("_", " "), value) for name, value in found.to_dict().items()])
    raise typer.Exit(code)


@outbox.command()
def held(
    file: File,
    limit: Annotated[int, typer.Option(min=1, help="Not more than so many.")] = 1000,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """List the events that may have fired and wait for somebody.

    Exit codes: 0 there are none, 1 the file could not be read, 2 wrong usage, 3 there are some.
    """
    found = use_outbox(file, lambda box: box.held(limit=limit), as_json=as_json)
    code = EXIT_AMBIGUOUS if found else EXIT_ACCEPTED
    if as_json:
        typer.echo(json.dumps({"held": [each.to_dict() for each in found], "exit_code": code}))
    elif found:
        columns = ("key", "slug", "event", "account", "tag", "first sent (UTC)", "what happened")
        show_table(
            columns,
            [
                (one.key, one.slug, one.event, one.linked_account_id, one.instance_tag, one.first_sent_at, one.message)
                for one in found
            ],
        )
        typer.echo(f"{counted(len(found), 'event')} held. Look in Refold whether they fired, then say so with resolve.")
    else:
        typer.echo("No event is held.")
    raise typer.Exit(code)


@outbox.command()
def status(file: File, key: Key, as_json: AsJSON = False, verbose: Verbose = False) -> None:
    """Show what is known of one event."""
    _show(use_outbox(file, lambda box: box.status(key), as_json=as_json), as_json=as_json)


@outbox.command()
def resolve(
    file: File,
    key: Key,
    fired: Annotated[bool, typer.Option("--fired/--not-fired", help="Whether it did: it is ended, or queued again.")],
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Say whether an event that is held has fired, after looking in Refold."""
    _show(use_outbox(file, lambda box: box.resolve(key, fired=fired), as_json=as_json), as_json=as_json)


@outbox.command()
def retry(
    file: File,
    key: Key,
    fire_again: Annotated[
        bool, typer.Option("--fire-again", help="For an accepted one: it will fire a second time.")
    ] = False,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Queue a rejected event again."""
    _show(use_outbox(file, lambda box: box.retry(key, fired_again=fire_again), as_json=as_json), as_json=as_json)


@outbox.command()
def prune(
    file: File,
    days: Annotated[
        float, typer.Option(min=0, help="Delete what was accepted or rejected longer ago than that.")
    ] = 7.0,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Delete events that were accepted or rejected a while ago."""
    done = use_outbox(file, lambda box: box.prune(days * 86_400), as_json=as_json)
    typer.echo(json.dumps({"deleted": done}) if as_json else f"{counted(done, 'event')} deleted.")


outbox.command("load")(load(use_outbox))
outbox.command("import")(import_journal(use_outbox))


def _show(found: EventStatus, *, as_json: bool) -> None:
    facts: dict[str, Any] = found.to_dict()
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        show_table(("what", "value"), [(name.replace("_", " "), value) for name, value in facts.items()])
