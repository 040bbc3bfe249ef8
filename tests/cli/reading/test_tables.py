"""Any table that Python's csv writes, in each form that is claimed to be read, comes out as it went in, or stops."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refold_async import Trigger
from refold_async.cli.batch.source import BadRow, open_rows
from refold_async.cli.reading.input import InputError
from refold_async.cli.reading.names import fold
from refold_async.cli.reading.records import Constants
from refold_async.cli.reading.settings import InputFormat, Reading

NASTY = " ,;|\t\"'\r\n\0\x0b\x0c\x1c\x85\u2028\ufeff\u200b\xa0=a1é€😀"
CONSTANTS = Constants(slug="slack", event="E")


@frozen
class Writing:
    """How a table is written."""

    delimiter: str
    line_end: str
    quoting: Any
    encoding: str
    is_packed: bool
    has_sep_line: bool

    def write(self, table: list[list[str]]) -> bytes:
        text = io.StringIO()
        if self.has_sep_line:
            text.write(f"sep={self.delimiter}{self.line_end}")
        writer = csv.writer(
            text, delimiter=self.delimiter, lineterminator=self.line_end, quoting=self.quoting, strict=True
        )
        writer.writerows(table)
        content = text.getvalue().encode(self.encoding)
        return gzip.compress(content) if self.is_packed else content


writings = st.builds(
    Writing,
    st.sampled_from(",;|\t"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.booleans(),
    st.booleans(),
)
names = st.text("abcdeghz_", min_size=1, max_size=8).filter(lambda name: name not in ("slug", "event", "acc_id"))
characters = st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"]))


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str]) -> list[list[str]]:
    header = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    row = st.lists(cells, min_size=len(header), max_size=len(header))
    return [header, *draw(st.lists(row, max_size=6))]


def read(content: bytes, reading: Reading) -> tuple[list[Any], str | None]:
    """Return the payloads that would fire, and what stopped it."""
    fired: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        with open_rows(str(path), reading, CONSTANTS, lambda _: None) as source:
            try:
                for row in source.rows():
                    if isinstance(row, BadRow):
                        return fired, row.problem
                    assert isinstance(row, Trigger)
                    fired.append(row.payload)
            except InputError as error:
                return fired, str(error)
    return fired, None


def what_may_fire(table: list[list[str]]) -> list[dict[str, str]]:
    header, *rows = table
    return [dict(zip(header, row, strict=True)) for row in rows if any(row) and row != header]


PLAIN = Writing(",", "\n", csv.QUOTE_MINIMAL, "utf-8", False, False)


@given(tables(st.text(characters, max_size=6)), writings)
@example([["a"], ["x\r"]], PLAIN)
@example([["a"], ["x"], ["y\r"], ["z"]], PLAIN)
@example([["a"], ["x,"]], evolve(PLAIN, delimiter=";"))
@example([["a"], [","], ["x"]], evolve(PLAIN, delimiter=";"))
@example([["a", "b"], ["1", "x\n2,y"], ["3", "z"]], PLAIN)
@settings(max_examples=300)
def test_a_table_comes_out_as_it_went_in_or_stops_before_what_would_not(
    table: list[list[str]], writing: Writing
) -> None:
    fired, stopped = read(writing.write(table), Reading(format=InputFormat.CSV))
    expected = what_may_fire(table)
    assert fired == expected[: len(fired)]
    assert stopped is not None or fired == expected
    assert stopped is None or len(fired) < len(expected) or "has no rows" in stopped or "line" in stopped


def is_ruled(cells: list[str]) -> bool:
    """Whether there are only lines that are drawn."""
    return all(not cell.strip("-=+_*~") for cell in cells)


def may_be_no_row(header: list[str], row: list[str]) -> bool:
    """Whether a row has a name of the header in it, a mark before it, or only lines that are drawn."""
    filled = [cell.strip() for cell in row if cell.strip()]
    shares = not {fold(name) for name in header}.isdisjoint(fold(cell) for cell in filled)
    return shares or is_ruled(filled) or row[0].lower().startswith(("\ufeff", "sep=", '"sep='))


harmless = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)


@given(tables(harmless.filter(lambda cell: not cell or not cell.strip("\ufeff").isspace())), writings)
@example([["___"], ["0"]], PLAIN)
@settings(max_examples=200)
def test_a_table_without_control_characters_never_stops(table: list[list[str]], writing: Writing) -> None:
    fired, stopped = read(writing.write(table), Reading(format=InputFormat.CSV, delimiter=writing.delimiter))
    others = any(may_be_no_row(table[0], row) for row in table[1:]) or any(is_ruled([cell]) for cell in table[0])
    assert fired == what_may_fire(table) or others
    assert stopped is None or not fired or others


breaks = st.text(st.sampled_from('ab1,;"\n '), max_size=10).filter(lambda cell: not cell or not cell.isspace())


@given(tables(breaks), st.sampled_from(",;|\t"), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=200)
def test_cells_of_several_lines_are_read_when_they_are_declared(
    table: list[list[str]], delimiter: str, line_end: str
) -> None:
    writing = Writing(delimiter, line_end, csv.QUOTE_ALL, "utf-8", False, False)
    reading = Reading(format=InputFormat.CSV, delimiter=delimiter, multiline_cells=True)
    fired, stopped = read(writing.write(table), reading)
    if not any(may_be_no_row(table[0], row) for row in table[1:]):
        assert fired == what_may_fire(table)
        assert stopped is None or not fired


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "shift_jis", "gb18030", "utf-7", "koi8-r"])
def test_a_table_in_an_encoding_that_is_named(encoding: str) -> None:
    table = [["a", "b"], ["1", "x, y"], ["2", '"q"\nz']]
    writing = Writing(",", "\r\n", csv.QUOTE_MINIMAL, encoding, False, False)
    fired, stopped = read(writing.write(table), Reading(format=InputFormat.CSV, encoding=encoding))
    assert (fired, stopped) == (what_may_fire(table), None)
