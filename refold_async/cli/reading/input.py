"""The bytes of a batch's input: a file or standard input, each chunk as soon as it is there."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from attrs import define

CHUNK = 65_536
LONGEST_LINE = 16 * 1024 * 1024
"""Characters. Refold takes 3 MB; in JSON that is all escapes, it is 9 to 18."""

STANDARD_INPUT = "standard input"


class InputError(Exception):
    """The input as a whole cannot be used; the message names the cure."""


@define(eq=False)
class Input:
    """An open input, read once, or again from its start.

    A regular file is looked at after each read: a file that was written while it was read holds rows of two exports,
    and may hold one of neither.

    :ivar name: as it is shown.
    :ivar size: in bytes; None where that is not known.
    """

    name: str
    _raw: Any
    size: int | None
    _start: int | None
    """Where a regular file's first byte is for us; None for what cannot be read twice."""
    _path: str | None = None
    _before: tuple[int, ...] | None = None
    """What a regular file looked like when it was opened."""
    _kept: IO[bytes] | None = None
    _replaying: bool = False

    @classmethod
    def open(cls, path: str, cure: str = "Name a file of JSON Lines or CSV, or - for standard input") -> Input:
        """Open a file, or standard input for `-`.

        :param cure: what to do if it cannot be read.
        :raises InputError: when it cannot be read.
        """
        name = STANDARD_INPUT if path == "-" else path
        try:
            raw = _standard_input() if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - `_raw`
            status = os.fstat(raw.fileno())
        except io.UnsupportedOperation:  # something in place of standard input, without a descriptor
            return cls(name, raw, None, None)
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror}. {cure}") from error
        if not stat.S_ISREG(status.st_mode):
            return cls(name, raw, None, None)
        start = raw.tell()
        size = max(0, status.st_size - start)
        return cls(name, raw, size, start, None if path == "-" else path, _look_of(status))

    @property
    def is_terminal(self) -> bool:
        """Whether a person types it."""
        return bool(self._raw.isatty())

    def begins_with(self, prefix: bytes) -> bool:
        """Whether these are its first bytes, as far as that can be known without reading on.

        :raises OSError: when reading fails.
        """
        if self._start is None:
            return False
        head: bytes = self._raw.read(len(prefix))
        self._raw.seek(self._start)
        return head == prefix

    def read(self) -> bytes:
        """Return what is there, at most 64 KiB, and wait where there is nothing; empty at the end.

        :raises OSError: when reading fails.
        :raises InputError: when a regular file was changed since it was opened.
        """
        if self._replaying:
            assert self._kept is not None
            chunk = self._kept.read(CHUNK)
            if chunk:
                return chunk
            self._kept.close()
            self._kept, self._replaying = None, False
        read = getattr(self._raw, "read1", self._raw.read)
        while (chunk := read(CHUNK)) is None:  # somebody made the descriptor non-blocking
            select.select([self._raw], [], [])
        if self._kept is not None:
            self._kept.write(chunk)
        if self._before is not None:
            self._look()
        return bytes(chunk)

    def _look(self) -> None:
        """Compare the file with what it was: this one, and the one that has its name now."""
        now = _look_of(os.fstat(self._raw.fileno()))
        if now == self._before and self._path is not None:
            try:
                named = Path(self._path).stat()
            except OSError:  # removed: what is open stays as it is
                return
            now = _look_of(named)
        if now != self._before:
            raise InputError(
                f"{self.name} was written while it was read: what comes next may belong to another export. "
                "Nothing more was sent. Wait until the file is complete, or copy it and use the copy"
            )

    def keep(self) -> None:
        """Remember what is read from here on, unless the input can be read twice.

        In a file without a name; in memory where there is no temporary folder.
        """
        if self._start is None:
            try:
                self._kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it was read again
            except OSError:
                self._kept = io.BytesIO()

    def rewind(self) -> None:
        """Read again from the first byte; `keep` was called before that was read."""
        if self._start is not None:
            self._raw.seek(self._start)
        else:
            assert self._kept is not None
            self._kept.seek(0)
            self._replaying = True

    def close(self) -> None:
        """Close it, unless it is standard input."""
        if self.name != STANDARD_INPUT:
            self._raw.close()
        if self._kept is not None:
            self._kept.close()


def _look_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _standard_input() -> Any:
    """Return standard input unbuffered: a thread that waits in the buffered one cannot be left behind at exit."""
    try:
        descriptor = sys.stdin.fileno()
    except (io.UnsupportedOperation, AttributeError):
        return getattr(sys.stdin, "buffer", None) or io.BytesIO()
    return open(descriptor, "rb", buffering=0, closefd=False)
