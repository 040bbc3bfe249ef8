"""`refold-async events`: which events there are."""

from __future__ import annotations

from typing import Annotated

import typer

from ... import EventDefinition, RefoldClient
from ..console.options import grouped
from ..console.output import print_json, show_table
from .reads import BaseURL, ReadOptions

events = typer.Typer(no_args_is_help=True, help="See which events there are.")


@events.callback()
def _group() -> None:
    """Keep `list` a command of its own; with one command alone there would be no group."""


@events.command(
    "list",
    epilog="**Examples**\n\n`refold-async events list`\n\n`refold-async events list --json | jq -r '.[].name'`",
)
@grouped
def list_events(
    name: Annotated[str | None, typer.Option(help="Only those with this in their name, in any case.")] = None,
    base_url: BaseURL = None,
    *,
    options: ReadOptions,
) -> None:
    """List the events that triggers can name, by name. It needs an API key."""

    async def read(client: RefoldClient) -> list[EventDefinition]:
        return await client.events.list()

    found = options.read(read, base_url)
    if name is not None:
        found = [each for each in found if name.casefold() in each.name.casefold()]
    found.sort(key=lambda each: each.name)
    if options.as_json:
        print_json([each.to_dict() for each in found])
    else:
        rows = [(each.name, each.id, ", ".join(field.key for field in each.fields)) for each in found]
        show_table(("name", "id", "fields"), rows)
