"""Where a batch's rows come from: a file or standard input, as lines, each as soon as it is there."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from attrs import define, field

CHUNK = 65_536
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. Refold takes 3 MB; in JSON that is all escapes, it is 9 to 18."""

TOO_LONG = b"<too long>"
"""Stands, as this very object, for a line that was too long to be kept."""

STANDARD_INPUT = "standard input"

_BOM = b"\xef\xbb\xbf"


class InputError(Exception):
    """The input as a whole cannot be used; the message names the cure."""


@define(eq=False)
class Input:
    """An open input, read once, or from some place on a second time.

    :ivar name: as it is shown.
    :ivar size: in bytes; None where that is not known.
    """

    name: str
    _raw: Any
    size: int | None
    _start: int | None
    """Where a regular file's first byte is for us; None for what cannot be read twice."""
    _kept: IO[bytes] | None = None
    _replaying: bool = False

    @classmethod
    def open(cls, path: str) -> Input:
        """Open a file, or standard input for `-`.

        :raises InputError: when it cannot be read.
        """
        name = STANDARD_INPUT if path == "-" else path
        try:
            raw = _standard_input() if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - `_raw`
            status = os.fstat(raw.fileno())
        except io.UnsupportedOperation:  # something in place of standard input, without a descriptor
            return cls(name, raw, None, None)
        except OSError as error:
            raise InputError(
                f"cannot read {name}: {error.strerror}. Name a file of JSON Lines or CSV, or - for standard input"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            return cls(name, raw, None, None)
        start = raw.tell()
        return cls(name, raw, max(0, status.st_size - start), start)

    @property
    def is_terminal(self) -> bool:
        """Whether a person types it."""
        return bool(self._raw.isatty())

    def read(self) -> bytes:
        """Give what is there, at most 64 KiB, and wait where there is nothing; empty at the end.

        :raises OSError: when reading fails.
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
        return bytes(chunk)

    def keep(self) -> None:
        """Remember what is read from here on, in a file without a name, unless the input can be read twice."""
        if self._start is None:
            self._kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it was read again

    def close(self) -> None:
        """Close it, unless it is standard input."""
        if self.name != STANDARD_INPUT:
            self._raw.close()
        if self._kept is not None:
            self._kept.close()

    def go_back(self, offset: int) -> None:
        """Read again from this place on, counted from the first byte; `keep` was called before that was read."""
        if self._start is not None:
            self._raw.seek(self._start + offset)
        else:
            assert self._kept is not None
            self._kept.seek(offset)
            self._replaying = True


def _standard_input() -> Any:
    """Give standard input unbuffered: a thread that waits in the buffered one cannot be left behind at exit."""
    try:
        descriptor = sys.stdin.fileno()
    except (io.UnsupportedOperation, AttributeError):
        return getattr(sys.stdin, "buffer", None) or io.BytesIO()
    return open(descriptor, "rb", buffering=0, closefd=False)


@define(eq=False)
class Lines:
    """The lines of an input, without their line feeds.

    :ivar number: of the line that was given last, counted from 1.
    :ivar offset: where it ends, in bytes.
    """

    _input: Input
    number: int = 0
    offset: int = 0
    before_read: Callable[[], None] = field(default=lambda: None)

    @property
    def name(self) -> str:
        """The name of the input, as it is shown."""
        return self._input.name

    def __iter__(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        held = 0
        while chunk := self._read():
            *ended, rest = chunk.split(b"\n")
            for line in ended:
                if parts:
                    parts.append(line)
                    held += len(line)
                    line = b"".join(parts) if held <= LONGEST_LINE else TOO_LONG
                    size, parts, held = held, [], 0
                else:
                    size = len(line)
                yield self._count(line, size + 1)
            if rest:
                held += len(rest)
                if held > LONGEST_LINE:
                    parts = [b""]
                else:
                    parts.append(rest)
        if held:
            yield self._count(b"".join(parts) if held <= LONGEST_LINE else TOO_LONG, held)

    def _read(self) -> bytes:
        self.before_read()
        try:
            return self._input.read()
        except OSError as error:
            raise InputError(f"reading {self.name} failed after line {self.number}: {error.strerror}") from error

    def _count(self, line: bytes, size: int) -> bytes:
        self.number += 1
        self.offset += size
        return line.removeprefix(_BOM) if self.number == 1 and line is not TOO_LONG else line
