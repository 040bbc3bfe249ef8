"""A process that stood still (Ctrl-Z, a paused container, a sleeping laptop) reads the answers that came meanwhile.

When it goes on, every timer is late, and `epoll` reports no event at the first look: it was interrupted, and its own
timeout has passed. `StoppedLoop` does the same without waiting; one test stops a real process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from refold_async import Delivery, Trigger
from refold_async.testing import Entry, Fault, MockRefold
from tests.fakes.clock import StoppedLoop
from tests.support import ending


def run(main: Callable[[StoppedLoop], Coroutine[Any, Any, None]], late: float | None = None) -> None:
    loop = StoppedLoop(late)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))
    assert loop._looking.lost_seconds, "the process never stood still"


@pytest.fixture(params=["http", "https"])
def any_server(request: pytest.FixtureRequest) -> Any:
    with MockRefold(rate_limit=None, tls=request.param == "https") as running:
        yield running


def stopping(loop: StoppedLoop, at: Callable[[Entry], bool], fault: Fault | None = None) -> Callable[[Entry], Any]:
    """Plan for the server: the client stands still when this request has arrived, before it is answered."""

    def plan(entry: Entry) -> Fault | None:
        if at(entry):
            loop.stand_still()
            return fault
        return None

    return plan


@pytest.mark.parametrize(
    "setting", [{"timeout": 5}, {"deadline": 5}, {"timeout": 5, "deadline": 6}, {"timeout": None, "deadline": 5}]
)
def test_an_answer_that_came_while_the_process_stood_still_is_read(
    any_server: MockRefold, setting: dict[str, Any]
) -> None:
    async def main(loop: StoppedLoop) -> None:
        any_server.plan(stopping(loop, lambda entry: entry.payload == {"id": 1}))
        async with any_server.client(rate_limit=None, retry=None) as client:
            await client.trigger("slack", "E")
            got = await ending(client.trigger("slack", "E", {"id": 1}, **setting))
        assert got.delivery is Delivery.ACCEPTED

    run(main)


@pytest.mark.parametrize("late", [0.0, 0.001, 0.03, 0.049, 0.051, 0.2])
@pytest.mark.parametrize("setting", [{"timeout": 1}, {"timeout": None, "deadline": 1}, {"timeout": 1, "deadline": 1}])
def test_an_answer_is_read_although_the_process_went_on_just_when_the_time_was_up(
    any_server: MockRefold, setting: dict[str, Any], late: float
) -> None:
    async def main(loop: StoppedLoop) -> None:
        any_server.plan(stopping(loop, lambda entry: entry.payload == {"id": 1}))
        async with any_server.client(rate_limit=None, retry=None) as client:
            await client.trigger("slack", "E")
            got = await ending(client.trigger("slack", "E", {"id": 1}, **setting))
        assert got.delivery is Delivery.ACCEPTED

    run(main, late)


def test_answers_of_a_batch_that_came_while_the_process_stood_still_are_read(server: MockRefold) -> None:
    async def main(loop: StoppedLoop) -> None:
        def all_answered() -> bool:
            return len([entry for entry in server.ledger.entries if entry.status is not None]) == 20

        seen: list[Entry] = []

        def plan(entry: Entry) -> None:
            seen.append(entry)
            if len(seen) == 20:
                loop.stand_still(all_answered)

        server.plan(plan)
        async with server.client(rate_limit=None, retry=None, timeout=5, deadline=6) as client:
            for _ in range(2):  # the second time over connections that are there
                result = await client.trigger_many(Trigger("slack", "E", {"id": n}) for n in range(10))
        assert [outcome.delivery for outcome in result] == [Delivery.ACCEPTED] * 10

    run(main)


def test_a_rejection_that_came_while_the_process_stood_still_is_read(server: MockRefold) -> None:
    async def main(loop: StoppedLoop) -> None:
        server.plan(stopping(loop, lambda entry: entry.payload == {"id": 1}, Fault.answer(404)))
        async with server.client(rate_limit=None, retry=None, timeout=5, deadline=6) as client:
            await client.trigger("slack", "E")
            got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert got.delivery is Delivery.REJECTED

    run(main)


def test_a_long_answer_that_came_while_the_process_stood_still_is_taken_for_its_status(server: MockRefold) -> None:
    body = b'{"message":"' + b"x" * 500_000 + b'"}'

    async def main(loop: StoppedLoop) -> None:
        server.plan(stopping(loop, lambda entry: entry.payload == {"id": 1}, Fault.answer(200, body=body)))
        async with server.client(rate_limit=None, retry=None, timeout=5, deadline=6) as client:
            await client.trigger("slack", "E")
            got = await ending(client.trigger("slack", "E", {"id": 1}))
        assert got.delivery is Delivery.ACCEPTED

    run(main)


def test_a_server_that_stays_silent_is_ambiguous_after_the_process_stood_still_too(server: MockRefold) -> None:
    """One more look is one look, and no new timeout. What wakes the loop is the second call's answer."""

    async def main(loop: StoppedLoop) -> None:
        def plan(entry: Entry) -> Fault | None:
            if entry.payload == {"id": 1}:
                return Fault.stall_head()
            loop.stand_still()
            return None

        server.plan(plan)
        async with server.client(rate_limit=None, retry=None, timeout=5, deadline=6) as client:
            silent = asyncio.ensure_future(ending(client.trigger("slack", "E", {"id": 1})))
            await asyncio.to_thread(server.ledger.wait_for, lambda ledger: ledger.requests == 1)
            answered = await ending(client.trigger("slack", "E", {"id": 2}, timeout=None, deadline=None))
            assert answered.delivery is Delivery.ACCEPTED
            assert (await silent).delivery is Delivery.AMBIGUOUS

    run(main)


