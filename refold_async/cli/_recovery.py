"""Reading a journal that a run has left behind, however that ended."""

from __future__ import annotations

import json
from typing import IO, Any

from attrs import frozen

from .. import Delivery, RefoldError
from ._table import Sent, Table

KIND = "refold-async batch"
VERSION = 1

_BEGINNING = f'{{"journal":"{KIND}"'.encode()
_LARGEST_GAP = 50_000_000
"""How far a line may be beyond all others: a damaged number must not fill the memory."""


class JournalError(RefoldError):
    """The journal cannot be used, or not be written. What could not be written down was not sent."""


@frozen
class Recovered:
    """What was found of a journal.

    :ivar size: how much of it counts, in bytes; what comes after that is half a line.
    :ivar ends_line: whether that ends with a line feed.
    :ivar base_url: where its rows went.
    """

    size: int
    ends_line: bool
    base_url: str | None


def recover(file: IO[bytes], name: str, table: Table, settings: str) -> Recovered:
    """Read a journal into a table.

    A last line that is torn counts for nothing: a row is sent only after its line was written in full. A line that
    only lacks its line feed counts, as an editor may have taken that off.

    :param settings: those of this run, which must be those of the first one.
    :raises JournalError: for what is no journal, not the one of these rows, or damaged.
    """
    table.reading = True
    size = 0
    ends_line = True
    base_url: str | None = None
    place = ""
    for number, line in enumerate(file, 1):
        entry = _parse(line)
        whole = line.endswith(b"\n")
        if number == 1:
            if entry is None and not whole and line.startswith(_BEGINNING[: len(line)]):
                break
            header = _checked(entry, name, settings)
            place, base_url = str(header.get("keys")), str(header.get("base_url"))
        elif entry is None and not whole:
            break
        elif entry is not None and "resumed" in entry:
            place = str(entry.get("keys"))
        elif entry is None or not _apply(entry, place, table):
            raise JournalError(
                f"{name}, line {number}: this is no line of a journal, and it may hide a row that was sent. Restore "
                "the journal from a copy; if there is none, look in Refold for what is missing, then remove the line"
            )
        size += len(line)
        ends_line = whole
    table.killed()
    table.reading = False
    return Recovered(size, ends_line, base_url)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _checked(header: dict[str, Any] | None, name: str, settings: str) -> dict[str, Any]:
    """Make sure that this is our journal, before a byte of it is changed."""
    if header is None or header.get("journal") != KIND:
        raise JournalError(f"{name} is not a journal of refold-async batch: name another file with --journal")
    if header.get("version") != VERSION:
        raise JournalError(f"{name} was written by another version of refold-async: go on with that one")
    if header.get("settings") != settings:
        raise JournalError(
            f"{name} was begun with other values of --slug, --event, --linked-account-id, --config-id or "
            "--instance-tag, or of their environment variables: with these, its rows are other events"
        )
    return header


def _apply(entry: dict[str, Any], place: str, table: Table) -> bool:
    """Take a line in; False if it makes no sense."""
    try:
        what, line = entry["what"], entry["line"]
        if not isinstance(line, int) or not 1 <= line <= table.last + _LARGEST_GAP:
            return False
        if what == "sending":
            sent = Sent(entry.get("key"), place, float(entry["at"]))
            table.sending(line, bytes.fromhex(entry["digest"]), sent)
        elif what == "retrying":
            table.retrying(line, Delivery(entry["delivery"]))
        elif what == "ended":
            table.ended(line, Delivery(entry["delivery"]), entry.get("status"))
        else:
            return False
    except (KeyError, TypeError, ValueError):
        return False
    return True
