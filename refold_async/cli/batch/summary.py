"""What a batch comes to: for people, for machines, and as an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import define
from rich.console import Console
from rich.table import Table as Grid

from ..console.exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS, EXIT_FAILED, EXIT_USAGE
from ..console.words import counted, duration
from .report import KINDS
from .run import Run
from .table import RowState, Table

_MOST_LISTED: Final = 30
"""How many lines are named in the summary for people; the one for machines has them all."""

_LEAST_TIMED: Final = 2.0
"""Seconds from which on a speed says something."""


@define(eq=False)
class Summary:
    """How a run ended.

    :param before: the counts before it.
    """

    run: Run
    before: dict[str, int]

    @property
    def exit_code(self) -> int:
        """0 when all rows were accepted, 3 when some may have fired, 2 for an input that is at fault, else 1."""
        counts, report = self.run.report.counts(), self.run.report
        if counts["ambiguous"]:
            return EXIT_AMBIGUOUS
        if report.stopped == "input":
            return EXIT_USAGE
        if report.stopped or sum(counts.values()) > counts["accepted"]:
            return EXIT_FAILED
        return EXIT_ACCEPTED

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        run, report = self.run, self.run.report
        return {
            **report.counts(),
            "earlier": self.before,
            "lines": {kind: lines_of(run.table, *KINDS[kind]) for kind in KINDS if kind != "accepted"},
            "failures": report.failures,
            "failures_left_out": report.failed - len(report.failures),
            "held": report.held,
            "unwritten": [] if run.journal is None else run.journal.unwritten,
            "retries": report.retries,
            "seconds": round(report.seconds, 3),
            "stopped": report.stopped,
            "error": report.error,
            "journal": None if run.journal is None else str(run.journal.path),
            "exit_code": self.exit_code,
        }

    def show(self, console: Console) -> None:
        """Print it for people."""
        counts, report = self.run.report.counts(), self.run.report
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(justify="right")
        grid.add_column()
        grid.add_column(overflow="fold")
        earlier = self.before["accepted"]
        for kind, count in counts.items():
            if not count and kind != "accepted":
                continue
            style = _STYLES[kind]
            if kind == "accepted":
                words = f"({earlier:,} of them before this run)" if earlier else ""
            else:
                words = f"line {in_words(lines_of(self.run.table, *KINDS[kind]))}"
            grid.add_row(f"[{style}]{count:,}[/]", f"[{style}]{kind.replace('_', ' ')}[/]", words)
        console.print(grid)
        if report.finished:
            speed = f", {report.finished / report.seconds:.1f} a second" if report.seconds >= _LEAST_TIMED else ""
            retries = f"; {counted(report.retries, 'retry', 'retries')}" if report.retries else ""
            console.print(
                f"{counted(report.finished, 'row')} in {duration(report.seconds)}{speed}{retries}.", highlight=False
            )
        for sentence in self._what_to_do(counts):
            console.print(sentence, markup=False, highlight=False)

    def _what_to_do(self, counts: dict[str, int]) -> Iterator[str]:
        run, report, journal = self.run, self.run.report, self.run.journal
        if report.stopped and report.stopped != "input":
            yield "It was stopped before the end of the input: what is not listed above was not sent."
        if journal is not None and journal.unwritten:
            yield (
                f"The ends of line {in_words(journal.unwritten)} are not in the journal: with --resume they will "
                "count as ambiguous, whatever is said above."
            )
        if journal is not None and (report.stopped or counts["not_sent"]):
            yield "To go on, run the same command with --resume."
        elif report.stopped and report.finished:
            yield "There is no journal, so running it again would send what was accepted again: see --journal."
        deferred = run.table.count(RowState.DEFERRED)
        if journal is not None and deferred:
            yield (
                f"{counted(deferred, 'rejected row')} failed for a reason that passes (wrong key, missing right, rate "
                "limit): --resume sends such rows again."
            )
        if counts["ambiguous"]:
            yield (
                "What is ambiguous may have fired, and may not: look for it in Refold, under executions."
                + (" To send it again: --resume --resend-ambiguous." if journal is not None else "")
            )
        for leftovers in (run.failed_to, run.ambiguous_to):
            if leftovers is not None and leftovers.failure is not None:
                yield leftovers.failure
            elif leftovers is not None and leftovers.written:
                yield f"{leftovers.path} has {counted(leftovers.written, 'row')}, to be fed in again."


_STYLES: Final = {
    "accepted": "green",
    "rejected": "red",
    "not_sent": "red",
    "ambiguous": "bold yellow",
    "invalid": "red",
}


def lines_of(table: Table, *states: RowState) -> list[int]:
    """Return the lines of the rows in these states, in order."""
    return sorted(table.lines(*states))


def in_words(lines: list[int]) -> str:
    """Name lines, those that follow each other as a range, and not too many: 3, 7-9 and 120 more."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        elif len(ranges) == _MOST_LISTED:
            break
        else:
            ranges.append([line, line])
    words = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
    left = len(lines) - sum(last - first + 1 for first, last in ranges)
    return f"{words} and {left:,} more" if left else words
