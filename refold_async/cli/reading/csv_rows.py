"""Comma-separated values, whatever separates them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field

from .cells import HeaderError, Mapper
from .header import Header, read_header, refuse_row_like
from .input import LONGEST_LINE, InputError
from .lines import Lines
from .not_rows import OTHER_DELIMITERS, PUT_TOGETHER, RowCheck
from .records import Constants, Record, digest_of
from .settings import Reading

_CURE = (
    "Put cells with commas, quotes or line breaks in quotes, and double the quotes inside them. For another way of "
    "writing them, save it as CSV UTF-8 from a spreadsheet"
)


@define(eq=False)
class Csv:
    """Tables with a header. The columns of `COLUMNS` mean what they say; the others are the payload.

    What follows from the header is there once `records` has read it, so before the first record.
    """

    constants: Constants
    _reading: Reading
    with_digests: bool = True
    repeated_headers: int = 0
    beginning = "line 1 should name the columns, as in slug,event,payload, and the rows come after it"
    _header: Header = field(init=False)
    _mapper: Mapper = field(init=False)
    _check: RowCheck = field(init=False)
    _seed: bytes = field(init=False)
    _plain: re.Pattern[str] = field(init=False)

    def records(self, lines: Lines) -> Iterator[Record]:
        """Yield the records: neither blank rows, nor the header where it is repeated.

        :raises InputError: where the header makes no sense.
        """
        csv.field_size_limit(LONGEST_LINE)
        texts = iter(lines)
        header = read_header(lines, texts, self._reading.delimiter)
        if header is None:
            return
        self._use(lines, header)
        self.repeated_headers = 0
        taken = lines.taken
        taken.clear()
        reader = csv.reader(texts, strict=True, delimiter=header.delimiter)
        width, first = len(header.names), lines.number + 1
        is_first = True
        names_none, begins_oddly = self._check.names_none, self._check.begins_oddly
        is_alone = not header.has_delimiter
        while True:
            problem: str | None = None
            try:
                for cells in reader:
                    number = lines.number
                    if (
                        lines.problem is not None
                        or lines.has_other_end
                        or number != first
                        or len(cells) != width
                        or is_first
                        or (not "!" <= cells[0] < "\x7f" and begins_oddly(cells[0]))
                        or not names_none(cells)
                        or (is_alone and OTHER_DELIMITERS.search(cells[0]))
                    ):
                        break
                    taken.clear()
                    first = number + 1
                    yield Record(number, number, lines.offset, self._digest(cells), cells)
                else:
                    return
            except csv.Error as error:
                cells, problem = [], self._words_for(error, lines)
            if is_first and cells:
                refuse_row_like(lines, header, cells)
                self._check.first, is_first = cells, False
            yield from self._look_closely(lines, first, cells, problem)
            first = lines.number + 1

    def _use(self, lines: Lines, header: Header) -> None:
        where = f"{lines.name}, line {lines.number}, the header: "
        for name in ("slug", "event"):
            if name not in header.names and getattr(self.constants, name) is None:
                raise InputError(
                    f"{where}there is no column {name!r}, only {', '.join(header.names)}. "
                    f"Add it, or give one for all rows with --{name}"
                )
        try:
            self._mapper = Mapper.of(header.names, self._reading.types, self._reading.empty)
        except HeaderError as error:
            raise InputError(f"{where}{error}") from error
        self._check = RowCheck(header)
        self._header, self._seed, self._plain = header, _seed(header.names), _plain_row(header.delimiter)

    def _words_for(self, error: csv.Error, lines: Lines) -> str:
        if str(error) == "unexpected end of data":
            return "a quote in it is never closed"
        if "field larger" in str(error):
            return f"a quote in it is not closed within {LONGEST_LINE // 1024 // 1024} MiB"
        if "new-line character" in str(error):
            return (
                "not CSV: it has another line end inside of it than the lines around it. Save the file with one kind "
                "of line end, or put cells with line breaks in quotes"
            )
        return f"not CSV: {error}. {_CURE}"

    def _look_closely(self, lines: Lines, first: int, cells: list[str], problem: str | None) -> Iterator[Record]:
        """Yield the record of what is not one plain line with as many cells as the header."""
        header = self._header
        taken = lines.taken[:]
        lines.taken.clear()
        found, last = lines.take_problem(), lines.number
        problem = found or problem
        if problem is None and lines.has_other_end:
            problem = (
                "it ends in another way than the first line does, and what is left over may belong to its last cell: "
                "save the file with one kind of line end, as with dos2unix"
            )
        if problem is None:
            if not any(cells) and (len(cells) < 2 or header.has_delimiter):
                return
            if self._is_header(cells):
                self.repeated_headers += 1
                return
            problem = self._check.find_problem(taken[-1], cells)
        if len(taken) < 2:
            yield self._record(lines, last, cells, problem, is_skippable=problem != PUT_TOGETHER)
            return
        yield from self._spread(lines, taken, cells, first, problem)

    def _is_header(self, cells: list[str]) -> bool:
        names = [cell.strip().removeprefix("\ufeff") for cell in cells]
        while names and not names[-1]:
            names.pop()
        return names == self._header.names

    def _spread(
        self, lines: Lines, taken: list[str], cells: list[str], first: int, problem: str | None
    ) -> Iterator[Record]:
        """Yield the records of a row that reaches over several lines, which may well be several rows.

        A quote that is never closed takes in what follows, up to the next quote. If each of the other lines is a row by
        itself, only the first line is bad. Else nobody can tell where rows begin again, and nothing is skipped.
        """
        last, count = first + len(taken) - 1, len(taken)
        row_like = sum(map(self._is_row_like, taken))
        is_suspicious = row_like * 2 > sum(not line.isspace() for line in taken) and not self._reading.multiline_cells
        if problem is None and not is_suspicious:
            yield self._record(lines, first, cells, last=last)
            return
        reach = f"read as one row, it reaches to line {last} ({count:,} lines)"
        if problem is None:
            problem = (
                f"{reach}, and most of these look like rows: is there a quote in line {first} that is not closed, or "
                "one too many? If cells do hold such lines, say --multiline-cells"
            )
        else:
            problem = f"{problem}; {reach}"
        others = [self._alone(line) for line in taken[1:]]
        if None in others:
            is_whole = row_like == 0 and bool(cells)
            yield self._record(lines, first, cells, problem, last=last, is_skippable=is_whole)
            return
        yield self._record(lines, first, [], problem)
        for number, row in enumerate(others, first + 1):
            if row and any(row):
                yield self._record(lines, number, row)

    def _is_row_like(self, line: str) -> bool:
        """Whether a line has as many delimiters as the header, and no space after them, as they have in a sentence."""
        delimiter, width = self._header.delimiter, self._header.width
        count = line.count(delimiter)
        return width > 1 and len(self._header.names) - 1 <= count <= width - 1 and delimiter + " " not in line

    def _alone(self, line: str) -> list[str] | None:
        """Read a line as a row; None if it is not plainly one."""
        header = self._header
        if header.width == 1:
            return None
        try:
            rows = list(csv.reader([line], strict=True, delimiter=header.delimiter))
        except csv.Error:
            return None
        cells = rows[0] if rows else []
        width = len(header.names)
        if not line.strip() or not any(cells):
            return []
        if self._is_header(cells) or self._check.find_problem(line, cells) is not None:
            return None
        return cells[:width] if self._plain.fullmatch(line) else None

    def _record(
        self,
        lines: Lines,
        line: int,
        cells: list[str],
        problem: str | None = None,
        *,
        last: int | None = None,
        is_skippable: bool = True,
    ) -> Record:
        """Make a record; cells beyond the header's are empty, or there is a problem."""
        digest = self._digest(cells)
        cells = cells[: len(self._header.names)]
        last = line if last is None else last
        return Record(line, last, lines.offset, digest, cells, problem, is_skippable=is_skippable)

    def _digest(self, cells: list[str]) -> bytes:
        return digest_of(self._seed + _seed(cells)) if self.with_digests else b""

    def fields(self, record: Record) -> dict[str, Any]:
        """Return the fields of a record.

        :raises RowError: where a cell is not what it should be.
        """
        return self._mapper.fields(record.content)


def _plain_row(delimiter: str) -> re.Pattern[str]:
    """Return a pattern for lines whose quotes are all at the ends of cells, or doubled inside of quoted ones."""
    between = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*"|[^"{between}\r\n]*)'
    return re.compile(rf"{cell}(?:{between}{cell})*[\r\n]*")


def _seed(cells: Iterable[str]) -> bytes:
    """Return the cells as bytes that no other cells have."""
    return json.dumps(list(cells)).encode()
