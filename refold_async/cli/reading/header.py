"""The first line of CSV: what separates its cells, and whether it names the columns at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from attrs import frozen

from .input import InputError
from .lines import Lines
from .names import (
    COLUMNS,
    LONGEST_NAME,
    PREFIX,
    as_seen,
    invisible,
    looks_like_data,
    meant,
)

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

_LONGEST_HEADER = 1_000_000
"""Characters. A quote that is never closed must not make a header of the whole file."""

_SEP = re.compile(r'"?sep=(?P<delimiter>[^"\r\n]?)"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OTHER_DELIMITER = re.compile(r"[:^~!§¦\x01\x1c-\x1f\u3001\uff0c\uff1a\uff1b\uff5c]| {2,}")
"""What separates cells in some files, and seldom is part of a name."""

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"

_EXAMPLE = "slug,event,payload"


@frozen
class Header:
    """The header of a table.

    :ivar names: of the columns, up to the last that has one.
    :ivar cells: all of them, as they are written.
    :ivar has_delimiter: whether anything says what the delimiter is: one column alone does not.
    """

    names: list[str]
    cells: list[str]
    delimiter: str
    has_delimiter: bool

    @property
    def width(self) -> int:
        """How many cells it has, those without a name included."""
        return len(self.cells)


def is_separator_line(line: str) -> bool:
    """Whether this is what Excel puts before a header, as in `sep=;`."""
    return line[:1] in 's"S' and _SEP.fullmatch(line) is not None


_DIGITS = re.compile(r"\d+")


def refuse_row_like(lines: Lines, header: Header, cells: list[str]) -> None:
    """Compare the header with the first row: names such as `acct_1` above values such as `acct_2` are values.

    :raises InputError: where the header looks like a row.
    """
    for name, cell in zip(header.names, cells, strict=False):
        if name != cell and any(map(str.isdecimal, name)) and _DIGITS.sub("0", name) == _DIGITS.sub("0", cell):
            raise InputError(
                f"{lines.name}: the first line has {name!r} where the row after it has {cell[:80]!r}, so it looks like "
                f"a row: does the file begin with a line that names its columns? Add one, as in {_EXAMPLE}"
            )


def read_header(lines: Lines, texts: Iterator[str], chosen: str | None) -> Header | None:
    """Read up to the end of the header; None where there is none.

    :param chosen: the delimiter, if `--delimiter` was given.
    :raises InputError: for what is not the header of a table, with the cure.
    """
    announced: str | None = None
    for line in texts:
        if not line.strip():
            if lines.problem is None:
                continue
        elif announced is None and is_separator_line(line):
            announced = _announced(lines, line)
            continue
        first = lines.number
        where = f"{lines.name}, line {first}, the header: "
        text = line
        while QUOTED.sub("", text).count('"') and len(text) < _LONGEST_HEADER:
            more = next(texts, None)
            if more is None:
                break
            text += more
        problem = lines.take_problem()
        if problem is not None:
            raise InputError(where + problem)
        _refuse_other_formats(lines.name, text)
        delimiter = chosen or announced or _find_delimiter(where, text)
        _refuse_other_delimiter(where, text, delimiter, "the line before it" if chosen is None else "--delimiter")
        cells = _parse(where, text, delimiter)
        return _checked(where, cells, delimiter, is_sure=chosen is not None or announced is not None)
    return None


def _announced(lines: Lines, line: str) -> str:
    match = _SEP.fullmatch(line)
    assert match is not None
    delimiter = match["delimiter"]
    if not delimiter or delimiter.isalnum():
        raise InputError(
            f"{lines.name}, line {lines.number}: {line.strip()} names no delimiter that can be: say --delimiter"
        )
    return delimiter


def _refuse_other_formats(name: str, text: str) -> None:
    begins = text.lstrip()[:1]
    if begins == "<":
        raise InputError(f"{name} is HTML or XML, not CSV: is it an error page in place of the file? Download it again")
    if begins == "{":
        raise InputError(f"{name} begins as JSON, not as CSV: if it is JSON Lines, say --format jsonl")
    if begins == "[":
        raise InputError(
            f"{name} begins as a JSON array, not as CSV. Write its items one a line, as with: jq -c '.[]', and say "
            "--format jsonl"
        )


def _find_delimiter(where: str, text: str) -> str:
    plain = QUOTED.sub("", text)
    found = [delimiter for delimiter in DELIMITERS if delimiter in plain]
    if len(found) > 1:
        names = " and ".join(f"{DELIMITERS[each]}s" for each in found)
        raise InputError(
            f"{where}there are {names} in it: say which separate the columns, as with "
            f"--delimiter {DELIMITERS[found[0]]}"
        )
    if found:
        return found[0]
    return ","


def _refuse_other_delimiter(where: str, text: str, delimiter: str, who: str) -> None:
    """Compare a delimiter that was named with the header.

    :raises InputError: where the header has others only: it would be one column.
    """
    plain = QUOTED.sub("", text)
    others = [name for each, name in DELIMITERS.items() if each in plain]
    if others and delimiter not in plain:
        raise InputError(
            f"{where}there are {others[0]}s in it, and no {DELIMITERS.get(delimiter, repr(delimiter))}, as {who} says: "
            f"say --delimiter {others[0]}, or put the name in quotes if it is the only column's"
        )


def _parse(where: str, text: str, delimiter: str) -> list[str]:
    ends = re.split(r"(?<=\n)", text) if "\n" in text.rstrip("\r\n") else [text]
    try:
        rows = [row for row in csv.reader(ends, strict=True, delimiter=delimiter) if row]
    except csv.Error as error:
        raise InputError(
            f"{where}not CSV: {error}. Put names with commas or quotes in quotes, and double the quotes inside them"
        ) from error
    return rows[0] if len(rows) == 1 else []


def _checked(where: str, cells: list[str], delimiter: str, *, is_sure: bool) -> Header:
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputError(f"{where}it names no column. Begin with a line such as {_EXAMPLE}")
    if "" in names:
        raise InputError(f"{where}column {names.index('') + 1} has no name: name it, or remove it")
    for index, name in enumerate(names, 1):
        _check_name(f"{where}column {index}, {name[:80]!r}, ", name)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}the column {twice!r} is there twice: rename or remove one")
    seen = {as_seen(name): name for name in reversed(names)}
    for name in names:
        other = seen[as_seen(name)]
        if other != name:
            raise InputError(f"{where}the columns {other!a} and {name!a} look the same: rename or remove one")
        _check_spelling(where, name)
    if len(names) == 1 and not is_sure and any(each in names[0] for each in DELIMITERS):
        raise InputError(
            f"{where}it is one cell, {names[0]!r}: was each line put in quotes as a whole? Take those off; if it is "
            "the name of the only column, say --delimiter comma"
        )
    odd = _OTHER_DELIMITER.search(names[0]) if len(names) == 1 and not is_sure else None
    if odd is not None:
        character = odd[0][0]
        raise InputError(
            f"{where}it has one column, {names[0]!r}. If {character!r} separates columns, say "
            f"--delimiter {character!r}; if it belongs to the name, say --delimiter comma"
        )
    return Header(names, cells, delimiter, has_delimiter=is_sure or len(cells) > 1)


def _check_name(where: str, name: str) -> None:
    if len(name) > LONGEST_NAME:
        raise InputError(
            f"{where}is longer than {LONGEST_NAME} characters: does the file begin with a line that names its columns, "
            f"as in {_EXAMPLE}?"
        )
    if any(each in name for each in "\r\n"):
        raise InputError(f"{where}has a line break in it: is a quote never closed? Else rename the column")
    if name[0] in _QUOTES and name[-1] in _QUOTES:
        raise InputError(
            f"{where}has quotes that are not CSV's: a cell is put in double quotes, and without a space before them"
        )
    unseen = invisible(name)
    if unseen is not None:
        raise InputError(f"{where}holds the invisible character U+{ord(unseen):04X}: remove it from the name")
    data = looks_like_data(name)
    if data is not None:
        raise InputError(
            f"{where}is {data}, not a name: does the file begin with a line that names its columns? Add one, "
            f"as in {_EXAMPLE}"
        )


def _check_spelling(where: str, name: str) -> None:
    if name.startswith(PREFIX) or name in COLUMNS:
        return
    if name.lower().startswith(PREFIX):
        raise InputError(f"{where}the column {name!r} must be spelled {PREFIX + name[len(PREFIX) :]!r}")
    column = meant(name)
    if column is not None:
        raise InputError(
            f"{where}the column {name!r} must be spelled {column!r}; if it is a field of the payload instead, call it "
            f"{PREFIX + name!r}"
        )
