"""Requests over the pool transport for as long as asked, while sockets and memory are watched.

Run it with `python -m tests.campaigns.soak --seconds 60`. Every interval it prints sockets, resident memory and the
pool's state, and at the end it fails if they have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import itertools
import os
import random
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import trustme
import uvloop
from attrs import define, field, frozen

from tests.fakes.server import serving
from tests.wire.storm import Storm, echoing
from tests.wire.wire import NOTHING, make_wire, open_sockets, settled, state_of

CALLERS = 40
CONNECTIONS = 12
WARM_UP = 0.2
"""The part of the time after which growth counts: caches fill, and the allocator settles."""

MOST_GROWTH = 2.0
"""MB of memory that the rest of the time may add."""


@frozen
class Sample:
    """What was seen at one moment."""

    at: float
    sockets: int
    memory: float
    requests: int
    state: str


def memory() -> float:
    """Give the memory that this process holds in MB, without what it has freed; 0 where the system does not say."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # glibc; TLS connections leave it with large holes
        ctypes.CDLL(None).malloc_trim(0)
    listed = Path("/proc/self/statm")
    return int(listed.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if listed.exists() else 0.0


@define
class Soak:
    """A storm that goes on, for so many seconds or requests, and what was seen of it."""

    seconds: float
    interval: float
    storm: Storm
    requests: int | None = None
    samples: list[Sample] = field(factory=list)
    _began: float = 0.0

    async def run(self) -> None:
        self._began = time.monotonic()
        numbers = itertools.takewhile(lambda number: self.progress(number) < 1.0, itertools.count())
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self.storm.caller(numbers))
            looked = 0.0
            while self.progress(self.done) < 1.0:
                await asyncio.sleep(0.01 if self.requests else min(self.interval, self.seconds / 10))
                if self.progress(self.done) >= looked + 0.1:
                    looked = self.progress(self.done)
                    self._look()

    @property
    def done(self) -> int:
        """How many requests have ended."""
        return sum(self.storm.count.values())

    def progress(self, number: int) -> float:
        """Return how much of it is over, from 0 to 1, once so many requests were made."""
        if self.requests is not None:
            return number / self.requests
        return (time.monotonic() - self._began) / self.seconds

    def _look(self) -> None:
        state = state_of(self.storm.transport)
        done = self.done
        at = time.monotonic() - self._began if self.requests is None else self.progress(done) * self.seconds
        sample = Sample(
            at, open_sockets(), memory(), done, f"{state.active} active, {state.idle} idle, {state.waiting} waiting"
        )
        self.samples.append(sample)
        print(
            f"{at:7.1f} s {done:>9} requests {sample.sockets:>4} sockets {sample.memory:7.1f} MB  {sample.state}",
            flush=True,
        )

    def problems(self) -> list[str]:
        """Say what has grown, and what went wrong."""
        found = []
        if self.storm.swapped:
            found.append(f"{len(self.storm.swapped)} answers were not those of their requests")
        settled = [sample for sample in self.samples if sample.at >= self.seconds * WARM_UP]
        half = len(settled) // 2
        if half:
            early, late = settled[:half], settled[half:]
            growth = median(sample.memory for sample in late) - median(sample.memory for sample in early)
            if growth > MOST_GROWTH:
                found.append(f"memory grew by {growth:.1f} MB")
            more = median(sample.sockets for sample in late) - median(sample.sockets for sample in early)
            if more > CONNECTIONS:
                found.append(f"{more:g} more sockets are open than before")
        return found


async def soak(
    seconds: float, interval: float, *, tls: bool, seed: int = 1, requests: int | None = None
) -> tuple[Soak, list[str]]:
    """Run it for so many seconds, or requests if given; return what was seen, and what did not hold."""
    authority = trustme.CA()
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    transport = make_wire(verify=client_tls, limits=limits)
    before = open_sockets()
    async with serving(echoing, tls=server_tls if tls else None, remember=False) as server:
        running = Soak(seconds, interval, Storm(transport, server.url, random.Random(seed)), requests)
        await running.run()
        problems = running.problems()
        await transport.aclose()
        if await settled(transport, NOTHING) != NOTHING:
            problems.append(f"the pool holds what nobody uses: {state_of(transport)}")
        async with asyncio.timeout(10):
            await server.emptied()
    await asyncio.sleep(0.1)
    if open_sockets() > before:
        problems.append(f"{open_sockets() - before} sockets were left open")
    return running, problems


def main() -> None:
    """Read the arguments, run on each kind of loop and connection, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of it together")
    parser.add_argument("--interval", type=float, default=5.0, help="between two lines")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kinds = [(loop, tls) for loop in ("asyncio", "uvloop") for tls in (False, True)]
    failed: list[str] = []
    for loop, tls in kinds:
        name = f"{loop}, {'TLS' if tls else 'plain'}"
        print(f"on {name}")
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            work = soak(arguments.seconds / len(kinds), arguments.interval, tls=tls, seed=arguments.seed)
            running, problems = runner.run(work)
        failed += [f"{name}: {problem}" for problem in problems]
        endings: Counter[str] = Counter()
        for key, count in running.storm.count.items():
            endings[key.split()[-1]] += count
        print("    " + ", ".join(f"{count} {ending}" for ending, count in endings.most_common()))
    if failed:
        sys.exit("\n".join(failed))
    print("nothing has grown, and nothing was left over")


if __name__ == "__main__":
    main()
