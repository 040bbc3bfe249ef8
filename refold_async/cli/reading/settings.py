"""How the rows of an input are to be read, as the options of the command line say."""

from __future__ import annotations

import csv
import enum
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from ... import ConfigurationError


class InputFormat(enum.StrEnum):
    """How the input is written."""

    JSONL = "jsonl"
    CSV = "csv"


class Empty(enum.StrEnum):
    """What an empty cell of a payload column becomes."""

    TEXT = "text"
    NULL = "null"
    OMIT = "omit"


class CellType(enum.StrEnum):
    """What the text in a cell stands for."""

    TEXT = "text"
    NUMBER = "number"
    BOOL = "bool"
    JSON = "json"


_TABLES = frozenset({".csv", ".tsv", ".tab", ".psv"})
_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "colon": ":"}


@frozen(kw_only=True)
class Reading:
    """How to read an input.

    :ivar delimiter: between the cells of CSV; None to go by the header.
    :ivar encoding: of the text; None to go by the first bytes, and UTF-8 where they say nothing.
    :ivar types: of columns, by name; text for the others.
    :ivar limit: how many rows are read at most; None for all.
    :ivar multiline_cells: whether a cell may hold lines that each look like a row.
    """

    format: InputFormat = InputFormat.JSONL
    delimiter: str | None = None
    encoding: str | None = None
    types: dict[str, CellType] = field(factory=dict)
    empty: Empty = Empty.TEXT
    limit: int | None = None
    multiline_cells: bool = False

    @property
    def meaning(self) -> tuple[str, ...]:
        """What decides which event a row is, as far as it differs from the defaults: for comparing two runs."""
        types = tuple(f"{name}={kind.value}" for name, kind in sorted(self.types.items()))
        return types if self.empty is Empty.TEXT else (*types, f"empty={self.empty.value}")


def format_of(file: str) -> InputFormat:
    """Return the format that a file's name stands for, with or without `.gz`."""
    suffix = Path(file.lower().removesuffix(".gz")).suffix
    return InputFormat.CSV if suffix in _TABLES else InputFormat.JSONL


def parse_delimiter(text: str) -> str:
    """Return the delimiter that was typed, or named.

    :raises ConfigurationError: for what cannot be one.
    """
    delimiter = _DELIMITERS.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n\0' or delimiter.isalnum():
        raise ConfigurationError(
            f"--delimiter {text!r} must be the one character between the cells, such as ';', or one of: tab, comma, "
            "semicolon, pipe, space, colon"
        )
    return delimiter


def parse_types(given: Iterable[str]) -> dict[str, CellType]:
    """Return the types of columns that were typed as `amount=number,won=bool`.

    :raises ConfigurationError: for anything else.
    """
    found: dict[str, CellType] = {}
    for text in given:
        for part in next(csv.reader([text]), []):
            name, equals, kind = part.rpartition("=")
            try:
                chosen = CellType(kind.strip().lower())
            except ValueError:
                chosen = None
            if not equals or not name.strip() or chosen is None:
                raise ConfigurationError(
                    f"--types {part!r} must be NAME=TYPE, as in amount=number,won=bool. The types are "
                    f"{', '.join(CellType)}"
                )
            if found.setdefault(name.strip(), chosen) is not chosen:
                raise ConfigurationError(f"--types has two types for {name.strip()!r}: leave one out")
    return found
