"""JSON Lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from ._input import TOO_LONG, Lines
from ._records import COLUMNS, NotJSONError, Record, RowError, decode, digest_of, kind_of, parse_json, too_long


class JsonLines:
    """One JSON object a line, whose keys are those of `COLUMNS`."""

    beginning = 'line 1 should be an object such as {"slug": "pipedrive", "event": "Deal Created", "payload": {}}'

    def records(self, lines: Lines) -> Iterator[Record]:
        for raw in lines:
            if raw is TOO_LONG:
                yield Record(lines.number, lines.offset, b"", None, too_long())
                continue
            text = raw.strip()
            if text:
                yield Record(lines.number, lines.offset, digest_of(text), text)

    def fields(self, record: Record) -> dict[str, Any]:
        text = decode(record.content)
        try:
            found = parse_json(text)
        except NotJSONError as error:
            raise RowError(f"{error}. {_advice(text, record.line)}") from error
        if not isinstance(found, dict):
            raise RowError(f"this is {kind_of(found)}, not an object. {_advice(text, record.line)}")
        unknown = [name for name in found if name not in COLUMNS]
        if unknown:
            close = difflib.get_close_matches(unknown[0], COLUMNS, 1)
            meant = f"did you mean {close[0]!r}?" if close else "what the event carries goes into 'payload'"
            raise RowError(f"unknown key {unknown[0]!r}: {meant} The keys are {', '.join(COLUMNS)}")
        return found


def _advice(text: str, line: int) -> str:
    if text.startswith("["):
        return "If the file is one JSON array, write its items one a line, as with: jq -c '.[]'"
    if text in ("{", "}") or text.startswith('"'):
        return "If each object is spread over several lines, write it in one, as with: jq -c ."
    if line == 1 and not text.startswith("{"):
        return "Each line must be one JSON object; if the file is CSV, say --format csv"
    return "Each line must be one JSON object"
