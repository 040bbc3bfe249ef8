"""Reading a journal that a run has left behind, however that ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from ... import Delivery, RefoldError
from ..._core.filelock import try_lock
from .order import digest_of_key
from .table import Sent, Table

KIND = "refold-async batch"
VERSION = 2
"""2 knows ordering keys, tags and first times."""

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
    :ivar version: the oldest version that wrote in it.
    """

    size: int
    ends_line: bool
    base_url: str | None
    version: int = VERSION


@contextmanager
def journal_at_rest(path: Path, table: Table) -> Iterator[tuple[IO[bytes], Recovered]]:
    """Read a journal that no run is to go on with into a table, and yield it while it is locked against such a run.

    :raises JournalError: for what is no journal, damaged, or in use.
    """
    try:
        with path.open("rb") as file:
            if not try_lock(file.fileno()):
                raise JournalError(f"{path} is in use by another process: wait until it has ended")
            yield file, recover(file, str(path), table, None)
    except OSError as error:
        raise JournalError(f"cannot open the journal {path}: {error.strerror}") from error


def recover(file: IO[bytes], name: str, table: Table, settings: str | None) -> Recovered:
    """Read a journal into a table.

    A last line that is torn counts for nothing: a row is sent only after its line was written in full. A line that
    only lacks its line feed counts, as an editor may have taken that off.

    :param settings: those of this run, which must be those of the first one; None where there is no run.
    :raises JournalError: for what is no journal, not the one of these rows, or damaged.
    """
    table.reading = True
    size = 0
    ends_line = True
    base_url: str | None = None
    place = ""
    version = VERSION
    for number, line in enumerate(file, 1):
        entry = parse_line(line)
        whole = line.endswith(b"\n")
        if number == 1:
            if entry is None and not whole and line.startswith(_BEGINNING[: len(line)]):
                break
            header = _checked(entry, name, settings)
            place, base_url = str(header.get("keys")), str(header.get("base_url"))
            version = header["version"]
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
    return Recovered(size, ends_line, base_url, version)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return what a line of a journal says; None for what is not one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _checked(header: dict[str, Any] | None, name: str, settings: str | None) -> dict[str, Any]:
    """Make sure that this is our journal, before a byte of it is changed."""
    if header is None or header.get("journal") != KIND:
        raise JournalError(f"{name} is not a journal of refold-async batch: name another file with --journal")
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise JournalError(
            f"{name} was written by a newer refold-async, in format {version!r}; this one reads up to {VERSION}. Go on "
            "with the newer one: pip install -U refold-async"
        )
    if settings is not None and header.get("settings") != settings:
        raise JournalError(
            f"{name} was begun with other values of --slug, --event, --linked-account-id, --config-id, "
            "--instance-tag, --types or --empty, or of their environment variables: with these, its rows are other "
            "events"
        )
    return header


def _apply(entry: dict[str, Any], place: str, table: Table) -> bool:
    """Record a line in the table. Returns False if it makes no sense."""
    try:
        what, line = entry["what"], entry["line"]
        if not isinstance(line, int) or not 1 <= line <= table.last + _LARGEST_GAP:
            return False
        if what == "sending":
            key = entry.get("ordering_key")
            sent = Sent(entry.get("key"), place, float(entry["at"]))
            table.sending(line, bytes.fromhex(entry["digest"]), sent, 0 if key is None else digest_of_key(key))
        elif what == "retrying":
            table.retrying(line, Delivery(entry["delivery"]))
        elif what == "ended":
            table.ended(line, Delivery(entry["delivery"]), entry.get("status"))
        else:
            return False
    except (KeyError, TypeError, ValueError):  # a step that the fence does not allow among them
        return False
    return True
