"""JSON Lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from attrs import define

from .input import InputError
from .json_values import SPACE, kind_of, parse_json
from .lines import Lines
from .names import COLUMNS, meant
from .problems import NotJSONError, RowError
from .records import Record, digest_of


@define(eq=False)
class JsonLines:
    """One JSON object a line, whose keys are those of `COLUMNS`."""

    with_digests: bool = True
    repeated_headers: int = 0
    beginning = 'line 1 should be an object such as {"slug": "pipedrive", "event": "Deal Created", "payload": {}}'

    def records(self, lines: Lines) -> Iterator[Record]:
        """Yield the records, blank lines left out.

        :raises InputError: for what is not text with one object a line, as far as the first line tells.
        """
        taken = lines.taken
        is_first = True
        for line in lines:
            taken.clear()
            number = lines.number
            text = line.strip(SPACE)
            digest = digest_of(text.encode(errors="surrogatepass")) if self.with_digests else b""
            if lines.problem is not None:
                yield Record(number, number, lines.offset, digest, text, lines.take_problem())
            elif text:
                if is_first:
                    _refuse_other_formats(lines.name, text)
                if text in _BRACKETS:
                    problem = f"a line is {text!r} and no more. {_advice(text, number)}"
                    yield Record(number, number, lines.offset, digest, text, problem, is_skippable=False)
                else:
                    yield Record(number, number, lines.offset, digest, text)
            else:
                continue
            is_first = False

    def fields(self, record: Record) -> dict[str, Any]:
        """Return the fields of a record.

        :raises RowError: where it is not an object with the keys of `COLUMNS`.
        """
        text: str = record.content
        try:
            found = parse_json(text)
        except NotJSONError as error:
            raise RowError(f"{error}. {_advice(text, record.line)}") from error
        if not isinstance(found, dict):
            raise RowError(f"this is {kind_of(found)}, not an object. {_advice(text, record.line)}")
        if not found:
            raise RowError("this is an empty object, and would fire an event without a payload: remove it")
        if not found.keys() <= _KEYS:
            raise RowError(_unknown(next(name for name in found if name not in _KEYS)))
        if found.get("linked_account_id", "-") in (None, ""):
            raise RowError(
                "linked_account_id is empty, and the event would go to the default customer: fill it in, or leave the "
                "key out if the row is for that customer"
            )
        return found


_KEYS = frozenset(COLUMNS)


def _unknown(name: str) -> str:
    close = meant(name) or next(iter(difflib.get_close_matches(name, COLUMNS, 1)), None)
    advice = f"did you mean {close!r}?" if close else "what the event carries goes into 'payload'."
    return f"unknown key {name!r}: {advice} The keys are {', '.join(COLUMNS)}"


_BRACKETS = frozenset("{}[]") | {"},", "],"}
"""Lines that are part of an object or a list over several: nobody can tell which of the others are rows."""


def _refuse_other_formats(name: str, first: str) -> None:
    """Compare the first line with what it is taken for.

    :raises InputError: where the file is plainly something else.
    """
    if first[0] == "<":
        raise InputError(
            f"{name} is HTML or XML, not JSON Lines: is it an error page in place of the file? Download it again"
        )
    if first[0] == "[" or first in _BRACKETS:
        raise InputError(f"{name} is JSON, but not JSON Lines. {_advice(first, 1)}")


def _advice(text: str, line: int) -> str:
    if text[0] == "\ufeff":
        return "It begins with a byte order mark: were two files put together? Remove the mark"
    if text[0] in "[]":
        return "If the file is one JSON array, write its items one a line, as with: jq -c '.[]'"
    if text in _BRACKETS or text[0] == '"':
        return "If each object is spread over several lines, write it in one, as with: jq -c '.'"
    if line == 1 and not text.startswith("{"):
        return "Each line must be one JSON object; if the file is CSV, say --format csv"
    return "Each line must be one JSON object"
