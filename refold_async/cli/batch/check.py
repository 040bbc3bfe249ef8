"""`batch --dry-run`: every row is checked as it would be before sending, and nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer
from attrs import define, field

from ... import Trigger
from ..console.exits import EXIT_ACCEPTED, EXIT_FAILED, EXIT_USAGE
from ..console.words import counted
from ..reading.input import InputError
from ..reading.records import Origin, origin_of
from .order import KeyOrder
from .source import BadRow, Source
from .summary import in_words, lines_of
from .table import RowState, Table

_LONGEST_BODY = 2000
"""Characters of the first event's body that are shown to people."""

_USUAL_HEADERS = frozenset({"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length"})
"""Headers that are the same for all events, and that are not shown to people."""


@define(eq=False)
class DryRun:
    """Counts good and bad rows. The bad ones are not collected, so that there may be any number of them.

    :param table: what earlier runs left, and `order` whom that holds back.
    :param as_sent: returns the request that a trigger would be.
    :ivar bad: in lines, as a bad row may reach over several.
    :ivar held: rows that another one of their ordering key keeps back, if all that are sent are accepted.
    :ivar error: what was wrong with the input as a whole.
    """

    source: Source
    table: Table
    order: KeyOrder
    as_sent: Callable[[Trigger], dict[str, Any]]
    as_json: bool
    good: int = 0
    bad: int = 0
    held: int = 0
    ambiguous: dict[int, None] = field(factory=dict)
    first: dict[str, Any] | None = None
    error: str | None = None

    def run(self) -> int:
        """Check the rows, print each bad one as it is found and the first good one; return the exit code."""
        self.ambiguous = dict.fromkeys(lines_of(self.table, RowState.AMBIGUOUS))
        if self.as_json:
            typer.echo('{"bad": [', nl=False)
        try:
            for item in self.source.rows():
                if isinstance(item, BadRow):
                    self._note_bad(item)
                else:
                    self._note_good(item)
        except InputError as problem:
            self.error = str(problem)
            typer.echo(self.error, err=True)
        self._finish()
        return self._exit_code

    def _note_bad(self, row: BadRow) -> None:
        if self.as_json:
            fields = json.dumps({"line": row.line, "last_line": row.last, "message": row.problem})
            typer.echo(f"{', ' if self.bad else ''}{fields}", nl=False)
        else:
            typer.echo(f"{row.place}: {row.problem}", err=True)
        self.bad += row.count
        self.order.failed(row.ordering_key, row.line)
        if not row.is_skippable:
            name = self.source.input.name
            raise InputError(
                f"{name}, {row.place}: nothing after it was checked, as nobody can tell where rows begin again"
            )

    def _note_good(self, trigger: Trigger) -> None:
        origin = origin_of(trigger)
        if self.order.hold_on(trigger.ordering_key, origin.line) is not None:
            self.held += 1
            return
        self.order.accepted(origin.line)
        self.ambiguous.pop(origin.line, None)
        self.good += 1
        if self.first is None:
            self._note_first(trigger, origin)

    def _note_first(self, trigger: Trigger, origin: Origin) -> None:
        request = self.as_sent(trigger)
        self.first = {"line": origin.line, **request}
        if self.as_json:
            return
        body = request["body"]
        if len(body) > _LONGEST_BODY:
            body = f"{body[:_LONGEST_BODY]}… ({len(body):,} characters)"
        shown_headers = request["headers"].items()
        headers = [f"{name}: {value}" for name, value in shown_headers if name.lower() not in _USUAL_HEADERS]
        shown = "".join(f"\n    {line}" for line in [f"{request['method']} {request['url']}", *headers, body])
        typer.echo(f"The first event, from line {origin.line}, as it would be sent:{shown}", err=True)

    @property
    def _exit_code(self) -> int:
        if self.error is not None:
            return EXIT_USAGE
        return EXIT_FAILED if self.bad else EXIT_ACCEPTED

    def _finish(self) -> None:
        if self.as_json:
            rest = {
                "rows": self.good + self.held + self.bad,
                "good": self.good,
                "held": self.held,
                "ambiguous": list(self.ambiguous),
                "first": self.first,
                "error": self.error,
                "exit_code": self._exit_code,
            }
            typer.echo(f"], {json.dumps(rest)[1:]}")
        elif self.error is None:
            left = f", {self.bad:,} cannot" if self.bad else ""
            held = f", {self.held:,} would be held back by others of their ordering key" if self.held else ""
            typer.echo(f"{counted(self.good, 'row')} can be sent{left}{held}. This was a dry run: nothing was sent.")
            if self.ambiguous:
                typer.echo(
                    f"{counted(len(self.ambiguous), 'row')} may have fired, and would not be sent again: line "
                    f"{in_words(list(self.ambiguous))}. To send such rows again: --resend-ambiguous",
                    err=True,
                )
            if self.source.repeated_headers:
                repeated = counted(self.source.repeated_headers, "line")
                typer.echo(f"{repeated} repeated the header and would be left out.", err=True)
            if self.source.was_limited:
                typer.echo("The rows after them were not looked at, because of --limit.", err=True)
