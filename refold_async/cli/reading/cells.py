"""From the cells of a row to the fields of an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, frozen

from .json_values import SPACE, parse_json
from .names import COLUMNS, PREFIX
from .problems import NotJSONError, RowError
from .settings import CellType, Empty

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLACE = re.compile(r"^\d+$|\[\d*\]")
_BOOLS = dict.fromkeys(("true", "t", "yes", "y", "1"), True) | dict.fromkeys(("false", "f", "no", "n", "0"), False)


@frozen
class Column:
    """A column of the payload.

    :ivar name: as the header has it.
    :ivar index: of its cells.
    :ivar path: of keys from the payload on.
    :ivar kind: of its cells.
    """

    name: str
    index: int
    path: tuple[str, ...]
    kind: CellType = CellType.TEXT


class HeaderError(Exception):
    """The header makes no sense; the message names the cure."""


@define(eq=False)
class Mapper:
    """Makes fields of cells, by the header that was read before.

    :ivar addressing: which cells are fields of their own, by name.
    :ivar columns: which belong to the payload.
    :ivar is_flat: whether each payload cell is the text of a key of its own, so that nothing need be looked at.
    """

    addressing: list[tuple[str, int]]
    columns: list[Column]
    empty: Empty
    is_flat: bool
    _keys: list[str]

    @classmethod
    def of(cls, names: Sequence[str], types: dict[str, CellType], empty: Empty) -> Mapper:
        """Work out what each column is.

        :raises HeaderError: where two columns, or a column and a type, contradict each other.
        """
        addressing = [(name, index) for index, name in enumerate(names) if name in COLUMNS]
        for name in types:
            if name in COLUMNS:
                raise HeaderError(
                    f"--types has a type for {name!r}, which is always text" + " or JSON" * (name == "payload")
                )
            if name not in names:
                raise HeaderError(f"--types has a type for {name!r}, and the columns are {', '.join(names)}")
        columns = [
            Column(name, index, _path_of(name), types.get(name, CellType.TEXT))
            for index, name in enumerate(names)
            if name not in COLUMNS
        ]
        _check_paths(columns)
        is_flat = empty is Empty.TEXT and all(len(each.path) == 1 and each.kind is CellType.TEXT for each in columns)
        return cls(addressing, columns, empty, is_flat, [each.path[0] for each in columns])

    def fields(self, cells: list[str]) -> dict[str, Any]:
        """Return the fields of a row.

        :raises RowError: for a cell that is not what it should be.
        """
        found: dict[str, Any] = {}
        for name, index in self.addressing:
            if cell := cells[index]:
                found[name] = cell
            elif name == "linked_account_id":
                raise RowError(
                    "the cell linked_account_id is empty, and the event would go to the default customer: fill it in, "
                    "or remove the column if all rows are for that customer"
                )
        payload = self._payload(cells) if self.columns else None
        if "payload" in found:
            found["payload"] = _merged(_json("payload", found["payload"]), payload)
        elif payload is not None:
            found["payload"] = payload
        return found

    def _payload(self, cells: list[str]) -> dict[str, Any]:
        if self.is_flat:
            if not self.addressing:
                return dict(zip(self._keys, cells, strict=False))
            return {each.path[0]: cells[each.index] for each in self.columns}
        payload: dict[str, Any] = {}
        for column in self.columns:
            cell = cells[column.index]
            if cell:
                value = _READERS[column.kind](column.name, cell)
            elif self.empty is Empty.OMIT:
                continue
            elif self.empty is Empty.NULL:
                value = None
            elif column.kind is CellType.TEXT:
                value = ""
            else:
                raise RowError(
                    f"the cell {column.name} is empty, and it should be {_WORDS[column.kind]}: fill it in, or choose "
                    "what empty cells become with --empty null or --empty omit"
                )
            place = payload
            for key in column.path[:-1]:
                place = place.setdefault(key, {})
            place[column.path[-1]] = value
        return payload


def _path_of(name: str) -> tuple[str, ...]:
    """Split `payload.deal.name` at its dots. Any other name is one key, whatever is in it."""
    if not name.startswith(PREFIX):
        return (name,)
    path = tuple(name.removeprefix(PREFIX).split("."))
    if any(key != key.strip() or not key for key in path):
        raise HeaderError(f"the column {name!r} has an empty name between its dots: spell it as in payload.deal.name")
    if any(_PLACE.search(key) for key in path):
        raise HeaderError(
            f"the column {name!r} looks like a place in a list, and columns cannot hold lists: use a column payload "
            "with JSON in it, or JSON Lines"
        )
    return path


def _check_paths(columns: list[Column]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for column in columns:
        if column.path in seen:
            raise HeaderError(f"the columns {seen[column.path]!r} and {column.name!r} are the same field: remove one")
        seen[column.path] = column.name
    for column in columns:
        for length in range(1, len(column.path)):
            if column.path[:length] in seen:
                raise HeaderError(
                    f"the column {seen[column.path[:length]]!r} is one value, and {column.name!r} is inside of it: "
                    "rename one"
                )


def _merged(own: Any, others: dict[str, Any] | None, path: str = "") -> Any:
    """Add what the columns hold to the object in the payload cell."""
    if others is None or not isinstance(own, dict):
        return own
    both = dict(own)
    for key, value in others.items():
        if key not in own:
            both[key] = value
        elif isinstance(own[key], dict) and isinstance(value, dict):
            both[key] = _merged(own[key], value, f"{path}{key}.")
        else:
            raise RowError(
                f"{path + key!r} is a column and also in the cell payload: remove one, so that it is clear which counts"
            )
    return both


def _number(name: str, cell: str) -> Any:
    if not _NUMBER.fullmatch(cell):
        raise RowError(
            f"the cell {name} is {cell[:40]!r}, not a number as JSON has it: digits, with a point before decimals, and "
            "nothing between thousands"
        )
    return parse_json(cell)


def _bool(name: str, cell: str) -> bool:
    value = _BOOLS.get(cell.lower())
    if value is None:
        raise RowError(
            f"the cell {name} is {cell[:40]!r}, and it should be true or false (also t, yes, y, 1; f, no, n, 0)"
        )
    return value


def _json(name: str, cell: str) -> Any:
    try:
        return parse_json(cell.strip(SPACE))
    except NotJSONError as error:
        raise RowError(f"the cell {name} is {error}") from error
    except RowError as error:
        raise RowError(f"in the cell {name}, {error}") from error


_WORDS = {CellType.NUMBER: "a number", CellType.BOOL: "true or false", CellType.JSON: "JSON"}
_READERS: dict[CellType, Callable[[str, str], Any]] = {
    CellType.TEXT: lambda _, cell: cell,
    CellType.NUMBER: _number,
    CellType.BOOL: _bool,
    CellType.JSON: _json,
}
