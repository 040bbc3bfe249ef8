"""`refold-async executions`: what became of events."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

import typer

from ... import Execution, ExecutionDetail, RefoldClient
from ..console.options import grouped
from ..console.output import print_json, show_table
from .reads import Account, BaseURL, ReadOptions, to_moment

executions = typer.Typer(no_args_is_help=True, help="See what became of events: the executions of workflows.")


@executions.command(
    "list",
    epilog="**Examples**\n\n`refold-async executions list --status ERRORED --since 2026-07-01`\n\n"
    "`refold-async executions list --json | jq -r '.[].id'`",
)
@grouped
def list_executions(
    status: Annotated[str | None, typer.Option(help="Such as COMPLETED, ERRORED or RUNNING.")] = None,
    slug: Annotated[list[str] | None, typer.Option(help="Of this application; may be given more than once.")] = None,
    workflow_id: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    source: Annotated[str | None, typer.Option(help="What started it, as Refold spells it, such as Event.")] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="Created then or later, in ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Created then or earlier.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The other way round.")] = False,
    linked_account_id: Account = None,
    base_url: BaseURL = None,
    *,
    options: ReadOptions,
) -> None:
    """List executions of a linked account, the newest first."""
    first, last = to_moment("--since", since), to_moment("--until", until)

    async def read(client: RefoldClient) -> list[Execution]:
        listed = client.executions.list(
            status=status,
            slug=slug or None,
            workflow_id=workflow_id,
            source=source,
            since=first,
            until=last,
            oldest_first=oldest_first,
            page_size=min(limit, 100),
        )
        return await listed.collect(limit)

    found = options.read(read, base_url, linked_account_id)
    if options.as_json:
        print_json([each.to_dict() for each in found])
    else:
        show_executions(found)


@executions.command("get")
@grouped
def get_execution(
    execution_id: Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")],
    linked_account_id: Account = None,
    base_url: BaseURL = None,
    *,
    options: ReadOptions,
) -> None:
    """Show one execution and its nodes."""

    async def read(client: RefoldClient) -> ExecutionDetail:
        return await client.executions.get(execution_id)

    found = options.read(read, base_url, linked_account_id)
    if options.as_json:
        print_json(found.to_dict() | {"nodes": [dict(node.raw) for node in found.nodes]})
        return
    show_executions([found])
    if found.nodes:
        typer.echo()
        fields = attrgetter("id", "name", "type", "status", "attempts")
        show_table(("node", "name", "type", "status", "attempts"), map(fields, found.nodes))


def show_executions(found: list[Execution] | list[ExecutionDetail]) -> None:
    """Print executions for people."""
    columns = ("id", "status", "workflow", "event", "created (UTC)", "ended (UTC)")
    fields = attrgetter("id", "status", "workflow_name", "event", "created_at", "completed_at")
    show_table(columns, map(fields, found))
