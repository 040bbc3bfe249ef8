"""A request in flight: written at once, its whole response the result of one future."""

from __future__ import annotations

import asyncio
import enum
import math
import re
from typing import Any, Protocol

import httpx

from .._types.evidence import Cut, Evidence
from .connection import Connection
from .parser import ParserState, ResponseParser
from .timer import LoopTimer

_FIELD = rb"""(?:
    [!#$%&'*+\-.^_`|~0-9ABD-SV-Zabd-sv-z] [!#$%&'*+\-.^_`|~0-9A-Za-z]*+ : [\t\x20-\x7e\x80-\xff]*+ \r\n
    | (?! (?i: connection | content-length | content-encoding | trailer | transfer-encoding | upgrade ) :)
      [CcTtUu] [!#$%&'*+\-.^_`|~0-9A-Za-z]*+ : [\t\x20-\x7e\x80-\xff]*+ \r\n
    | (?i: connection : [\ \t]*+ keep-alive ) [\ \t]*+ \r\n
){0,64}+"""
_PLAIN_HEAD = re.compile(
    rb"""HTTP/1\.1\ (2[0-9][0-9]) (?: \ [\t\x20-\x7e\x80-\xff]*+ )? \r\n"""
    + _FIELD
    + rb"""(?i: content-length ) : [\ \t]*+ ([0-9]{1,9}+) [\ \t]*+ \r\n"""
    + _FIELD
    + rb"""\r\n""",
    re.VERBOSE,
)
"""The head of a plain response: one length, and no other field that can change what the bytes after the head are.

Possessive quantifiers: a head that does not match fails in one pass.
"""

_new_evidence = tuple.__new__


class SentRequest(Protocol):
    """The bytes of a request. They hold the credential and the payload: keep them out of local variables.

    :ivar rest: the body of a request that is too long to be copied; None otherwise.
    """

    def first(self) -> bytes:
        """Return the head, with the body if that is short."""
        ...

    @property
    def rest(self) -> bytes | None: ...


class FlightState(enum.Enum):
    """How far a request in flight has come."""

    NEW = "nothing was written"
    WRITING = "the event loop still has some of it to write"
    READING = "all of it was handed to the kernel"
    DONE = "the evidence is complete"


TRANSITIONS = {
    FlightState.NEW: {FlightState.WRITING, FlightState.READING, FlightState.DONE},
    FlightState.WRITING: {FlightState.NEW, FlightState.READING, FlightState.DONE},
    FlightState.READING: {FlightState.DONE},
    FlightState.DONE: set[FlightState](),
}
"""`launch` leaves NEW, and returns to it where nothing could be written; the timer moves WRITING to READING, and
whatever ends the flight moves it to DONE."""

# Looked up once: in Python 3.11 each look at a member goes through a `__getattr__` of the metaclass.
_NEW, _WRITING, _READING, _DONE = FlightState


