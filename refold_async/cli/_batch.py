"""`refold-async batch`, and what it is put together from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import anyio
import typer
from rich.console import Console

from .. import ConfigurationError, Idempotency, RateLimit, RefoldClient, RetryPolicy
from .._types.values import UNSET
from ..limiters import MemoryRateLimiter
from . import _options as given
from ._check import check_rows
from ._csv import Csv
from ._exits import EXIT_USAGE
from ._input import Input, InputError
from ._journal import Journal, place_of
from ._jsonl import JsonLines
from ._progress import Progress
from ._records import Constants, Format
from ._recovery import JournalError
from ._run import Run
from ._source import Again, Source
from ._summary import Summary
from ._table import Table

_LONG_JOURNAL = 20_000_000
"""Bytes that take a second or so to read."""


def batch(
    file: given.File,
    input_format: given.Format = None,
    slug: given.Slug = None,
    event: given.Event = None,
    linked_account_id: given.LinkedAccountId = None,
    config_id: given.ConfigId = None,
    instance_tag: given.InstanceTag = None,
    skip_invalid: given.SkipInvalid = False,
    dry_run: given.DryRun = False,
    journal_path: given.JournalPath = None,
    resume: given.Resume = False,
    resend_ambiguous: given.ResendAmbiguous = False,
    resend_rejected: given.ResendRejected = False,
    fsync: given.Fsync = False,
    max_concurrency: given.MaxConcurrency = 20,
    rate: given.Rate = None,
    burst: given.Burst = None,
    no_rate_limit: given.NoRateLimit = False,
    max_attempts: given.MaxAttempts = 3,
    max_retry_after: given.MaxRetryAfter = 600.0,
    idempotency_header: given.IdempotencyHeader = None,
    idempotency_field: given.IdempotencyField = None,
    idempotency_window: given.IdempotencyWindow = 300.0,
    base_url: given.BaseURL = None,
    deadline: given.Deadline = 30.0,
    timeout: given.Timeout = None,
    as_json: given.AsJSON = False,
) -> None:
    """Fire an event for each row of a file, once.

    A row has slug, event, payload, linked_account_id, config_id, ordering_key and idempotency_key: the keys of a JSON
    object on a line of its own, or columns of CSV, whose other columns become the payload. The credential comes from
    REFOLD_API_KEY or REFOLD_SESSION_TOKEN, never from an option.

    Exit codes: 0 all accepted, 1 some failed, 2 wrong usage or input, 3 some may have fired.
    """
    journal: Journal | None = None
    source_input: Input | None = None
    try:
        if journal_path is None and (resume or resend_ambiguous or resend_rejected or fsync):
            raise ConfigurationError("--resume, --resend-ambiguous, --resend-rejected and --fsync need a --journal")
        idempotency = _idempotency(idempotency_header, idempotency_field, idempotency_window)
        limiter = _limiter(rate, burst, no_rate_limit, max_retry_after)
        client = RefoldClient(
            **_credential(dry_run),
            base_url=base_url,
            linked_account_id=linked_account_id,
            config_id=config_id,
            deadline=deadline,
            retry=RetryPolicy(max_attempts=max_attempts, max_retry_after=max_retry_after),
            rate_limit=limiter,
            idempotency=idempotency,
            max_connections=max(50, max_concurrency),
            timeout=UNSET if timeout is None else timeout,
        )
        constants = Constants(slug=slug, event=event, instance_tag=instance_tag)
        source_input = Input.open(file)
        if journal_path is not None:
            _say_if_long(journal_path)
            journal = Journal.open(
                journal_path,
                settings=_settings_of(client, constants),
                base_url=str(client.session.base_url),
                place=place_of(idempotency),
                source=source_input.name,
                resume=resume,
                fsync=fsync,
                read_only=dry_run,
            )
        table = Table() if journal is None else journal.table
        again = Again(ambiguous=resend_ambiguous, rejected=resend_rejected, idempotency=idempotency)
        form = _format(input_format, file, constants)
        check = client._caller.encode  # noqa: SLF001 - the very checks that are made before sending
        source = Source(source_input, form, constants, check, table, again)
        _say_beforehand(source_input, journal)
        source.compare()
        if dry_run:
            raise typer.Exit(check_rows(source, as_json))
        run = Run(source, table, journal, limiter, max_concurrency=max_concurrency, skip_invalid=skip_invalid)
        _send(run, client, as_json)
    except (ConfigurationError, InputError, JournalError) as error:
        typer.echo(str(error), err=True)
        if as_json:
            typer.echo(json.dumps({"error": str(error), "exit_code": EXIT_USAGE}))
        raise typer.Exit(EXIT_USAGE) from None
    finally:
        if journal is not None:
            journal.close()
        if source_input is not None:
            source_input.close()


def _send(run: Run, client: RefoldClient, as_json: bool) -> None:
    """Send it all, say what came of it, and leave with the code for that."""
    summary = Summary(run, run.look())

    async def send() -> None:
        async with client:
            await run.send(client, Progress(Console(stderr=True), run.look))

    anyio.run(send)
    if run.error is not None:
        typer.echo(run.error, err=True)
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    elif run.ended or run.stopped != "input":
        summary.show(Console())
    raise typer.Exit(summary.exit_code)


def _say_if_long(journal: Path) -> None:
    size = journal.stat().st_size if journal.is_file() else 0
    if size > _LONG_JOURNAL:
        typer.echo(f"Reading the journal ({size // 1_000_000} MB), and comparing the input with it.", err=True)


def _say_beforehand(source: Input, journal: Journal | None) -> None:
    if source.is_terminal:
        typer.echo("Type the rows, one a line; Ctrl-D ends them.", err=True)
    if journal is not None and journal.earlier_base_url is not None:
        typer.echo(
            f"Note: the rows in the journal went to {journal.earlier_base_url}, and these go to {journal.base_url}.",
            err=True,
        )


def _idempotency(header: str | None, payload_field: str | None, window: float) -> Idempotency | None:
    if header is None and payload_field is None:
        return None
    try:
        return Idempotency(header=header, payload_field=payload_field, window=window)
    except ValueError as error:
        raise ConfigurationError(f"--idempotency-header, --idempotency-field, --idempotency-window: {error}") from None


def _limiter(rate: float | None, burst: int | None, off: bool, max_pause: float) -> MemoryRateLimiter | None:
    if off:
        if rate is not None or burst is not None:
            raise ConfigurationError("--no-rate-limit goes with neither --rate nor --burst")
        return None
    usual = RateLimit()
    try:
        limit = RateLimit(usual.rate if rate is None else rate, usual.burst if burst is None else burst)
    except ValueError as error:
        raise ConfigurationError(f"--rate, --burst: {error}") from None
    return MemoryRateLimiter(limit, max_retry_after=max_pause)


def _credential(dry_run: bool) -> dict[str, Any]:
    """Stand in for the credential where none is needed; else leave it to the client to find it."""
    if dry_run and not (os.environ.get("REFOLD_API_KEY") or os.environ.get("REFOLD_SESSION_TOKEN")):
        return {"api_key": "not-needed-to-check-rows"}
    return {}


def _settings_of(client: RefoldClient, constants: Constants) -> str:
    """Give a digest of what the rows that do not say so themselves have in common."""
    settings = client._caller.settings  # noqa: SLF001 - these are not public
    common = (
        constants.slug,
        constants.event,
        constants.instance_tag,
        settings.linked_account_id,
        settings.config_id,
    )
    return hashlib.blake2b(json.dumps(common).encode(), digest_size=16).hexdigest()


def _format(chosen: given.InputFormat | None, file: str, constants: Constants) -> Format:
    if chosen is None:
        chosen = given.InputFormat.CSV if Path(file).suffix.lower() == ".csv" else given.InputFormat.JSONL
    return Csv(constants) if chosen is given.InputFormat.CSV else JsonLines()
