"""Which rows of the input are sent: all, or what an earlier run has left to do."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from attrs import define, evolve, frozen

from ... import Idempotency, Trigger
from ...policies.fence import State, place_of, send_until
from ..reading.csv_rows import Csv
from ..reading.decode import verify
from ..reading.input import Input, InputError
from ..reading.jsonl import JsonLines
from ..reading.lines import Lines
from ..reading.problems import RowError
from ..reading.records import Constants, Format, Record, build, checked
from ..reading.settings import InputFormat, Reading
from .table import Table


@frozen
class BadRow:
    """A row that cannot be sent, and why.

    :ivar line: its first line; `last` is its last one, as a quote that is never closed takes in what follows.
    :ivar is_skippable: whether it is known where the next row begins.
    :ivar ordering_key: the one that it has, if that could be read.
    """

    line: int
    problem: str
    last: int
    is_skippable: bool = True
    ordering_key: str | None = None

    @property
    def place(self) -> str:
        """The lines, in words."""
        return f"line {self.line}" if self.last == self.line else f"lines {self.line} to {self.last}"

    @property
    def count(self) -> int:
        """How many lines it takes."""
        return self.last - self.line + 1


@frozen(kw_only=True)
class Again:
    """Which rows of an earlier run are sent again.

    :ivar ambiguous: those that may have fired, whatever that leads to.
    :ivar rejected: those that Refold did not want.
    :ivar idempotency: the declaration, under which rows that may have fired are sent again in time with the same key.
    """

    ambiguous: bool = False
    rejected: bool = False
    idempotency: Idempotency | None = None


@define(eq=False)
class Source:
    """The rows of an input.

    :param check: raises `InvalidTriggerError` for what could not be sent.
    :param table: what is known of the rows from before.
    :ivar offset: where the first row is that is sent, in bytes.
    :ivar was_limited: whether it ended at the limit that was asked for, before the end of the input.
    """

    input: Input
    _format: Format
    _constants: Constants
    _check: Callable[[Trigger], object]
    _table: Table
    _again: Again
    _reading: Reading
    offset: int = 0
    was_limited: bool = False
    _is_empty: bool = True
    _is_verified: bool = False

    @property
    def repeated_headers(self) -> int:
        """How many lines were left out because they repeat the header."""
        return self._format.repeated_headers

    def compare(self) -> None:
        """Make sure that the input is still what it was, as far as that matters; then begin at the first row to send.

        Every row that fired, or may have, must be where it was and hold what it held. So what comes is never sent
        twice because it has moved; rows that did not fire may have been corrected, and more may have been added.

        :raises InputError: when the input has changed.
        """
        self._verify()
        if not self._table.last:
            return
        self.input.keep()
        lines = Lines(self.input, self._reading.encoding)
        before = 0
        start: int | None = None
        position = 0
        for record in self._format.records(lines):
            if start is None and record.line <= self._table.last and self._left_to_do(record) is not None:
                start = position
            self._compare_gap(before, record.line)
            self._compare_row(record)
            before, position = record.line, lines.offset
            self._is_empty = False
            if before >= self._table.last:
                break
        else:
            self._compare_gap(before, self._table.last + 1)
        self.offset = position if start is None else start
        self.input.rewind()

    def _verify(self) -> None:
        if self._is_verified:
            return
        self._is_verified = True
        try:
            verify(self.input)
        except OSError as error:
            raise InputError(f"reading {self.input.name} failed: {error.strerror}") from error

    def _compare_gap(self, before: int, line: int) -> None:
        if line - before > 1:
            missing = self._table.may_have_fired(before + 1, line)
            if missing is not None:
                raise self._changed(missing, "is not there any more")

    def _compare_row(self, record: Record) -> None:
        fired = self._table.may_have_fired(record.line, record.line + 1) is not None
        if fired and not self._table.matches(record.line, record.digest):
            raise self._changed(record.line, "is another now")

    def _changed(self, line: int, how: str) -> InputError:
        return InputError(
            f"{self.input.name} has changed: the row that was sent as line {line} {how}. Rows that were sent must stay "
            "as and where they are; others may be mended or added. For another input, name another journal"
        )

    def rows(self, before_read: Callable[[], None] = lambda: None) -> Iterator[Trigger | BadRow]:
        """Yield the rows to send, in order, and those that cannot be sent.

        :param before_read: called before it may have to wait for more input.
        :raises InputError: where the input as a whole cannot be used.
        """
        self._verify()
        lines = Lines(self.input, self._reading.encoding, before_read)
        remaining = self._reading.limit
        known = self._table.last  # from earlier runs: this one only adds to it
        form, constants, check = self._format, self._constants, self._check
        key = resend_until = None
        for record in form.records(lines):
            if record.line <= known:
                self._is_empty = False
                self._compare_row(record)
                left = self._left_to_do(record)
                if left is None:
                    continue
                key, resend_until = left
            else:
                key = resend_until = None
            try:
                trigger = build(form, record, constants, key=key, resend_until=resend_until)
                if resend_until is not None and self._again.idempotency is not None:
                    first = resend_until - self._again.idempotency.retry_within
                    trigger = evolve(trigger, first_sent_at=datetime.fromtimestamp(first, UTC))
                checked(trigger, check)
            except RowError as error:
                self._is_empty = False
                key_of_row = _ordering_key(form, record)
                yield BadRow(record.line, str(error), record.last, record.is_skippable, key_of_row)
                continue
            self._is_empty = False
            yield trigger
            if remaining is not None:
                remaining -= 1
                if remaining <= 0:
                    self.was_limited = True
                    return
        if self._is_empty:
            raise InputError(f"{self.input.name} has no rows: {self._format.beginning}")

    def _left_to_do(self, record: Record) -> tuple[str | None, float | None] | None:
        """Return the key to send a row with again, and until when that may be done; None if it is not to be sent."""
        state = self._table.fence(record.line)
        if state is State.REJECTED:
            is_as_it_was = self._table.matches(record.line, record.digest)
            return None if is_as_it_was and not self._again.rejected else (None, None)
        if state is State.QUEUED:
            return None, None
        idempotency = self._again.idempotency
        sent = self._table.sent.get(record.line)
        until = send_until(
            state,
            sent,
            now=time.time(),
            place=place_of(idempotency),
            retry_within=None if idempotency is None else idempotency.retry_within,
            asked=self._again.ambiguous,
        )
        if until is None:
            return None
        return None if sent is None else sent.key, None if until == math.inf else until


def _ordering_key(form: Format, record: Record) -> str | None:
    if record.problem is not None:
        return None
    try:
        key = form.fields(record).get("ordering_key")
    except RowError:
        return None
    return key if isinstance(key, str) else None


def make_format(reading: Reading, constants: Constants, *, with_digests: bool) -> Format:
    """Return what cuts an input into records.

    :param with_digests: whether the records have digests, to compare them with those of another run.
    """
    if reading.format is InputFormat.CSV:
        return Csv(constants, reading, with_digests=with_digests)
    return JsonLines(with_digests=with_digests)


@contextlib.contextmanager
def open_rows(
    file: str,
    reading: Reading,
    constants: Constants,
    check: Callable[[Trigger], object],
    *,
    with_digests: bool = False,
) -> Iterator[Source]:
    """Open a file, or standard input for `-`; `rows()` yields its triggers, and the rows that are none.

    :param check: raises `InvalidTriggerError` for what could not be sent.
    :raises InputError: when it cannot be read.
    """
    source = Input.open(file)
    try:
        form = make_format(reading, constants, with_digests=with_digests)
        yield Source(source, form, constants, check, Table(), Again(), reading)
    finally:
        source.close()