class Timeouts(Protocol):
    """Seconds without progress after which an attempt fails; None for no limit."""

    @property
    def write(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...


class FlightOwner(Protocol):
    """Who launched a flight."""

    @property
    def max_response_bytes(self) -> int:
        """How much of a response is read."""
        ...

    def landed(self, status: int | None) -> None:
        """Note that the flight is over, with this status if there was a response, and its connection free or closed."""
        ...


class Flight:
    """One request on one connection, and its whole response.

    A plain acceptance is read in one look, and its headers stay bytes. Every other response goes, with the same bytes,
    through the `ResponseParser`.

    :param future: gets the `Evidence`; it may be cancelled, and then `abandon` is to be called.
    :param deadline: loop time at which the flight is cut; inf for never.
    :param owner: told when the connection is free again, before the future's waiter wakes.
    :ivar until: loop time of the next limit, for the timer.
    :ivar evidence: what is known; complete once the state is DONE.
    """

    __slots__ = (
        "_connection", "_deadline", "_owner", "_parser", "_size", "_timeouts", "_timer", "_unwritten", "evidence",
        "future", "state", "until",
    )  # fmt: skip

    def __init__(
        self,
        future: asyncio.Future[Any],
        timer: LoopTimer,
        timeouts: Timeouts,
        deadline: float,
        owner: FlightOwner,
    ) -> None:
        self.future = future
        self.state = _NEW
        self.evidence: Evidence | None = None
        self.until = math.inf
        self._timer = timer
        self._timeouts = timeouts
        self._deadline = deadline
        self._owner = owner
        self._connection: Connection | None = None
        self._parser: ResponseParser | None = None
        self._unwritten = 0
        self._size = 0

    def launch(self, connection: Connection, request: SentRequest, now: float) -> None:
        """Write the request over an idle connection.

        :param now: loop time.
        :raises httpx.WriteError: when nothing was written; the connection is given up, the flight is still new.
        """
        connection.begin(self)
        self._connection = connection
        self._timer.timed.add(self)
        self.state = _WRITING  # before the write: whatever goes wrong in it, something may have left
        try:
            taken = connection.write_first(request.first())
        except httpx.WriteError:
            self.state = _NEW
            self._connection = None
            self._timer.timed.discard(self)
            connection.abort()
            raise
        if request.rest is not None:
            connection.write(request.rest)
            taken = not connection.unwritten
        if taken:
            self.state = _READING
            limit = self._timeouts.read
        else:
            self._unwritten = connection.unwritten
            limit = self._timeouts.write
        until = self._deadline if limit is None else min(self._deadline, now + limit)
        self.until = until
        if until < self._timer.due:
            self._timer.note(until)

    def check(self) -> None:
        """Assert what always holds, between two turns of the event loop."""
        assert (self.state is _DONE) == (self.evidence is not None)
        on_wire = self.state in (_WRITING, _READING)
        assert on_wire == (self._connection is not None) == (self in self._timer.timed)
        assert not on_wire or self.until <= self._deadline

    def _set_limit(self, now: float, seconds: float | None) -> None:
        until = self._deadline if seconds is None else min(self._deadline, now + seconds)
        self.until = until
        if until != math.inf:
            self._timer.note(until)

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """Read what has arrived of the response."""
        if self._parser is None:
            if self.state is _READING and self._read_plain(data):
                return
            self._parser = ResponseParser()
        parser = self._parser
        self._size += len(data)
        try:
            parser.feed(data)
        except httpx.RemoteProtocolError as error:
            self.fail(error.with_traceback(None))  # whose frames hold what was read
            return
        if parser.state is ParserState.COMPLETE:
            # A response to half a request says that the server has stopped reading.
            whole = self.state is _READING or not self._still_writing()
            self._land(self._seen(complete=True), reusable=parser.keep_alive and whole)
        elif self._size > self._owner.max_response_bytes + 65_536:
            self._end(self._seen())
        else:
            self._set_limit(self._timer.loop.time(), self._timeouts.read)

    def _read_plain(self, data: bytes) -> bool:
        """Land with a plain acceptance, if this is exactly one: a 2xx with its whole body and nothing behind it."""
        match = _PLAIN_HEAD.match(data)
        if match is None:
            return False
        end = match.end()
        if len(data) - end != int(match[2]) or len(data) == end:
            return False
        status = int(match[1])
        if status == 204 or status == 205:
            return False
        # What `_land` does, for the one case that is worth a frame less.
        evidence = _new_evidence(Evidence, (status, data[:end], data[end:], True, True, None, None, True, ()))
        connection = self._connection
        assert connection is not None
        self._connection = None
        connection.finish(reusable=True)
        self.evidence = evidence
        self.state = _DONE
        self.until = math.inf
        self._timer.timed.discard(self)
        if not self.future.done():
            self.future.set_result(evidence)
        self._owner.landed(status)
        return True

    def _still_writing(self) -> bool:
        return self._connection is not None and self._connection.unwritten > 0

    def on_connection_lost(self, error: Exception | None) -> None:
        """End with what is known: the response may be complete by that, or break off."""
        parser = self._parser = self._parser or ResponseParser()
        problem = parser.end(error)
        self._connection = None
        if problem is None:
            self._end(self._seen(complete=True))
            return
        if problem is error:
            kind = httpx.WriteError if self.state is _WRITING else httpx.ReadError
            problem = kind(str(error) or type(error).__name__)
            problem.__cause__ = error
        self._end(self._seen(error=problem))

    def on_writable(self) -> None:
        """Nothing waits for it: `expire` looks at how much is left."""

    def fail(self, error: Exception) -> None:
        """End with an error, and give the connection up."""
        self._end(self._seen(error=error))

    # What the timer calls.

    def expire(self, now: float) -> None:
        """End at a limit, unless the request is still being written and moves."""
        if now >= self._deadline:
            self._end(self._seen(cut=Cut.DEADLINE))
            return
        if self.state is _WRITING:
            left = 0 if self._connection is None else self._connection.unwritten
            if left == 0:
                self.state = _READING
                self._set_limit(now, self._timeouts.read)
            elif left < self._unwritten:  # a large body on a slow line: it moves
                self._unwritten = left
                self._set_limit(now, self._timeouts.write)
            else:
                self.fail(httpx.WriteTimeout("nothing more of the request could be written within the write timeout"))
            return
        self.fail(httpx.ReadTimeout("nothing was received within the read timeout"))

    # What the sender calls.

    def abandon(self, cut: Cut) -> Evidence:
        """End now, and return what is known; a response that is complete already counts in full."""
        if self.evidence is None:
            self._end(self._seen(cut=cut))
        assert self.evidence is not None
        return self.evidence

    # How it ends.

    def _seen(self, *, complete: bool = False, error: Exception | None = None, cut: Cut | None = None) -> Evidence:
        parser = self._parser
        if parser is None or parser.status is None:
            return Evidence(written=self.state is not _NEW, error=error, cut=cut)
        body = b"".join(parser.chunks)
        if len(body) > self._owner.max_response_bytes:
            body, complete = body[: self._owner.max_response_bytes], False
        return Evidence(parser.status, tuple(parser.headers), body, complete, True, error, cut)

    def _land(self, evidence: Evidence, *, reusable: bool) -> None:
        """Return the connection after a complete response, then hand over the evidence."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish(reusable=reusable)
        self._settle(evidence)

    def _end(self, evidence: Evidence) -> None:
        """Close the connection after an incomplete response, then hand over the evidence."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish(reusable=False)
        self._settle(evidence)

    def _settle(self, evidence: Evidence) -> None:
        if self.evidence is not None:
            return
        self.evidence = evidence
        self.state = _DONE
        self._parser = None
        self.until = math.inf
        self._timer.timed.discard(self)
        if not self.future.done():
            self.future.set_result(evidence)
        self._owner.landed(evidence.status)
