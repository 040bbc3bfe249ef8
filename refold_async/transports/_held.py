"""A response stream that gives something back when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx


class HeldStream(httpx.AsyncByteStream):
    """Passes a stream on, and calls `release` once, when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        self._stream = stream
        self._release: Callable[[], None] | None = release

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._let_go()

    def take_now(self) -> bytes | None:
        """Give all of it, where the stream underneath has it all already."""
        return take_now(self._stream)

    def close_now(self) -> bool:
        """Close without waiting, where the stream underneath can; give whether it could."""
        if close_now(self._stream):
            self._let_go()
            return True
        return False

    def _let_go(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


def take_now(stream: object) -> bytes | None:
    """Give all of a stream at once, if it is one that can and has arrived in full; else None, and nothing is taken."""
    take = getattr(stream, "take_now", None)
    return None if take is None else take()


def close_now(stream: object) -> bool:
    """Close a stream without waiting, if it is one that can; give whether it was."""
    close = getattr(stream, "close_now", None)
    return close is not None and close() is not False
