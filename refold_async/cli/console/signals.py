"""Ctrl-C, SIGTERM and SIGHUP: the first ends a batch in good order, a second Ctrl-C or SIGTERM at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


@contextlib.contextmanager
def drained_by_signals(drain: Callable[[], None], exit_message: Callable[[], str]) -> Iterator[None]:
    """Call `drain` on the first signal while the block lasts; end the process on the second Ctrl-C or SIGTERM.

    What was ignored before stays ignored (`nohup`, and SIGINT of background jobs). SIGHUP never counts as the second:
    when a terminal goes away, the kernel and the shell both send it, and systemd sends it right after SIGTERM.

    `signal.signal` and not the event loop's own handlers: those would take over what is ignored, and not put it back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    asked = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal asked
        counts = number != getattr(signal, "SIGHUP", None)
        if asked and counts:
            # Nothing that could wait, or that the interrupted code may be in the middle of.
            with contextlib.suppress(OSError):
                show_cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""
                os.write(2, b"\n" + show_cursor + exit_message().encode() + b"\n")
            os._exit(128 + number)
        asked = asked or counts
        loop.call_soon_threadsafe(drain)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # None is a handler that was not set by Python, and could not be put back.
    heard = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
