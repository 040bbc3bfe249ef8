"""The journal: a line before a row is sent and one when it has ended, so that a killed run can be gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from attrs import define, field

from ... import Delivery, Outcome, RefoldError, Sending
from ..._core.filelock import try_lock
from ...hooks import HookEvent, RetryScheduled
from ..reading.records import origin_of
from .recovery import KIND, VERSION, JournalError, recover
from .table import Sent, Table


class WindowPassedError(RefoldError):
    """The key of a row that may have fired is no longer remembered. It was not sent again."""


@define(eq=False)
class Journal:
    """An open journal, locked. Each line is one write, so that a kill loses at most the line that was being written.

    :ivar table: what is known of the rows, kept up to date.
    :ivar settings: what the rows that do not say so themselves have in common, as a digest.
    :ivar place: where the key goes in this run.
    :ivar base_url: where the rows go.
    :ivar earlier_base_url: where they went before, if that was elsewhere.
    :ivar version: the oldest version that wrote in it.
    :ivar failure: why it could not be written; nothing is written after that.
    :ivar unwritten: the lines of rows whose endings could not be written.
    """

    path: Path
    settings: str
    base_url: str
    place: str
    table: Table
    earlier_base_url: str | None = None
    version: int = VERSION
    failure: str | None = None
    unwritten: list[int] = field(factory=list)
    _descriptor: int = -1
    _size: int = 0
    _fsync: bool = False
    _read_only: bool = False
    _is_new: bool = False
    _is_ours: bool = False
    _began: bool = False
    """Whether its first line is written, by this run or an earlier one."""
    _is_announced: bool = False
    """Whether the first line of this run is."""
    _source: str = ""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        settings: str,
        base_url: str,
        place: str,
        source: str,
        resume: bool,
        fsync: bool = False,
        read_only: bool = False,
    ) -> Journal:
        """Open a journal, and read what is in it.

        :param source: the name of the input, to be shown to whoever reads the journal.
        :param resume: go on with the run that is in it, if one is.
        :param fsync: wait until each line is on the disk.
        :param read_only: change nothing, not even what is torn.
        :raises JournalError: naming the cure.
        """
        self = cls(path, settings, base_url, place, Table(), fsync=fsync, read_only=read_only, source=source)
        try:
            self._open()
            if self._descriptor < 0:
                return self
            if not try_lock(self._descriptor):
                raise JournalError(f"{path} is in use by another process: wait until it has ended, or stop it")
            self._is_ours = True
            size = os.fstat(self._descriptor).st_size
            if size and not resume:
                raise JournalError(
                    f"{path} is there already: if it is the journal of this batch, go on with --resume; else name "
                    "another file"
                )
            if size:
                self._load()
        except OSError as error:
            self.close()
            raise JournalError(f"cannot open the journal {path}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        return self

    def _open(self) -> None:
        """Open the file, or make it; a journal that is only to be read need not be there."""
        with contextlib.suppress(FileNotFoundError):  # looked at first: opening a device or a pipe may do something
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise JournalError(f"{self.path} is no regular file, and a journal must be one: name another")
        binary = getattr(os, "O_BINARY", 0)
        if self._read_only:
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = os.open(self.path, os.O_RDONLY | binary)
            return
        flags = os.O_RDWR | os.O_APPEND | binary
        try:
            self._descriptor = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            self._is_new = True
        except FileExistsError:
            self._descriptor = os.open(self.path, flags)

    def _load(self) -> None:
        with open(os.dup(self._descriptor), "rb") as file:  # noqa: PTH123 - of a descriptor
            file.seek(0)
            found = recover(file, str(self.path), self.table, self.settings)
        self._size = found.size
        self._began = found.size > 0
        self.version = found.version
        if found.base_url != self.base_url:
            self.earlier_base_url = found.base_url
        if not self._read_only:
            os.ftruncate(self._descriptor, found.size)
            if not found.ends_line:
                self._write(b"\n")

    def before_send(self, sending: Sending) -> None:
        """Write down that a row is about to be sent.

        :raises JournalError: when that fails, so that the row is not sent.
        :raises WindowPassedError: when it may not be sent again any more.
        """
        origin = origin_of(sending.trigger)
        if self.table.fence(origin.line).is_under_way:  # asked again for one attempt, of which nothing was written yet
            return
        now = time.time()
        if origin.resend_until is not None:
            left = origin.resend_until - now
            if left <= 0:
                raise WindowPassedError(
                    "its turn came after the idempotency window, so that a repeat would no longer be dropped"
                )
        self._begin(now)
        entry = {"what": "sending", "line": origin.line, "at": round(now, 3), "attempt": sending.attempt}
        entry["digest"] = origin.digest.hex()
        trigger = sending.trigger
        earlier = self.table.sent.get(origin.line)
        more = {
            "key": sending.idempotency_key,
            "ordering_key": trigger.ordering_key,
            "tag": trigger.instance_tag,
            **_trace(sending),
            "first_at": None if earlier is None else round(earlier.at, 3),
        }
        self._append(entry | {name: value for name, value in more.items() if value is not None})
        sent = Sent(sending.idempotency_key, self.place, now)
        self.table.sending(origin.line, origin.digest, sent)

    def watch(self, event: HookEvent) -> None:
        """Write down that an attempt has ended and will be repeated; a hook of the client.

        Without this line a row whose attempts all failed for certain would pass for one that is on the wire.
        """
        if isinstance(event, RetryScheduled) and event.trigger is not None:
            line = origin_of(event.trigger).line
            self.table.retrying(line, event.delivery)
            entry = {"what": "retrying", "line": line, "at": round(time.time(), 3), "attempt": event.attempt}
            with contextlib.suppress(JournalError):  # the next `before_send` raises it
                self._append(entry | {"delivery": event.delivery.value})

    def ended(self, outcome: Outcome) -> None:
        """Write down how a row has ended; if that fails, no other is sent."""
        line = origin_of(outcome.trigger).line
        error = outcome.error
        status = outcome.receipt.status_code if outcome.receipt else getattr(error, "status_code", None)
        never_sent = outcome.delivery is Delivery.NOT_SENT and line not in self.table.sent
        self.table.ended(line, outcome.delivery, status)
        if never_sent:
            return
        entry: dict[str, Any] = {"what": "ended", "line": line, "at": round(time.time(), 3)}
        entry |= {"delivery": outcome.delivery.value, "attempts": outcome.attempts, "status": status}
        if outcome.receipt is not None:
            entry |= {"request_id": outcome.receipt.request_id, "after_ambiguous": outcome.receipt.after_ambiguous}
        elif error is not None:
            entry |= {"request_id": getattr(error, "request_id", None), "error": type(error).__name__}
        try:
            self._append(entry)
        except JournalError:
            self.unwritten.append(line)

    def _begin(self, now: float) -> None:
        """Write the first line of this run."""
        if self._is_announced:
            return
        entry = {
            "resumed" if self._began else "journal": KIND,
            "version": VERSION,
            "at": round(now, 3),
            "input": self._source,
            "base_url": self.base_url,
            "keys": self.place,
        }
        self._append(entry if self._began else entry | {"settings": self.settings})
        if self._fsync and not self._began:
            _sync_folder(self.path.parent)
        self._began = self._is_announced = True

    def _append(self, entry: dict[str, Any]) -> None:
        self._write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self.failure is None:
            try:
                status = os.fstat(self._descriptor)
                if status.st_size != self._size or not status.st_nlink:
                    self.failure = f"the journal {self.path} was changed or deleted by somebody else"
                else:
                    self._write_all(line)
            except OSError as error:
                self.failure = f"the journal {self.path} cannot be written: {error.strerror}"
        if self.failure is not None:
            raise JournalError(f"{self.failure}; the row was not sent")

    def _write_all(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):  # a disk that fills up may take half of it first
                written += os.write(self._descriptor, line[written:])
        except OSError:
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written
        if self._fsync:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Release the lock. A journal that was made for this run, and in which nothing was written, is removed."""
        if self._descriptor < 0:
            return
        if self._is_new and self._is_ours and self._size == 0:
            with contextlib.suppress(OSError):
                status = os.fstat(self._descriptor)
                if status.st_size == 0 and os.path.samestat(status, self.path.stat()):
                    self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def _trace(sending: Sending) -> dict[str, str | None]:
    """Return what is needed to find a row in Refold again, by the token that it was sent with."""
    if sending.token is None:
        return {}
    trigger = sending.trigger
    return {
        "token": sending.token,
        "account": sending.linked_account_id,
        "slug": trigger.slug,
        "event": trigger.event,
    }


def _sync_folder(folder: Path) -> None:
    """Get the name of a new file onto the disk as well; not every system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
