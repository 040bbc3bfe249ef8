"""`refold-async batch`, and what it is put together from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import typer
from attrs import frozen
from rich.console import Console

from ... import ConfigurationError, RefoldClient
from ..._types.values import UNSET
from ...limiters import MemoryRateLimiter, SharedRateLimiter
from ...policies.fence import place_of
from ..console.exits import EXIT_USAGE
from ..console.options import grouped, trusted
from ..console.output import print_json
from ..console.progress import Progress, print_line
from ..console.words import in_options
from ..reading.input import Input, InputError
from ..reading.names import check_typed
from ..reading.options import InputOptions
from ..reading.records import Constants
from ..reading.settings import Reading
from .check import DryRun
from .descriptors import affordable_connections
from .journal import Journal
from .leftovers import Leftovers, check_apart
from .options import ClientOptions, FailureOptions, JournalOptions, OnKeyFailure, OutputOptions, PaceOptions
from .order import KeyOrder
from .recovery import JournalError
from .run import Run
from .source import Again, Source, make_format
from .summary import Summary
from .table import Table
from .trials import Trials

_LONG_JOURNAL = 20_000_000
"""Bytes that take a second or so to read."""


@frozen(kw_only=True)
class BatchCommand:
    """The options of `batch`, and what is done with them."""

    rows: InputOptions
    journal: JournalOptions
    failures: FailureOptions
    pace: PaceOptions
    client: ClientOptions
    output: OutputOptions

    def __attrs_post_init__(self) -> None:
        """Check that the options go together.

        :raises ConfigurationError: naming those that do not.
        """
        self.journal.check()
        if self.client.tag and self.rows.instance_tag is not None:
            raise ConfigurationError("--tag does not go with --instance-tag: a row has one tag")
        rows, failures = self.rows, self.failures
        check_apart(journal=self.journal.journal_path, failed_to=failures.failed_to, ambiguous_to=failures.ambiguous_to)
        check_typed(event=rows.event, linked_account_id=rows.linked_account_id, config_id=rows.config_id)

    def run(self) -> int:
        """Do it, and return the exit code.

        :raises ConfigurationError: for options that make no sense.
        :raises InputError: for an input that cannot be used.
        :raises JournalError: for a journal that cannot be used.
        """
        limiter = self.pace.make_limiter()
        reading = self.rows.make_reading(self.rows.limit)
        client = self._make_client(limiter)
        constants = Constants(slug=self.rows.slug, event=self.rows.event, instance_tag=self.rows.instance_tag)
        source_input = Input.open(self.rows.file)
        journal: Journal | None = None
        try:
            journal = self._open_journal(client, constants, reading, source_input.name)
            table = Table() if journal is None else journal.table
            source = self._make_source(client, constants, reading, source_input, table)
            self._print_beforehand(source_input, journal)
            source.compare()
            if self.rows.dry_run:
                return DryRun(source, table, self._make_order(table), client.preview, self.output.as_json).run()
            return self._send(self._make_run(source, table, journal, limiter), client)
        finally:
            if journal is not None:
                journal.close()
            source_input.close()

    def _make_client(self, limiter: MemoryRateLimiter | SharedRateLimiter | None) -> RefoldClient:
        return RefoldClient(
            **_credential(self.rows.dry_run),
            base_url=self.client.base_url,
            linked_account_id=self.rows.linked_account_id,
            config_id=self.rows.config_id,
            deadline=self.client.deadline,
            retry=self.pace.make_retry_policy(),
            rate_limit=limiter,
            idempotency=self.client.make_idempotency(),
            max_connections=affordable_connections(max(50, self.pace.max_concurrency)),
            timeout=UNSET if self.client.timeout is None else self.client.timeout,
            verify=trusted(self.client.cacert),
            tag=self.client.tag,
            tag_field=self.client.tag_field,
        )

    def _open_journal(
        self, client: RefoldClient, constants: Constants, reading: Reading, source: str
    ) -> Journal | None:
        path = self.journal.journal_path
        if path is None:
            return None
        _print_if_long(path)
        return Journal.open(
            path,
            settings=_settings_of(client, constants, reading),
            base_url=str(client.session.base_url),
            place=place_of(self.client.make_idempotency()),
            source=source,
            resume=self.journal.resume,
            fsync=self.journal.fsync,
            read_only=self.rows.dry_run,
        )

    def _make_source(
        self, client: RefoldClient, constants: Constants, reading: Reading, source_input: Input, table: Table
    ) -> Source:
        again = Again(
            ambiguous=self.journal.resend_ambiguous,
            rejected=self.journal.resend_rejected,
            idempotency=self.client.make_idempotency(),
        )
        form = make_format(reading, constants, with_digests=self.journal.journal_path is not None)
        return Source(source_input, form, constants, client.check, table, again, reading)

    def _make_run(
        self,
        source: Source,
        table: Table,
        journal: Journal | None,
        limiter: MemoryRateLimiter | SharedRateLimiter | None,
    ) -> Run:
        return Run(
            source=source,
            table=table,
            journal=journal,
            limiter=limiter,
            order=self._make_order(table),
            trials=Trials(on=not self.failures.keep_going),
            max_concurrency=self.pace.max_concurrency,
            skip_invalid=self.rows.skip_invalid,
            max_failures=self.failures.max_failures,
            max_outage=self.failures.max_outage,
            failed_to=Leftovers.of(self.failures.failed_to, "--failed-to"),
            ambiguous_to=Leftovers.of(self.failures.ambiguous_to, "--ambiguous-to"),
        )

    def _make_order(self, table: Table) -> KeyOrder:
        stops = self.failures.on_key_failure is OnKeyFailure.STOP
        order = KeyOrder(stops=stops, out_of_order=self.journal.out_of_order)
        order.remember(table.keyed())
        return order

    def _send(self, run: Run, client: RefoldClient) -> int:
        """Send it all, print what came of it, and return the code for that."""
        summary = Summary(run, run.report.counts())

        async def send() -> None:
            async with contextlib.AsyncExitStack() as stack:
                if run.limiter is not None:
                    stack.push_async_callback(run.limiter.aclose)
                await stack.enter_async_context(client)
                await run.send(client, Progress(Console(stderr=True), run.snapshot, quiet=self.output.quiet))

        try:
            anyio.run(send)
        finally:
            for leftovers in (run.failed_to, run.ambiguous_to):
                if leftovers is not None:
                    leftovers.close()
        report = run.report
        if run.source.was_limited and not self.output.quiet:
            others = "were not sent" if run.journal is None else "are sent with --resume"
            typer.echo(f"Stopped at --limit {self.rows.limit}: the rows after them {others}.", err=True)
        if report.error is not None:
            print_line(Console(stderr=True), report.error)
        if self.output.as_json:
            print_json(summary.as_dict())
        elif not self.output.quiet and (report.finished or report.stopped != "input"):
            summary.show(Console())
        return summary.exit_code

    def _print_beforehand(self, source: Input, journal: Journal | None) -> None:
        if self.output.quiet:
            return
        console = Console(stderr=True)
        if source.is_terminal:
            print_line(console, "Type the rows, one a line; Ctrl-D ends them.")
        for line in _remarks(journal, dry_run=self.rows.dry_run):
            print_line(console, line)


@grouped
def batch(
    rows: InputOptions,
    journal: JournalOptions,
    failures: FailureOptions,
    pace: PaceOptions,
    client: ClientOptions,
    output: OutputOptions,
) -> None:
    """Fire an event for each row of a file, once.

    A row has slug, event, payload, linked_account_id, config_id, ordering_key and idempotency_key: the keys of a JSON
    object on a line of its own, or columns of CSV, whose other columns become the payload. The credential comes from
    REFOLD_API_KEY or REFOLD_SESSION_TOKEN, never from an option.

    Exit codes: 0 all accepted, 1 some failed, 2 wrong usage or input, 3 some may have fired.
    """
    try:
        command = BatchCommand(rows=rows, journal=journal, failures=failures, pace=pace, client=client, output=output)
        code = command.run()
    except (ConfigurationError, InputError, JournalError) as error:
        message = in_options(str(error))
        typer.echo(message, err=True)
        if output.as_json:
            print_json({"error": message, "exit_code": EXIT_USAGE})
        code = EXIT_USAGE
    raise typer.Exit(code)


def _print_if_long(journal: Path) -> None:
    size = journal.stat().st_size if journal.is_file() else 0
    if size > _LONG_JOURNAL:
        typer.echo(f"Reading the journal ({size // 1_000_000} MB), and comparing the input with it.", err=True)


def _remarks(journal: Journal | None, *, dry_run: bool) -> Iterator[str]:
    if journal is None:
        if not dry_run:
            yield "Note: there is no --journal FILE, so if this run is cut off, nothing tells which rows fired."
        return
    if journal.earlier_base_url is not None:
        yield f"Note: the rows in the journal went to {journal.earlier_base_url}, and these go to {journal.base_url}."
    if journal.version < 2:
        yield (
            "Note: an older version began this journal, which did not record ordering keys: across its runs, rows that "
            "share one may go out of order."
        )


def _credential(dry_run: bool) -> dict[str, Any]:
    """Stand in for the credential where none is needed; else leave it to the client to find it."""
    if dry_run and not (os.environ.get("REFOLD_API_KEY") or os.environ.get("REFOLD_SESSION_TOKEN")):
        return {"api_key": "not-needed-to-check-rows"}
    return {}


def _settings_of(client: RefoldClient, constants: Constants, reading: Reading) -> str:
    """Return a digest of what the rows that do not say so themselves have in common."""
    whom = (client.linked_account_id, client.config_id)
    common = (constants.slug, constants.event, constants.instance_tag, *whom, *reading.meaning)
    return hashlib.blake2b(json.dumps(common).encode(), digest_size=16).hexdigest()
