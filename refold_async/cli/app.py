"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console

from .. import ConfigurationError, Delivery, ExecutionDetail, Receipt, RefoldClient, RefoldError, __version__
from .batch.command import batch
from .batch.reconcile import reconcile
from .bench.command import bench
from .console.exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS, EXIT_FAILED, EXIT_USAGE, stop
from .console.options import CACert, Verbose, trusted
from .console.output import print_json
from .console.passwords import Discreet
from .console.words import in_options, with_cause
from .demo import run_demo
from .lookup.events import events
from .lookup.executions import executions, show_executions
from .lookup.follow import follow
from .mock import mock_server
from .outbox.command import outbox
from .reading.input import InputError
from .reading.names import check_typed
from .reading.payload import read_payload

app = typer.Typer(
    cls=Discreet,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"refold-async {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Send events to Refold, and know of each whether it fired.

    Exit codes: 0 all accepted, 1 some failed, 2 wrong usage, 3 some may have fired.

    Begin with `refold-async demo`; then `refold-async batch FILE --dry-run`.
    """


@app.command()
def demo(
    events: Annotated[int, typer.Option(min=1, help="How many events to fire.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 7,
    rate: Annotated[float, typer.Option(min=1, help="Events a second; Refold's own limit is 20.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fire a batch at an embedded mock of Refold, with faults switched on, and check it against the mock's ledger."""
    summary = anyio.run(run_demo, events, seed, rate, Console(stderr=as_json))
    if as_json:
        print_json(summary.as_dict())
    raise typer.Exit(EXIT_ACCEPTED if summary.truthful else EXIT_FAILED)


@app.command(
    epilog="**Examples**\n\n"
    "`refold-async trigger pipedrive 'Deal Created' '{\"deal\": 1}' --linked-account-id acct_1`\n\n"
    "`refold-async trigger pipedrive 'Deal Created' @deal.json --json`\n\n"
    "`jq .deal order.json | refold-async trigger pipedrive 'Deal Created' -`"
)
def trigger(
    slug: Annotated[str, typer.Argument(help="The application's slug, such as pipedrive.")],
    event: Annotated[str, typer.Argument(help="The event's name, as in the Refold console.")],
    payload: Annotated[
        str | None,
        typer.Argument(metavar="[PAYLOAD|@FILE|-]", help="A JSON object; from a file, or from standard input."),
    ] = None,
    linked_account_id: Annotated[
        str | None, typer.Option(help="The end customer; or REFOLD_LINKED_ACCOUNT_ID.")
    ] = None,
    config_id: Annotated[str | None, typer.Option(help="The customer's configuration; or REFOLD_CONFIG_ID.")] = None,
    instance_tag: Annotated[str | None, typer.Option(help="A label for the execution.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The key by which Refold may drop repeats.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where Refold is; or REFOLD_BASE_URL.")] = None,
    cacert: CACert = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for the whole call.")] = 30.0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Tag the event, and wait until the executions that show the tag have ended.")
    ] = False,
    wait_timeout: Annotated[float, typer.Option(min=1, help="Seconds for --wait.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fire one event. The credential comes from REFOLD_API_KEY or REFOLD_SESSION_TOKEN, never from an option.

    With `--wait` it ends with 0 only if executions were found, and all of them completed. Refold does not document
    where a tag shows, so none may be found although the event fired.
    """
    if wait and instance_tag is not None:
        stop("--wait does not go with --instance-tag: it looks for a tag of its own")
    try:
        check_typed(event=event, linked_account_id=linked_account_id, config_id=config_id)
        fields = read_payload(payload)
    except (ConfigurationError, InputError) as error:
        stop(str(error))

    async def fire() -> Receipt:
        async with RefoldClient(base_url=base_url, deadline=deadline, verify=trusted(cacert), tag=wait) as client:
            return await client.trigger(
                slug,
                event,
                fields,
                linked_account_id=linked_account_id,
                config_id=config_id,
                instance_tag=instance_tag,
                idempotency_key=idempotency_key,
            )

    try:
        receipt = anyio.run(fire)
    except RefoldError as error:
        delivery = error.delivery or Delivery.NOT_SENT
        _report(
            as_json,
            delivery=delivery.value,
            attempts=error.attempts,
            error=type(error).__name__,
            message=in_options(with_cause(error)),
        )
        is_usage = error.attempts == 0 and delivery is Delivery.NOT_SENT and error.__cause__ is None
        if is_usage or isinstance(error, ConfigurationError):
            raise typer.Exit(EXIT_USAGE) from None
        raise typer.Exit(EXIT_AMBIGUOUS if delivery is Delivery.AMBIGUOUS else EXIT_FAILED) from None
    facts = {
        "delivery": receipt.delivery.value,
        "attempts": receipt.attempts,
        "message": receipt.message,
        "after_ambiguous": receipt.after_ambiguous,
    }
    if not (wait and as_json):  # in words it is said before the wait begins; the document has both
        _report(as_json, **facts)
    if wait:
        _wait(receipt, facts, wait_timeout, base_url=base_url, cacert=cacert, deadline=deadline, as_json=as_json)


def _wait(
    receipt: Receipt,
    facts: dict[str, Any],
    timeout: float,
    *,
    base_url: str | None,
    cacert: Path | None,
    deadline: float,
    as_json: bool,
) -> None:
    """Follow an event that has fired, and end with 1 where that fails."""
    followed: list[ExecutionDetail] = []
    in_the_way: list[str] = []

    async def wait() -> None:
        async with RefoldClient(base_url=base_url, deadline=deadline, verify=trusted(cacert)) as client:
            await follow(client, receipt, timeout, found=followed.append, report=in_the_way.append)

    try:
        anyio.run(wait)
    except KeyboardInterrupt:
        in_the_way.append("The wait was stopped. The event has fired.")
    if as_json:
        _report(True, **facts, executions=[each.to_dict() for each in followed], problems=in_the_way)
    else:
        if followed:
            show_executions(followed)
        for problem in in_the_way:
            typer.echo(problem, err=True)
    if in_the_way or not all(each.ok for each in followed):
        raise typer.Exit(EXIT_FAILED)


app.command(
    "batch",
    epilog="**Examples**\n\n"
    "`refold-async batch deals.csv --slug pipedrive --event 'Deal Created' --dry-run` checks each row, sends none\n\n"
    "`refold-async batch deals.csv … --journal deals.journal` sends them\n\n"
    "`refold-async batch deals.csv … --journal deals.journal --resume` goes on after a stop or a kill\n\n"
    "`zcat deals.jsonl.gz | refold-async batch - --failed-to failed.jsonl` keeps what did not fire",
)(batch)


app.command(
    "reconcile",
    epilog="**Examples**\n\n"
    "`refold-async batch deals.csv … --journal deals.journal --tag`, and after it\n\n"
    "`refold-async reconcile deals.journal`",
)(reconcile)
app.add_typer(executions, name="executions")
app.add_typer(events, name="events")
app.add_typer(outbox, name="outbox")
app.command("mock-server")(mock_server)
app.command("bench")(bench)


def _report(as_json: bool, **facts: object) -> None:
    if as_json:
        print_json(facts)
        return
    words = f"{facts['delivery']} after {facts['attempts']} attempt(s): {facts['message']}"
    typer.echo(words, err=facts["delivery"] != Delivery.ACCEPTED.value)
