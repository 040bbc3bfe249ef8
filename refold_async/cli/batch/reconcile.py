"""`refold-async reconcile`: which rows of a journal that may have fired are seen to have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from attrs import define, field

from ... import ConfigurationError, Reconciliation, RefoldClient, Sent
from ..console.exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS, EXIT_USAGE
from ..console.options import grouped
from ..console.output import fail, print_json, show_table
from ..console.words import counted
from ..lookup.reads import ReadOptions
from .recovery import JournalError, journal_at_rest, parse_line
from .table import RowState, Table


@define
class OpenRow:
    """A row that may have fired.

    :ivar line: in the input.
    :ivar sends: what was sent for it first with each token: each run mints one, and its attempts share it.
    """

    line: int
    sends: dict[str, Sent] = field(factory=dict)


@grouped
def reconcile(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="The journal of a batch.")],
    within: Annotated[
        float, typer.Option(min=1, help="Seconds after a row's first attempt in which its execution was created.")
    ] = 60.0,
    details: Annotated[
        bool, typer.Option("--details", help="Look at the nodes too, with a request for each execution.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Where Refold is; as the journal has it, if left out.")] = None,
    *,
    options: ReadOptions,
) -> None:
    """List the rows of a batch that may have fired, and which of them are seen to have.

    It needs a batch that was sent with `--tag`: each row has a token then, and a row whose token shows in an execution
    has fired. Nothing is said of the others. The journal is not changed.

    Exit codes: 0 each such row is seen to have fired, 1 Refold could not be read, 2 wrong usage, 3 some are open.
    """
    try:
        where, rows = read_open_rows(journal)
    except JournalError as error:
        fail(error, EXIT_USAGE, as_json=options.as_json)

    async def look(client: RefoldClient) -> dict[int, list[Reconciliation]]:
        host = client.session.base_url.netloc.decode("ascii")
        here = [(row.line, sent) for row in rows for sent in row.sends.values() if sent.host == host]
        elsewhere = {sent.host for row in rows for sent in row.sends.values()} - {host}
        if elsewhere and not here:
            raise ConfigurationError(f"base_url leads to {host}, but the rows went to {', '.join(sorted(elsewhere))}")
        found = await client.reconcile([sent for _, sent in here], within=within, details=details)
        by_line: dict[int, list[Reconciliation]] = {}
        for (line, _), each in zip(here, found, strict=True):
            by_line.setdefault(line, []).append(each)
        return by_line

    found: dict[int, list[Reconciliation]] = {}
    if any(row.sends for row in rows):
        found = options.read(look, base_url or where)
    facts = [_facts(row, found.get(row.line, [])) for row in rows]
    unresolved = sum(fact["state"] != "fired" for fact in facts)
    code = EXIT_AMBIGUOUS if unresolved else EXIT_ACCEPTED
    if options.as_json:
        counts = {"fired": len(facts) - unresolved, "unresolved": unresolved}
        print_json({**counts, "rows": facts, "exit_code": code})
    else:
        _show(facts, unresolved)
    raise typer.Exit(code)


def _facts(row: OpenRow, found: list[Reconciliation]) -> dict[str, Any]:
    """Return what is known of a row: it has fired if any of its sends has."""
    proof = [each.id for one in found for each in one.executions]
    best = next((one for one in found if one.fired), found[-1] if found else None)
    if best is not None:
        why = best.why
    elif row.sends:
        why = f"it was sent to {next(iter(row.sends.values())).host}: look there with --base-url"
    else:
        why = "it was sent without --tag"
    return {
        "line": row.line,
        "state": "fired" if proof else "unresolved",
        "executions": list(dict.fromkeys(proof)),
        "candidates": [] if best is None else [each.id for each in best.candidates],
        "why": why,
    }


def _show(facts: list[dict[str, Any]], unresolved: int) -> None:
    if not facts:
        typer.echo("No row of this batch may have fired without being accepted: there is nothing to settle.")
        return
    rows = [(fact["line"], fact["state"], ", ".join(fact["executions"]), fact["why"]) for fact in facts]
    show_table(("line", "state", "executions", "why"), rows)
    fired = len(facts) - unresolved
    typer.echo(f"{counted(fired, 'row')} seen to have fired; of {counted(unresolved, 'row')} nothing is known.")


def read_open_rows(path: Path) -> tuple[str, list[OpenRow]]:
    """Return where the rows of a journal went, and those that may have fired.

    :raises JournalError: for what is no journal, damaged, or in use.
    """
    table = Table()
    try:
        with journal_at_rest(path, table) as (file, found):
            rows = {line: OpenRow(line) for line in sorted(table.lines(RowState.AMBIGUOUS))}
            where = str(found.base_url)
            file.seek(0)
            for entry in _entries(file, found.size):
                if "resumed" in entry:
                    where = str(entry.get("base_url", where))
                row = rows.get(entry["line"]) if entry.get("what") == "sending" else None
                if row is not None and isinstance(entry.get("token"), str):
                    row.sends.setdefault(entry["token"], _sent(entry, where))
    except (OverflowError, ValueError) as error:  # a time that no clock has shown
        raise JournalError(f"{path} is damaged: {error}. Restore it from a copy") from error
    return where, list(rows.values())


def _entries(file: Any, size: int) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal up to a size; what is no line of one is left out."""
    read = 0
    for line in file:
        read += len(line)
        if read > size:
            return
        entry = parse_line(line)
        if entry is not None:
            yield entry


def _sent(entry: dict[str, Any], base_url: str) -> Sent:
    """Return what a line of the journal says was sent. Its body is not known."""
    return Sent.from_dict(
        {
            "call_id": f"line {entry['line']}",
            "host": urlsplit(base_url).netloc,
            "slug": str(entry.get("slug")),
            "event": str(entry.get("event")),
            "linked_account_id": entry.get("account"),
            "config_id": None,
            "instance_tag": None,
            "idempotency_key": entry.get("key"),
            "token": entry["token"],
            "first_sent_at": datetime.fromtimestamp(float(entry["at"]), UTC).isoformat(),
            "body_sha256": "",
        }
    )
