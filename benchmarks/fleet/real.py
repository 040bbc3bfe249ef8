"""A fleet for real: processes, a server for their limit, and the mock that enforces Refold's."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

from attrs import asdict, define, field

from refold_async import RateLimit
from refold_async.testing import MockRefold
from tests.contract.servers import Server, postgres_server, redis_server

from .process import OTHERS, Orders
from .simulation import Measured, jain

LIMIT = RateLimit()

STALLS = (0.02, 0.15, 1.0)
"""Shortest and longest stall of each event loop, in seconds, and how many a second."""

_numbers = count()

Disturb = Callable[[Server], None]


@define
class Case:
    """What is run, and what is asked of it.

    :ivar limiter: `memory`, `split`, a library's name, or the server of ours: `redis`, `postgres`, `sqlite`.
    :ivar clocks_off: seconds by which the clock of each process is off, of every other one the other way.
    :ivar is_set_back: the clock of Redis is set back by 30 s in the middle.
    :ivar disturb: done to the server after a quarter of the time, and `mend` after three quarters.
    """

    name: str
    limiter: str
    least_share: float | None = None
    most_throttled: int | None = None
    most_calls: float | None = None
    is_fair: bool = False
    stalls: tuple[float, float, float] | None = None
    pauses: bool = False
    clocks_off: float = 0.0
    is_set_back: bool = False
    disturb: Disturb | None = None
    mend: Disturb | None = None

    def problems(self, found: Found) -> list[str]:
        """Return what does not hold."""
        measured = found.measured
        asked = {
            f"share {measured.share:.2f} < {self.least_share}": self.least_share is not None
            and measured.share < self.least_share,
            f"{measured.throttled} × 429 > {self.most_throttled}": self.most_throttled is not None
            and measured.throttled > self.most_throttled,
            f"{measured.calls_per_grant:.2f} calls a grant > {self.most_calls}": self.most_calls is not None
            and measured.calls_per_grant > self.most_calls,
            f"fairness {measured.fairness:.3f} < 0.98": self.is_fair and measured.fairness < 0.98,
            f"a wait of {measured.longest_wait:.1f} s is over twice the fair one": self.is_fair
            and measured.longest_wait > 2 * measured.fair_wait,
            f"{found.in_pause} requests in the pause > 1": self.pauses and found.in_pause > 1,
            f"nothing arrived for {found.longest_gap:.1f} s > 2": self.is_set_back and found.longest_gap > 2,
            f"share in the outage {found.outage_share or 0:.2f} < 0.7": found.outage_share is not None
            and found.outage_share < 0.7,
            f"a wait of {found.blocked:.2f} s for the server > 0.3": self.disturb is not None and found.blocked > 0.3,
            f"back after {found.back_after:.1f} s > 2": found.back_after > 2,
        }
        return [text for text, fails in asked.items() if fails]


@define
class Found:
    """What came of a case.

    :ivar in_pause: requests that arrived in the pause, after its first 100 ms.
    :ivar longest_gap: seconds in which nothing arrived.
    :ivar outage_share: of the rate that was used while the server was away.
    :ivar back_after: seconds after the server's return until the last process used the shared limit again.
    :ivar blocked: the longest that anyone waited for the server, rather than for a slot, in seconds.
    """

    measured: Measured
    in_pause: int = 0
    longest_gap: float = 0.0
    outage_share: float | None = None
    back_after: float = 0.0
    blocked: float = 0.0


def _redis_command(server: Server, *words: str) -> None:
    from redis import Redis

    with contextlib.closing(Redis.from_url(server.url)) as client:
        client.execute_command(*words)  # type: ignore[no-untyped-call]


def _restart(server: Server) -> None:
    server.kill()
    server.start()


CASES = [
    Case("each alone, in memory", "memory"),
    Case("fixed split, burst 1", "split"),
    Case("limits", "limits"),
    Case("throttled-py", "throttled-py"),
    Case("pyrate-limiter", "pyrate-limiter"),
    Case("redis", "redis", 0.95, 2, 2.3, is_fair=True),
    Case("postgres", "postgres", 0.95, 4, 2.3, is_fair=True),
    Case("sqlite", "sqlite", 0.95, 4, 2.3, is_fair=True),
    Case("redis, event loops stall", "redis", 0.88, 3, stalls=STALLS),
    Case("redis, a 429 with Retry-After: 2", "redis", pauses=True),
    Case("redis, clocks of the processes off by ± 10 s", "redis", 0.95, 2, 2.3, is_fair=True, clocks_off=10.0),
    Case("redis, its clock set back by 30 s", "redis", most_throttled=5, is_set_back=True),
    Case("redis killed and started empty", "redis", 0.7, 5, disturb=Server.kill, mend=Server.start),
    Case("redis frozen", "redis", 0.7, 5, disturb=Server.freeze, mend=Server.thaw),
    Case("redis restarted empty", "redis", 0.7, 5, disturb=_restart),
    Case("redis flushed", "redis", 0.7, 5, disturb=lambda server: _redis_command(server, "FLUSHALL")),
    Case(
        "redis read-only", "redis", 0.7, 5,
        disturb=lambda server: _redis_command(server, "REPLICAOF", "127.0.0.1", "1"),
        mend=lambda server: _redis_command(server, "REPLICAOF", "NO", "ONE"),
    ),
]  # fmt: skip


@define
class Servers:
    """The servers that were found here; None for those that were not."""

    redis: Server | None
    postgres: Server | None
    folder: Path = field(factory=Path)

    def serve(self, case: Case) -> tuple[Server | None, str]:
        """Return the server of a case and its URL; an empty one where there is none."""
        if case.limiter in ("memory", "split"):
            return None, "none"
        if case.limiter == "sqlite":
            return None, f"sqlite:///{self.folder}/limit-{next(_numbers)}.db"
        server = self.postgres if case.limiter == "postgres" else self.redis
        return server, server.url if server is not None else ""


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Run what servers there are."""
    with (
        redis_server("--appendonly", "no") as redis,
        postgres_server() as postgres,
        tempfile.TemporaryDirectory(prefix="refold-fleet-") as folder,
    ):
        yield Servers(redis, postgres, Path(folder))


