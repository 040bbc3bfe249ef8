"""Standard output and error that nobody reads, or that a full disk keeps from being written."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

_NOBODY_READS = (errno.EPIPE, errno.EINVAL, errno.EIO)  # EINVAL on Windows; EIO once the terminal has gone


class _Forgiving:
    """A text stream whose first failure is reported once, and after which nothing is written any more.

    What becomes of the rows does not depend on whether somebody reads of it, and neither does the exit code.
    """

    def __init__(self, stream: TextIO, report: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._report = report

    def write(self, text: str) -> int:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        with contextlib.suppress(OSError, ValueError):  # what is still in the buffer goes nowhere, and without an error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        report, self._report = self._report, lambda _: None
        report(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _report_on_stderr(error: OSError) -> None:
    if error.errno not in _NOBODY_READS:
        print(f"standard output could not be written, so it is incomplete: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def forgiving_streams() -> Iterator[None]:
    """Let nothing that is printed in the block fail, and flush it at the end."""
    before = sys.stdout, sys.stderr
    if before[1] is not None:  # None where the descriptor was closed before the start
        sys.stderr = cast("TextIO", _Forgiving(before[1], lambda _: None))
    if before[0] is not None:
        sys.stdout = cast("TextIO", _Forgiving(before[0], _report_on_stderr))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
