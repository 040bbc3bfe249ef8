"""What a batch comes to: for people, for machines, and as an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define
from rich.console import Console
from rich.table import Table as Grid

from ._exits import EXIT_ACCEPTED, EXIT_AMBIGUOUS, EXIT_FAILED, EXIT_USAGE
from ._progress import Status, counted, duration
from ._run import Run
from ._table import DOUBTFUL, INVALID, NOT_SENT, REFUSED, REJECTED, RESENDING, Table

_MOST_LISTED = 30
"""How many lines are named in the summary for people; the one for machines has them all."""


@define(eq=False)
class Summary:
    """How a run ended.

    :param before: how far the batch was before it.
    """

    run: Run
    before: Status

    @property
    def exit_code(self) -> int:
        """0 when all rows were accepted, 3 when some may have fired, 2 for an input that is at fault, else 1."""
        status = self.run.look()
        if status.ambiguous:
            return EXIT_AMBIGUOUS
        if self.run.stopped == "input":
            return EXIT_USAGE
        if self.run.stopped or status.done > status.accepted:
            return EXIT_FAILED
        return EXIT_ACCEPTED

    def as_dict(self) -> dict[str, Any]:
        """Give it for machines."""
        run = self.run
        return {
            **_counts(run.look()),
            "earlier": _counts(self.before),
            "lines": {kind: lines_of(run.table, *states) for kind, states in _LISTED.items()},
            "failures": run.failures,
            "failures_left_out": run.failed - len(run.failures),
            "unwritten": [] if run.journal is None else run.journal.unwritten,
            "retries": run.retries,
            "seconds": round(run.seconds, 3),
            "stopped": run.stopped,
            "error": run.error,
            "journal": None if run.journal is None else str(run.journal.path),
            "exit_code": self.exit_code,
        }

    def show(self, console: Console) -> None:
        """Print it for people."""
        status, run = self.run.look(), self.run
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(justify="right")
        grid.add_column()
        grid.add_column(overflow="fold")
        earlier = self.before.accepted
        for kind, count in _counts(status).items():
            if not count and kind != "accepted":
                continue
            style = _STYLES[kind]
            words = f"({earlier:,} of them before this run)" if earlier else ""
            if kind in _LISTED:
                words = f"line {in_words(lines_of(run.table, *_LISTED[kind]))}"
            grid.add_row(f"[{style}]{count:,}[/]", f"[{style}]{kind.replace('_', ' ')}[/]", words)
        console.print(grid)
        if run.ended:
            console.print(
                f"{counted(run.ended, 'row')} in {duration(run.seconds)}, "
                f"{run.ended / max(run.seconds, 0.001):.1f} a second; {counted(run.retries, 'retry', 'retries')}.",
                highlight=False,
            )
        for sentence in self._what_to_do(status):
            console.print(sentence, markup=False, highlight=False)

    def _what_to_do(self, status: Status) -> Iterable[str]:
        run = self.run
        journal = run.journal
        if run.stopped and run.stopped != "input":
            yield f"It was stopped before the end of the input: nothing after line {run.table.last} was sent."
        if journal is not None and journal.unwritten:
            yield (
                f"The ends of line {in_words(journal.unwritten)} are not in the journal: with --resume they will "
                "count as ambiguous, whatever is said above."
            )
        if journal is not None and (run.stopped or status.not_sent):
            yield "To go on, run the same command with --resume."
        elif run.stopped and run.ended:
            yield "There is no journal, so running it again would send what was accepted again: see --journal."
        if journal is not None and run.table.count(REFUSED):
            yield (
                f"{counted(run.table.count(REFUSED), 'row')} of the rejected met a wrong credential or a busy Refold: "
                "--resume sends such rows again."
            )
        if status.ambiguous:
            yield (
                "What is ambiguous may have fired, and may not: look for it in Refold, under executions."
                + (" To send it again all the same: --resume --resend-ambiguous." if journal is not None else "")
            )


_LISTED = {
    "rejected": (REJECTED, REFUSED),
    "not_sent": (NOT_SENT,),
    "ambiguous": (DOUBTFUL, RESENDING),
    "invalid": (INVALID,),
}

_STYLES = {"accepted": "green", "rejected": "red", "not_sent": "red", "ambiguous": "bold yellow", "invalid": "red"}


def _counts(status: Status) -> dict[str, int]:
    return {
        "accepted": status.accepted,
        "rejected": status.rejected,
        "not_sent": status.not_sent,
        "ambiguous": status.ambiguous,
        "invalid": status.invalid,
    }


def lines_of(table: Table, *states: int) -> list[int]:
    """Give the lines of the rows in these states, in order."""
    return sorted(line for state in states for line in table.lines(state))


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