def play(case: Case, found: Servers, *, processes: int, waiters: int, seconds: float) -> Found | None:
    """Run a case once; None where its server or library is not there."""
    server, url = found.serve(case)
    if not url or not _is_installed(case.limiter):
        return None
    with MockRefold(rate_limit=LIMIT) as mock, _started(processes) as children:
        name = f"fleet-{next(_numbers)}"
        begins = time.time() + 2.0 + 0.06 * processes
        ends = begins + seconds
        clock_offset = time.monotonic() - time.time()
        for number, child in enumerate(children):
            pauses_at = begins + seconds / 4 if case.pauses and number == 0 else None
            orders = Orders(
                number, processes, case.limiter, url, mock.url, name, begins, ends, waiters, case.stalls, pauses_at,
                clock_off=case.clocks_off * (-1) ** number, back_at=begins + seconds / 2 if case.is_set_back else None,
            )  # fmt: skip
            assert child.stdin is not None
            child.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
            child.stdin.flush()
        timers = _disturbing(case, server, begins, seconds)
        reports = [json.loads(child.communicate(timeout=seconds + 60)[0]) for child in children]
        for timer in timers:
            timer.join()
        entries = [entry for entry in mock.ledger.entries if entry.received_at >= begins + clock_offset]
    times = [entry.received_at for entry in entries]
    statuses = Counter(entry.status for entry in entries)
    accepted = [report["accepted"] for report in reports]
    calls = sum(report["calls"] for report in reports)
    quarter = begins + clock_offset + seconds / 4
    outage = case.disturb is not None and case.mend is not None
    mended_at = begins + seconds * (3 / 4 if outage else 1 / 4)
    used = sum(quarter < at < quarter + seconds / 2 for at in times) / (LIMIT.rate * seconds / 2)
    return Found(
        Measured(
            share=statuses.get(200, 0) / (LIMIT.rate * seconds),
            throttled=statuses.get(429, 0),
            fairness=jain(accepted),
            longest_wait=max(report["longest_wait"] for report in reports),
            fair_wait=processes * waiters / LIMIT.rate,
            calls_per_grant=calls / max(1, len(times)),
            calls_per_second=calls / seconds,
        ),
        in_pause=sum(quarter + 0.1 < at < quarter + 2 for at in times) if case.pauses else 0,
        longest_gap=max((later - at for at, later in pairwise(times)), default=0.0),
        outage_share=used if outage else None,
        back_after=max(0.0, *(report["alone_until"] - mended_at for report in reports)) if case.disturb else 0.0,
        blocked=max(report["blocked"] for report in reports),
    )


@contextlib.contextmanager
def _started(processes: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes, and wait until all are ready for orders."""
    command = [sys.executable, "-m", "benchmarks.fleet.process"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def _is_installed(limiter: str) -> bool:
    if limiter not in OTHERS:
        return True
    from importlib.util import find_spec

    return (
        find_spec({"throttled-py": "throttled", "pyrate-limiter": "pyrate_limiter"}.get(limiter, limiter)) is not None
    )


def _disturbing(case: Case, server: Server | None, begins: float, seconds: float) -> list[threading.Timer]:
    timers = []
    for act, after in ((case.disturb, seconds / 4), (case.mend, seconds * 3 / 4)):
        if act is not None and server is not None:
            timer = threading.Timer(begins + after - time.time(), act, (server,))
            timer.start()
            timers.append(timer)
    return timers


def play_again(case: Case, runs: int, found: Servers, *, processes: int, waiters: int, seconds: float) -> list[Found]:
    """Run a case some times, until nothing is wrong with it. Returns all runs, the best first: the fewest problems."""
    results: list[Found] = []
    for _ in range(runs):
        result = play(case, found, processes=processes, waiters=waiters, seconds=seconds)
        if result is None:
            return []
        results.append(result)
        if not case.problems(result):
            break
    return sorted(results, key=lambda each: (len(case.problems(each)), each.measured.throttled, -each.measured.share))
