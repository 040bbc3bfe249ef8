"""When a request on the wire is given up, on a clock that jumps: each limit alone, and the earliest of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from refold_async._core.settings import Timeouts
from refold_async._types.evidence import Evidence
from refold_async._wire.flight import Flight, FlightState
from refold_async._wire.timer import LoopTimer
from tests.fakes.clock import run

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"


class SlowConnection:
    """Has still so much to write."""

    def __init__(self, unwritten: int) -> None:
        self.unwritten = unwritten
        self.is_reusable: bool | None = None

    def begin(self, exchange: Any) -> None:
        pass

    def write_first(self, data: bytes) -> bool:
        return self.unwritten == 0

    def finish(self, *, reusable: bool) -> None:
        self.is_reusable = reusable


class Request:
    rest = None

    def first(self) -> bytes:
        return b"POST / HTTP/1.1\r\n\r\n"


class Owner:
    max_response_bytes = 1_000_000

    def __init__(self) -> None:
        self.statuses: list[int | None] = []

    def landed(self, status: int | None) -> None:
        self.statuses.append(status)


Step = tuple[float, Callable[[Flight, SlowConnection], None]]


def left(unwritten: int) -> Callable[[Flight, SlowConnection], None]:
    return lambda flight, connection: setattr(connection, "unwritten", unwritten)


def receive(data: bytes) -> Callable[[Flight, SlowConnection], None]:
    return lambda flight, connection: flight.feed(data)


def fly(unwritten: int, timeouts: Timeouts, deadline: float, steps: list[Step]) -> tuple[float, Flight, SlowConnection]:
    """Launch a flight, let these things happen at their times, and return when it was over."""

    async def main() -> tuple[float, Flight, SlowConnection]:
        loop = asyncio.get_running_loop()
        began, timer, connection, owner = loop.time(), LoopTimer(loop), SlowConnection(unwritten), Owner()
        flight = Flight(loop.create_future(), timer, timeouts, began + deadline, owner)
        flight.launch(connection, Request(), began)  # type: ignore[arg-type]
        for at, step in steps:
            loop.call_at(began + at, step, flight, connection)
        evidence: Evidence = await flight.future
        flight.check()
        assert flight.evidence == evidence
        assert owner.statuses == [evidence.status]
        assert (flight.until, timer.timed) == (float("inf"), set())
        ended = loop.time() - began
        timer.close()
        return ended, flight, connection

    return run("asyncio", main)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("unwritten", "timeouts", "deadline", "steps", "ends", "how"),
    [
        (0, Timeouts(read=10), 60, [], 10, httpx.ReadTimeout),
        (0, Timeouts(read=None), 60, [], 60, "deadline"),
        (0, Timeouts(read=10), 3, [], 3, "deadline"),
        (0, Timeouts(read=10), 60, [(7, receive(HALF))], 17, httpx.ReadTimeout),
        (0, Timeouts(read=10), 12, [(7, receive(HALF))], 12, "deadline"),
        (0, Timeouts(read=10), 60, [(7, receive(HALF)), (16, receive(b"x"))], 26, httpx.ReadTimeout),
        (500, Timeouts(write=5), 60, [], 5, httpx.WriteTimeout),
        (500, Timeouts(write=None), 60, [], 60, "deadline"),
        (500, Timeouts(write=5), 4, [], 4, "deadline"),
        (500, Timeouts(write=5), 60, [(2, left(300))], 10, httpx.WriteTimeout),
        (500, Timeouts(write=5), 60, [(2, left(300)), (8, left(299))], 15, httpx.WriteTimeout),
        (500, Timeouts(write=5), 60, [(2, left(600))], 5, httpx.WriteTimeout),
        (500, Timeouts(write=5), 8, [(2, left(300))], 8, "deadline"),
        (500, Timeouts(write=5, read=10), 60, [(2, left(0))], 15, httpx.ReadTimeout),
        (500, Timeouts(write=5, read=10), 60, [(2, left(1))], 10, httpx.WriteTimeout),
        # A response while the request is still being written: from then on it has to go on, too.
        (500, Timeouts(write=30, read=5), 60, [(2, receive(HALF))], 7, httpx.WriteTimeout),
        (500, Timeouts(write=30, read=None), 9, [(2, receive(HALF))], 9, "deadline"),
    ],
)  # fmt: skip
def test_a_flight_ends_at_the_earliest_of_its_limits(
    unwritten: int, timeouts: Timeouts, deadline: float, steps: list[Step], ends: float, how: Any
) -> None:
    at, flight, connection = fly(unwritten, timeouts, deadline, steps)
    evidence = flight.evidence
    assert evidence is not None
    assert at == pytest.approx(ends)
    assert flight.state is FlightState.DONE
    assert (evidence.written, evidence.complete, connection.is_reusable) == (True, False, False)
    if how == "deadline":
        assert (evidence.error, evidence.cut is not None) == (None, True)
    else:
        assert (type(evidence.error), evidence.cut) == (how, None)


@pytest.mark.parametrize(("unwritten", "is_reusable"), [(0, True), (1, False), (500, False)])
def test_a_connection_with_half_a_request_on_it_is_not_used_again(unwritten: int, is_reusable: bool) -> None:
    _, flight, connection = fly(500, Timeouts(), 60, [(1, left(unwritten)), (2, receive(OK))])
    assert flight.evidence is not None
    assert (flight.evidence.status, flight.evidence.complete) == (200, True)
    assert connection.is_reusable == is_reusable
