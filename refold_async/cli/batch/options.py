"""The options of `batch`, in groups: attrs classes whose fields are the options, each with its words in the help."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from attrs import field, frozen

from ... import ConfigurationError, Idempotency, RateLimit, RetryPolicy
from ...limiters import MemoryRateLimiter, SharedRateLimiter, limiter_from_setting
from ..console.options import CACert, Verbose

_journal = partial(typer.Option, rich_help_panel="Journal")
_pace = partial(typer.Option, rich_help_panel="Pace")
_client = partial(typer.Option, rich_help_panel="Client")
_stopping = partial(typer.Option, rich_help_panel="Failures")
_output = partial(typer.Option, rich_help_panel="Output")


class OnKeyFailure(enum.StrEnum):
    """What becomes of the later rows of an ordering key when one was not accepted."""

    STOP = "stop"
    CONTINUE = "continue"


@frozen(kw_only=True)
class JournalOptions:
    """What is written down, and what of an earlier run is sent again."""

    journal_path: Annotated[
        Path | None, _journal("--journal", help="Write each row down before it is sent, and how it ended.")
    ] = None
    resume: Annotated[bool, _journal("--resume", help="Go on with the run in the journal, or begin one.")] = False
    resend_ambiguous: Annotated[bool, _journal("--resend-ambiguous", help="Also send rows that may have fired.")] = (
        False
    )
    resend_rejected: Annotated[bool, _journal("--resend-rejected", help="Also send rows that Refold rejected.")] = False
    out_of_order: Annotated[
        bool,
        _journal("--out-of-order", help="Also send rows of which a later one with the same ordering key has fired."),
    ] = False
    fsync: Annotated[bool, _journal("--fsync", help="Wait for the disk at each line, against power cuts.")] = False

    def check(self) -> None:
        """Check that the options go together.

        :raises ConfigurationError: naming those that do not.
        """
        needing = {
            "--resume": self.resume,
            "--resend-ambiguous": self.resend_ambiguous,
            "--resend-rejected": self.resend_rejected,
            "--out-of-order": self.out_of_order,
            "--fsync": self.fsync,
        }
        given = [name for name, is_given in needing.items() if is_given]
        if self.journal_path is None and given:
            raise ConfigurationError(f"{' and '.join(given)} cannot go without a --journal")


@frozen(kw_only=True)
class PaceOptions:
    """How fast to go, and how often to try."""

    max_concurrency: Annotated[int, _pace("--max-concurrency", min=1, help="Rows in flight, at most.")] = 20
    rate: Annotated[float | None, _pace("--rate", help="Events a second; 20 if left out, as Refold documents.")] = None
    burst: Annotated[int | None, _pace("--burst", help="Events at one instant on top of it; 5 if left out.")] = None
    no_rate_limit: Annotated[bool, _pace("--no-rate-limit", help="As fast as it goes.")] = False
    rate_limiter: Annotated[
        str | None,
        _pace(
            "--rate-limiter",
            envvar="REFOLD_RATE_LIMIT",
            metavar="URL",
            help="Share the limit with other processes: redis://…, postgresql://… or sqlite:///FILE.",
        ),
    ] = field(default=None, repr=False)  # a URL can hold a password
    max_attempts: Annotated[int, _pace("--max-attempts", min=1, help="For each row; 1 never tries again.")] = 3
    max_retry_after: Annotated[
        float, _pace("--max-retry-after", min=0, help="The longest pause in seconds that Refold may ask for.")
    ] = 600.0

    def make_limiter(self) -> MemoryRateLimiter | SharedRateLimiter | None:
        """Return the rate limiter, or None for no limit.

        :raises ConfigurationError: for numbers that make no sense, and for a limit together with `--no-rate-limit`.
        """
        if self.no_rate_limit:
            if self.rate is not None or self.burst is not None:
                raise ConfigurationError("--no-rate-limit goes with neither --rate nor --burst")
            return None
        usual = RateLimit()
        try:
            limit = RateLimit(
                usual.rate if self.rate is None else self.rate, usual.burst if self.burst is None else self.burst
            )
        except ValueError as error:
            raise ConfigurationError(f"--rate, --burst: {error}") from None
        shared = limiter_from_setting(self.rate_limiter, "--rate-limiter", limit, max_retry_after=self.max_retry_after)
        return shared or MemoryRateLimiter(limit, max_retry_after=self.max_retry_after)

    def make_retry_policy(self) -> RetryPolicy:
        """Return when an attempt is repeated."""
        return RetryPolicy(max_attempts=self.max_attempts, max_retry_after=self.max_retry_after)


@frozen(kw_only=True)
class FailureOptions:
    """When to go on after failures, and where the rows go that failed."""

    on_key_failure: Annotated[
        OnKeyFailure,
        _stopping("--on-key-failure", help="After a row that was not accepted: stop or continue its ordering key."),
    ] = OnKeyFailure.STOP
    max_failures: Annotated[
        int | None, _stopping("--max-failures", min=1, help="Stop after so many rows that failed.")
    ] = None
    keep_going: Annotated[
        bool, _stopping("--keep-going", help="Go on although the first rows of an event all fail alike.")
    ] = False
    max_outage: Annotated[
        float | None,
        _stopping("--max-outage", min=0, help="Stop when Refold cannot be reached for so many seconds; else wait."),
    ] = None
    failed_to: Annotated[
        Path | None,
        _stopping("--failed-to", metavar="FILE", help="Write the rows of this run that did not fire, as JSON Lines."),
    ] = None
    ambiguous_to: Annotated[
        Path | None,
        _stopping(
            "--ambiguous-to", metavar="FILE", help="Write the rows of this run that may have fired, as JSON Lines."
        ),
    ] = None


@frozen(kw_only=True)
class ClientOptions:
    """Where Refold is, and what the customer's workflows do with repeats."""

    idempotency_header: Annotated[
        str | None, _client("--idempotency-header", help="Workflows drop repeats of the key in this header.")
    ] = None
    idempotency_field: Annotated[
        str | None,
        _client("--idempotency-field", help="Workflows drop repeats of the key in this field of the payload."),
    ] = None
    idempotency_window: Annotated[
        float, _client("--idempotency-window", help="Seconds for which they remember a key.")
    ] = 300.0
    tag: Annotated[
        bool, _client("--tag", help="Send a token of its own with each row, as its tag: `reconcile` looks for it.")
    ] = False
    tag_field: Annotated[
        str | None, _client("--tag-field", help="Send such a token in this field of the payload, too.")
    ] = None
    base_url: Annotated[str | None, _client("--base-url", help="Where Refold is; or REFOLD_BASE_URL.")] = None
    cacert: CACert = None
    deadline: Annotated[float, _client("--deadline", help="Seconds for each row, from its first slot on.")] = 30.0
    timeout: Annotated[
        float | None,
        _client("--timeout", help="Seconds for each step of an attempt; 5 to connect, 10 to answer."),
    ] = None

    def make_idempotency(self) -> Idempotency | None:
        """Return the declaration, or None where none was made.

        :raises ConfigurationError: for one that makes no sense.
        """
        header, payload_field = self.idempotency_header, self.idempotency_field
        if header is None and payload_field is None:
            return None
        try:
            return Idempotency(header=header, payload_field=payload_field, window=self.idempotency_window)
        except ValueError as error:
            names = "--idempotency-header, --idempotency-field, --idempotency-window"
            raise ConfigurationError(f"{names}: {error}") from None


@frozen(kw_only=True)
class OutputOptions:
    """What is printed, and where to."""

    as_json: Annotated[bool, _output("--json", help="Print the summary as JSON.")] = False
    quiet: Annotated[
        bool, _output("--quiet", "-q", help="Print neither progress nor summary, only what went wrong.")
    ] = False
    verbose: Verbose = False
