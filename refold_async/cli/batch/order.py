"""Which row of an ordering key may go, so that its events fire in input order over all runs of a batch."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

from attrs import define, field, frozen

from .table import RowState


def digest_of_key(key: str) -> int:
    """Return 64 bits that stand for an ordering key; never 0."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


@frozen
class Hold:
    """Why a row may not go now.

    :ivar passes: whether it may go later in this run, because what it waits for is sent again.
    """

    reason: str
    passes: bool = False


@define(eq=False)
class KeyOrder:
    """What holds rows of an ordering key back.

    A row is held back by a **later** row of its key that fired or may have, because it would fire out of order, and by
    an **earlier** one that waits to be sent again, or that was not accepted. So what always holds, unless it was asked
    for otherwise: the events of a key that fired are in input order, and none is missing between them.

    :param stops: whether a row that was not accepted holds back the later rows of its key.
    :param out_of_order: whether rows may go although a later one of their key fired.
    """

    stops: bool = True
    out_of_order: bool = False
    _latest: dict[int, int] = field(factory=dict, init=False)
    """The last line that may have fired in an earlier run, by key."""
    _open: dict[int, list[int]] = field(factory=dict, init=False)
    """The lines of a key that hold back the later ones, as a heap; some of them are not in `_open_lines` any more."""
    _open_lines: dict[int, bool] = field(factory=dict, init=False)
    """The lines that hold back later ones, and whether they are sent again in this run."""

    def remember(self, rows: Iterable[tuple[int, int, RowState]]) -> None:
        """Take over what earlier runs left: lines, digests of keys, and states."""
        for line, key, state in rows:
            if state in (RowState.ACCEPTED, RowState.AMBIGUOUS):
                self._latest[key] = line
            if self.stops and state in (RowState.REJECTED, RowState.AMBIGUOUS):
                self._hold(key, line, waits=False)

    def hold_on(self, key: str | None, line: int) -> Hold | None:
        """Return why a row may not go now; None if it may."""
        if key is None:
            return None
        digest = digest_of_key(key)
        later = self._latest.get(digest, 0)
        if later > line and not self.out_of_order:
            return Hold(
                f"a later row of its ordering key (line {later}) fired or may have, so this one would be out of order; "
                "--out-of-order sends it"
            )
        earlier = self._first_open(digest)
        if earlier is not None and earlier < line:
            return Hold(
                f"line {earlier} of the same ordering key was not accepted; --on-key-failure continue sends the later "
                "rows",
                passes=self._open_lines[earlier],
            )
        return None

    def goes(self, line: int) -> None:
        """Record that a row is handed out to be sent: later rows of its key wait until it has ended."""
        if line in self._open_lines:
            self._open_lines[line] = True

    def accepted(self, line: int) -> None:
        """Record that a row was accepted: it holds nothing back any more."""
        self._open_lines.pop(line, None)

    def waits(self, key: str | None, line: int) -> None:
        """Record that a row was not sent and will be sent again in this run."""
        if key is not None:
            self._hold(digest_of_key(key), line, waits=True)

    def failed(self, key: str | None, line: int) -> None:
        """Record that a row was not accepted, and is not sent again in this run."""
        if key is not None and self.stops:
            self._hold(digest_of_key(key), line, waits=False)
        else:
            self._open_lines.pop(line, None)

    def _hold(self, key: int, line: int, *, waits: bool) -> None:
        self._open_lines[line] = waits
        heapq.heappush(self._open.setdefault(key, []), line)

    def _first_open(self, key: int) -> int | None:
        lines = self._open.get(key)
        while lines:
            if lines[0] in self._open_lines:
                return lines[0]
            heapq.heappop(lines)
        if lines is not None:
            del self._open[key]
        return None
