"""One request under way: what a fault can do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ._answers import Reply
from ._connection import Connection
from .ledger import Entry, Ledger


class Exchange(Protocol):
    """A request under way, as a fault's action sees it; exactly one of `answer`, `break_off` and `stall` ends it.

    :ivar entry: the request, as the ledger will have it.
    :ivar reply: what the request came to; None where the fault kept it from taking effect.
    """

    entry: Entry
    reply: Reply | None

    def answer(self, reply: Reply, *, then_close: bool = False) -> None:
        """Answer in full; `then_close` closes the connection behind the answer without having announced it."""

    def send_half(self, reply: Reply) -> None:
        """Write the head and half of the body, after which `break_off` or `stall` follows."""

    def send_raw(self, data: bytes) -> None:
        """Write these bytes, after which `break_off` or `stall` follows."""

    def break_off(self, *, reset: bool = False) -> None:
        """Close the connection, in order or by force."""

    def stall(self, seconds: float | None) -> None:
        """Answer nothing more; close after so many seconds, or leave that to the client."""

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for so many seconds, and close the idle ones."""


class ServedExchange:
    """The exchange of a connection. States: new, recorded (by the first byte that it writes, or by its end), ended.

    The ledger has a request before the client can see anything of its answer.
    """

    def __init__(
        self,
        entry: Entry,
        connection: Connection,
        ledger: Ledger,
        answer: Callable[[Entry, Connection, Reply], None],
        render: Callable[[Reply], bytes],
        refuse: Callable[[float], None],
    ) -> None:
        self.entry = entry
        self.reply: Reply | None = None
        self._connection = connection
        self._ledger = ledger
        self._answer = answer
        self._render = render
        self._refuse = refuse
        self._is_recorded = False

    def _record(self) -> None:
        if not self._is_recorded:
            self._is_recorded = True
            self._ledger.add(self.entry)

    def answer(self, reply: Reply, *, then_close: bool = False) -> None:
        if then_close:
            self._connection.close_when_answered()
            self._ledger.dropped_idle += 1
        self._answer(self.entry, self._connection, reply)

    def send_half(self, reply: Reply) -> None:
        self._record()
        self._ledger.record_status(self.entry, reply.status)
        data = self._render(reply)
        self._connection.send_part(data[: len(data) - (len(reply.body) + 1) // 2])

    def send_raw(self, data: bytes) -> None:
        self._record()
        self._connection.send_part(data)

    def break_off(self, *, reset: bool = False) -> None:
        self._record()
        if reset:
            self._connection.reset()
        else:
            self._connection.close()

    def stall(self, seconds: float | None) -> None:
        self._record()
        self._connection.stall()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._connection.close)

    def refuse_connections(self, seconds: float) -> None:
        self._refuse(seconds)
