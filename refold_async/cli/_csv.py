"""Comma-separated values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field

from ._input import LONGEST_LINE, TOO_LONG, InputError, Lines
from ._records import COLUMNS, Constants, Record, RowError, decode, digest_of, parse_json, too_long


@define(eq=False)
class Csv:
    """Comma-separated values with a header. The columns of `COLUMNS` mean what they say; the others are the payload.

    :ivar columns: the names in the header, which is where the lines begin with the first; None until it was read.
    :ivar constants: what columns need not be there for.
    """

    constants: Constants
    columns: list[str] | None = None
    beginning = "line 1 should name the columns, as in slug,event,payload, and the rows come after it"

    def records(self, lines: Lines) -> Iterator[Record]:
        csv.field_size_limit(LONGEST_LINE)
        texts = _Texts(lines)
        reader = csv.reader(texts, strict=True)
        if lines.number == 0:
            self.columns = None
        seed = b"" if self.columns is None else _seed(self.columns)
        while True:
            texts.begin()
            cells: list[str] = []
            problem = None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = (
                    f"not CSV: {error}. Put cells with commas, quotes or line breaks in quotes, and double the quotes "
                    "inside them"
                )
            problem = texts.problem or problem
            if not cells and problem is None:  # a blank line
                continue
            if self.columns is None:
                self.columns = self._header(f"{lines.name}, line {texts.first}, the header: ", cells, problem)
                seed = _seed(self.columns)
                continue
            yield Record(texts.first, lines.offset, digest_of(seed + _seed(cells)), cells, problem)

    def _header(self, where: str, cells: list[str], problem: str | None) -> list[str]:
        names = [cell.strip() for cell in cells]
        if problem is not None:
            raise InputError(where + problem)
        if "" in names:
            raise InputError(f"{where}column {names.index('') + 1} has no name")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(f"{where}the column {twice[0]!r} is there twice: rename or remove one")
        for name in names:
            plain = name.lower().replace(" ", "_").replace("-", "_")
            if name not in COLUMNS and plain in COLUMNS:
                raise InputError(f"{where}the column {name!r} must be spelled {plain!r}")
        for name in ("slug", "event"):
            if name not in names and getattr(self.constants, name) is None:
                other = "commas between them" if len(names) == 1 and (";" in names[0] or "\t" in names[0]) else "it"
                raise InputError(
                    f"{where}there is no column {name!r}, only {', '.join(names)}. "
                    f"Add {other}, or give one for all rows with --{name}"
                )
        return names

    def fields(self, record: Record) -> dict[str, Any]:
        assert self.columns is not None
        cells: list[str] = record.content
        if len(cells) != len(self.columns):
            raise RowError(
                f"it has {len(cells)} cells, and the header {len(self.columns)}: "
                "is a cell with a comma in it without quotes?"
            )
        found: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, cell in zip(self.columns, cells, strict=True):
            if name not in COLUMNS:
                others[name] = cell
            elif cell:
                found[name] = cell
        if "payload" in found:
            try:
                found["payload"] = parse_json(found["payload"])
            except RowError as error:
                raise RowError(f"the cell payload is {error}") from error
        if others:
            found["payload"] = self._merged(found.get("payload"), others)
        return found

    @staticmethod
    def _merged(payload: Any, others: dict[str, Any]) -> Any:
        if payload is None:
            return others
        if not isinstance(payload, dict):
            return payload
        both = payload.keys() & others.keys()
        if both:
            raise RowError(
                f"{min(both)!r} is a column and also in the cell payload: remove one, so that it is clear which counts"
            )
        return payload | others


def _seed(cells: Iterable[str]) -> bytes:
    """Give the cells as bytes that no other cells have."""
    return json.dumps(cells).encode()


@define(eq=False)
class _Texts(Iterator[str]):
    """The lines of CSV as text. `csv` may take several of them for one record.

    :ivar first: the number of the record's first line.
    :ivar problem: what is wrong with one of its lines.
    """

    _lines: Lines
    first: int = 0
    problem: str | None = None
    _raw: Iterator[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._raw = iter(self._lines)

    def begin(self) -> None:
        """Begin another record."""
        self.first = 0
        self.problem = None

    def __next__(self) -> str:
        raw = next(self._raw)
        self.first = self.first or self._lines.number
        if raw is TOO_LONG:
            self.problem = too_long()
            return ""
        try:
            return decode(raw) + "\n"
        except RowError as error:
            self.problem = str(error)
            return raw.decode(errors="replace") + "\n"  # so that the record keeps its shape
