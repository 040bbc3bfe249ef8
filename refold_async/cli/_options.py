"""The options of `batch`, each with its words in the help."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


class InputFormat(enum.StrEnum):
    """How the input is written."""

    JSONL = "jsonl"
    CSV = "csv"


_rows = partial(typer.Option, rich_help_panel="Rows")
_journal = partial(typer.Option, rich_help_panel="Journal")
_pace = partial(typer.Option, rich_help_panel="Pace")
_client = partial(typer.Option, rich_help_panel="Client")

File = Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or CSV; - for standard input.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

Format = Annotated[InputFormat | None, _rows("--format", help="CSV where the name ends in .csv, else JSON Lines.")]
Slug = Annotated[str | None, _rows("--slug", help="For rows without one.")]
Event = Annotated[str | None, _rows("--event", help="For rows without one.")]
LinkedAccountId = Annotated[
    str | None, _rows("--linked-account-id", help="For rows without one; or REFOLD_LINKED_ACCOUNT_ID.")
]
ConfigId = Annotated[str | None, _rows("--config-id", help="That customer's configuration; or REFOLD_CONFIG_ID.")]
InstanceTag = Annotated[str | None, _rows("--instance-tag", help="A label for all executions.")]
SkipInvalid = Annotated[bool, _rows("--skip-invalid", help="Leave out rows that cannot be sent, and send the rest.")]
DryRun = Annotated[bool, _rows("--dry-run", help="Check every row and send nothing.")]

JournalPath = Annotated[
    Path | None, _journal("--journal", help="Write each row down before it is sent, and how it ended.")
]
Resume = Annotated[bool, _journal("--resume", help="Go on with the run in the journal, or begin one.")]
ResendAmbiguous = Annotated[bool, _journal("--resend-ambiguous", help="Also send rows that may have fired.")]
ResendRejected = Annotated[bool, _journal("--resend-rejected", help="Also send rows that Refold rejected.")]
Fsync = Annotated[bool, _journal("--fsync", help="Wait for the disk at each line, against power cuts.")]

MaxConcurrency = Annotated[int, _pace("--max-concurrency", min=1, help="Rows in flight, at most.")]
Rate = Annotated[float | None, _pace("--rate", help="Events a second; 20 if left out, as Refold documents.")]
Burst = Annotated[int | None, _pace("--burst", help="Events at one instant on top of it; 5 if left out.")]
NoRateLimit = Annotated[bool, _pace("--no-rate-limit", help="As fast as it goes.")]
MaxAttempts = Annotated[int, _pace("--max-attempts", min=1, help="For each row; 1 never tries again.")]
MaxRetryAfter = Annotated[
    float, _pace("--max-retry-after", min=0, help="The longest pause in seconds that Refold may ask for.")
]

IdempotencyHeader = Annotated[
    str | None, _client("--idempotency-header", help="Workflows drop repeats of the key in this header.")
]
IdempotencyField = Annotated[
    str | None, _client("--idempotency-field", help="Workflows drop repeats of the key in this field of the payload.")
]
IdempotencyWindow = Annotated[float, _client("--idempotency-window", help="Seconds for which they remember a key.")]
BaseURL = Annotated[str | None, _client("--base-url", help="Where Refold is; or REFOLD_BASE_URL.")]
Deadline = Annotated[float, _client("--deadline", help="Seconds for each row, from its first slot on.")]
Timeout = Annotated[
    float | None, _client("--timeout", help="Seconds for each step of an attempt; 5 to connect, 10 to answer.")
]
