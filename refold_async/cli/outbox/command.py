"""`refold-async outbox`: looking into an outbox, and saying what became of its events."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

import typer

from ...outbox import EventStatus
from ..console.exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS
from ..console.options import Verbose
from ..console.output import AsJSON, print_json, show_table
from ..console.words import counted
from .load import import_journal, load
from .place import Place, Queue, migrate_outbox, use_outbox

outbox = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look into an outbox in a SQLite file or in PostgreSQL, and say what became of its events.",
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The event's key.")]


@outbox.command()
def stats(place: Place, as_json: AsJSON = False, verbose: Verbose = False) -> None:
    """Show how many events are where, and how old the oldest open one is.

    Exit codes: 0 nothing is held, 1 the outbox could not be read, 2 wrong usage, 3 events are held.
    """
    found = use_outbox(place, lambda box: box.stats(), as_json=as_json)
    code = EXIT_AMBIGUOUS if found.held else EXIT_ACCEPTED
    if as_json:
        print_json({**found.to_dict(), "exit_code": code})
    else:
        _show_facts(("what", "how many"), found.to_dict())
    raise typer.Exit(code)


@outbox.command()
def held(
    place: Place,
    limit: Annotated[int, typer.Option(min=1, help="Not more than so many.")] = 1000,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """List the events that may have fired and wait for somebody.

    Exit codes: 0 there are none, 1 the outbox could not be read, 2 wrong usage, 3 there are some.
    """
    found = use_outbox(place, lambda box: box.held(limit=limit), as_json=as_json)
    code = EXIT_AMBIGUOUS if found else EXIT_ACCEPTED
    if as_json:
        print_json({"held": [each.to_dict() for each in found], "exit_code": code})
    elif found:
        columns = ("key", "slug", "event", "account", "tag", "first sent (UTC)", "what happened")
        fields = attrgetter("key", "slug", "event", "linked_account_id", "instance_tag", "first_sent_at", "message")
        show_table(columns, map(fields, found))
        typer.echo(f"{counted(len(found), 'event')} held. Look in Refold whether they fired, then say so with resolve.")
    else:
        typer.echo("No event is held.")
    raise typer.Exit(code)


@outbox.command()
def status(place: Place, key: Key, as_json: AsJSON = False, verbose: Verbose = False) -> None:
    """Show what is known of one event."""
    _show(use_outbox(place, lambda box: box.status(key), as_json=as_json), as_json=as_json)


@outbox.command()
def resolve(
    place: Place,
    key: Key,
    fired: Annotated[bool, typer.Option("--fired/--not-fired", help="Whether it did: it is ended, or queued again.")],
    queue: Queue = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Say whether an event that is held has fired, after looking in Refold."""
    _show(use_outbox(place, lambda box: box.resolve(key, fired=fired), as_json=as_json, queue=queue), as_json=as_json)


@outbox.command()
def retry(
    place: Place,
    key: Key,
    fire_again: Annotated[
        bool, typer.Option("--fire-again", help="For an accepted one: it will fire a second time.")
    ] = False,
    queue: Queue = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Queue a rejected event again."""
    _show(
        use_outbox(place, lambda box: box.retry(key, fired_again=fire_again), as_json=as_json, queue=queue),
        as_json=as_json,
    )


@outbox.command()
def prune(
    place: Place,
    days: Annotated[
        float, typer.Option(min=0, help="Delete what was accepted or rejected longer ago than that.")
    ] = 7.0,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Delete events that were accepted or rejected a while ago."""
    done = use_outbox(place, lambda box: box.prune(days * 86_400), as_json=as_json)
    if as_json:
        print_json({"deleted": done})
    else:
        typer.echo(f"{counted(done, 'event')} deleted.")


@outbox.command()
def migrate(
    place: Place,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Make the tables of an outbox in PostgreSQL, or bring them to the version of this library.

    A SQLite file is brought up to date by whatever opens it.

    Exit codes: 0 they are up to date, 1 that failed, and nothing was changed, 2 wrong usage.
    """
    migrate_outbox(place, as_json=as_json)
    if as_json:
        print_json({"exit_code": EXIT_ACCEPTED})
    else:
        typer.echo("The outbox's tables are up to date.")


outbox.command("load")(load)
outbox.command("import")(import_journal)


def _show(found: EventStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        _show_facts(("what", "value"), found.to_dict())


def _show_facts(columns: tuple[str, str], facts: dict[str, object]) -> None:
    show_table(columns, [(name.replace("_", " "), value) for name, value in facts.items()])
