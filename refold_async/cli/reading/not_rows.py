"""Lines of a table that are hardly rows: another header, what goes before one, and lines with too many cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from attrs import define, field

from .header import DELIMITERS, QUOTED, Header, is_separator_line
from .names import COLUMNS, LONGEST_NAME, fold, looks_like_data, meant, spellings, spellings_of_column

OTHER_DELIMITERS = re.compile(r"[,;\t|]")
_RULE = re.compile(r"[-=+_*~]{2,}")

PUT_TOGETHER = (
    "it looks like another header: were two files with different columns put together? Send them one by one. If it is "
    "a row, call the columns that it names payload.NAME, which means the same"
)
"""What nobody can go on after: the columns of the rows that follow may be others."""


@define(eq=False)
class RowCheck:
    """Tells the rows of a table from other lines.

    :ivar names_none: whether no cell is one that another header may have; the first look, at each row.
    :ivar first: the cells of the first row, once it was read.
    """

    header: Header
    first: Sequence[str] | None = None
    names_none: Callable[[Iterable[str]], bool] = field(init=False)
    _names: frozenset[str] = field(init=False)
    _folded: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        suspects = {*self.header.cells, "sep=", "SEP=", "Sep="}
        for name in self.header.names:
            suspects |= spellings_of_column(name) if name in COLUMNS else spellings(name)
        self.names_none = frozenset(suspects - {""}).isdisjoint
        self._names = frozenset(self.header.names)
        self._folded = frozenset(map(fold, self.header.names)) - {""}

    def begins_oddly(self, cell: str) -> bool:
        """Whether a first cell, which does not begin with an ASCII letter or the like, is one to look at closely."""
        return not cell or cell.isspace() or cell[0] in "\x1a\ufeff"

    def find_problem(self, line: str, cells: Sequence[str]) -> str | None:
        """Return why a record is hardly a row of the table, or None; empty cells may follow.

        :param line: its last line, as it is written.
        """
        if is_separator_line(line):
            return "it is what Excel puts before a header: were two files put together? Remove it"
        if cells and cells[0].startswith("\ufeff"):
            return "it begins with a byte order mark: were two files put together? Remove the mark"
        filled = [cell.strip() for cell in cells if cell.strip().strip("\x1a")]
        if not filled:
            return "there are only spaces in it, or what is not printed: remove it"
        if not self.names_none(filled) and self._is_header_like(cells, filled):
            return PUT_TOGETHER
        if self.first in (None, cells) and all(_RULE.fullmatch(cell) for cell in filled):
            return "it only rules off the header: remove it"
        return _find_wrong_count(self.header, line, cells)

    def _is_header_like(self, cells: Sequence[str], filled: list[str]) -> bool:
        """Whether a record names columns, as far as one can tell from some names that it shares with the header."""
        names = self.header.names
        if any(_names_itself(name, cell) for name, cell in zip(names, cells, strict=False)):
            return True
        if len(filled) > 1 and (self._names.issuperset(filled) or self._folded.issuperset(map(fold, filled))):
            return True
        shared = self._names.intersection(filled)
        if not shared or len(set(filled)) < len(filled) or not all(map(_may_be_name, filled)):
            return False
        if len(shared) > 1:
            return True
        return len(filled) < 3 and any(
            cell in shared and (name == cell or (before not in ("", cell) and looks_like_data(before) is not None))
            for name, cell, before in zip(names, cells, self.first or names, strict=False)
        )


def _names_itself(name: str, cell: str) -> bool:
    """Whether a cell of one of our own columns is that column's name; an event may well be called Event."""
    return name in COLUMNS and (cell == name or (meant(cell) == name and fold(cell) != "event"))


def _may_be_name(cell: str) -> bool:
    return len(cell) <= LONGEST_NAME and looks_like_data(cell) is None


def _find_wrong_count(header: Header, line: str, cells: Sequence[str]) -> str | None:
    width = len(header.names)
    if not header.has_delimiter:
        unquoted = QUOTED.sub("", line)
        found = next((each for each in DELIMITERS if each in unquoted), None)
        if found is not None:
            return (
                f"there is a {DELIMITERS[found]} in it, and the header has one column: remove what stands above the "
                f"header, put a cell with a {DELIMITERS[found]} in quotes, or say --delimiter"
            )
    if len(cells) < width or any(cells[width:]):
        if width < len(cells) <= header.width:
            return f"cell {len(cells)} is in a column without a name: name it in the header, or remove the cell"
        name = DELIMITERS.get(header.delimiter, repr(header.delimiter))
        return f"it has {len(cells)} cells, and the header {width}: is a cell with a {name} in it without quotes?"
    return None