def test_a_connection_that_was_made_while_the_process_stood_still_is_used() -> None:
    """It stands still during the handshake, since a loopback connection is there at once."""

    async def main(loop: StoppedLoop) -> None:
        async with server.client(rate_limit=None, retry=None, timeout=5) as client:
            call = asyncio.ensure_future(ending(client.trigger("slack", "E", {"id": 1})))
            await asyncio.sleep(0)
            loop.stand_still()
            got = await call
        assert got.delivery is Delivery.ACCEPTED

    with MockRefold(rate_limit=None, tls=True) as server:
        run(main)


PROGRAM = """
import asyncio, sys
from refold_async import RefoldClient

async def main():
    async with RefoldClient(
        api_key="tk_mock_0000", linked_account_id="a", base_url=sys.argv[1], timeout=0.5, deadline=0.5, retry=None
    ) as client:
        await client.trigger("slack", "E", {"id": 0}, timeout=20, deadline=20)
        try:
            ending = await client.trigger("slack", "E", {"id": 1})
        except Exception as error:
            ending = error
        print(ending.delivery.value)

asyncio.run(main())
"""


def waits_in_the_kernel(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see that a process waits")
@pytest.mark.asyncio
async def test_a_process_that_was_really_stopped_finds_its_answer_in_the_socket(server: MockRefold) -> None:
    """It is stopped while it waits, and before the answer leaves, for longer than its timeouts."""
    pids: list[int] = []

    def stop(entry: Entry) -> None:
        if entry.payload == {"id": 1}:
            looks = 0
            while looks < 10:  # in a row, so that it waits for the answer and not for a moment
                looks = looks + 1 if waits_in_the_kernel(pids[0]) else 0
                time.sleep(0.002)
            os.kill(pids[0], signal.SIGSTOP)

    server.plan(stop)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, server.url, stdout=asyncio.subprocess.PIPE
    )
    pids.append(process.pid)
    try:
        arrived = await asyncio.to_thread(server.ledger.wait_for, lambda ledger: ledger.requests == 2, timeout=30)
        await asyncio.sleep(0.7)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert arrived
    assert said.decode().strip() == "accepted"
