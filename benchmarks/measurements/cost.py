"""How cheap and how fast: each contender in a process of its own, against a server that answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any, Final

from attrs import asdict, evolve, frozen

from .. import machine
from ..contender import Contender, Send, Target
from ..contenders import load, missing
from ..load import count, marked, run_on, sample, send_all
from ..process import TurnFailedError, Worker, described
from ..server import Server, answering_server

LIMIT: Final = 60.0
"""Seconds after which a turn counts as hung. The slowest honest one takes about five."""

COUNTED_CALLS: Final = 200
"""So many calls are counted under callgrind. Twice as many change the result by half a percent."""

PATIENCE: Final = 600.0
"""Seconds for a call that is counted: callgrind is fifty times slower, and the machine may be busy."""

Row = dict[str, Any]


@frozen
class Case:
    """One contender under one load.

    :ivar level: how many calls are in flight.
    :ivar rows: measure a given number of calls from first to last, as a batch has them, rather than a window of time.
    """

    contender: str
    loop: str = "asyncio"
    level: int = 100
    tls: bool = False
    rows: int = 0

    def as_row(self) -> Row:
        """Return the fields by which its rows are found."""
        return asdict(self)


def turn(*, case: Row, target: Row, server_pid: int, seconds: float = 0.0, counted: bool = False) -> Row:
    """Take one sample on a loop, and with connections, of its own."""
    chosen, contender = Case(**case), load(case["contender"])
    return run_on(chosen.loop, _measure(chosen, contender, Target(**target), server_pid, seconds, counted))


async def _measure(
    case: Case, contender: Contender, target: Target, server_pid: int, seconds: float, counted: bool
) -> Row:
    if counted:
        target = evolve(target, timeout=PATIENCE)
        async with _sending(contender, target) as send:
            await send(marked(COUNTED_CALLS, case.level + case.level // 2, os.getppid), case.level)
            return {"completed": COUNTED_CALLS}
    if case.rows:
        async with _sending(contender, target) as send:
            return await count(send, calls=case.rows, concurrency=case.level)
    async with contender.open(target) as fire:
        return await sample(fire, concurrency=case.level, seconds=seconds, server_pid=server_pid)


@asynccontextmanager
async def _sending(contender: Contender, target: Target) -> Any:
    async with contender.open(target) as opened:
        send: Send = opened if contender.batch else partial(send_all, opened)
        yield send


def run(
    cases: Sequence[Case],
    *,
    rounds: int,
    seconds: float,
    limit: float = LIMIT,
    say: Callable[[str], object] = lambda line: None,
) -> list[Row]:
    """Let the cases take turns: in each round all of them, one after the other.

    Every other round goes through them backwards, so that none always comes after the same one. A contender that
    crashed or hung has a row that says so, and no further turns.

    :param seconds: the length of a sample.
    """
    rows: list[Row] = []
    with ExitStack() as stack:
        server = stack.enter_context(answering_server())
        workers: dict[tuple[str, str], Worker] = {}
        for case in cases:
            if (case.contender, case.loop) not in workers and missing(case.contender, case.loop) is None:
                worker = stack.enter_context(Worker(f"{__package__}.cost"))
                workers[case.contender, case.loop] = worker
        for number in range(rounds):
            for case in cases if number % 2 == 0 else reversed(cases):
                worker_of = workers.get((case.contender, case.loop))
                if worker_of is None or not (worker_of.alive or number == 0):
                    continue
                rows.append({**case.as_row(), "round": number, **_turn(worker_of, server, case, seconds, limit)})
            say(f"round {number + 1} of {rounds}")
    return rows


def _turn(worker: Worker, server: Server, case: Case, seconds: float, limit: float) -> Row:
    seen = server.seen()
    try:
        row: Row = worker.turn(limit=limit, **_arguments(server, case), seconds=seconds)
    except TurnFailedError as error:
        return {"failed": str(error)}
    if server.seen() - seen < row["completed"]:
        return {"failed": "it counted more responses than the server sent"}
    return row


def _arguments(server: Server, case: Case) -> Row:
    if case.tls and server.secure_url is None:
        raise TurnFailedError("trustme is not installed")
    target = {"url": server.secure_url, "ca": server.ca} if case.tls else {"url": server.url}
    return {"case": case.as_row(), "target": target, "server_pid": server.worker.pid}


def instructions(cases: Sequence[Case], say: Callable[[str], object] = lambda line: None) -> list[Row]:
    """Count the instructions of a call, by callgrind: what a busy machine does not disturb.

    The kernel's work is not in it. What is counted lies between two calls of `getppid`, at which callgrind writes
    down, and forgets, what it counted so far: neither the start nor the warming up is in it.
    """
    if which("valgrind") is None:
        return []
    with answering_server() as server, ThreadPoolExecutor(2) as pool:

        def one(case: Case) -> Row:
            row = case.as_row() | _count(server, case)
            say(f"counted {case.contender} on {case.loop}")
            return row

        return list(pool.map(one, (case for case in cases if missing(case.contender, case.loop) is None)))


def _count(server: Server, case: Case) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "callgrind")
        try:
            work = json.dumps({**_arguments(server, case), "counted": True})
            tool = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={written}"]
            subprocess.run(
                [*tool, sys.executable, "-m", f"{__package__}.cost", work],
                check=True, timeout=PATIENCE, capture_output=True, text=True, env=machine.environment(),
            )  # fmt: skip
            between = written.with_name("callgrind.2").read_text()
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.splitlines() if not line.startswith("==")]
            return {"failed": lines[-1] if lines else f"exit {error.returncode}"}
        except (TurnFailedError, subprocess.TimeoutExpired) as error:
            return {"failed": described(error)}
    summary = next(line for line in between.splitlines() if line.startswith("summary:"))
    return {"instructions": int(summary.split()[1]) / COUNTED_CALLS}


if __name__ == "__main__":
    try:
        turn(**json.loads(sys.argv[1]))
    except Exception as failed:  # noqa: BLE001 - whatever a contender raises is its result
        sys.exit(described(failed))
    os._exit(0)
