"""A client's process that is stopped now and then, for longer than its timeouts: answers that came meanwhile are read.

Run as a module it is that process: it fires, and prints how each trigger ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from refold_async import Delivery, Receipt, RefoldClient
from refold_async.testing import Fault, MockRefold

from .faults import DECLARED, DEDUPE, RETRY
from .tally import FAULTS, PlannedFaults, Tally

TIMEOUT = 0.3
WORKERS = 20
STALLS = {fault for fault in FAULTS if fault.name.startswith("stall")}
"""Rare here: each makes one wait for its timeout."""

DROPS = {"close_idle", "refuse_next"}
"""Left out: they end requests of others, whose endings could then not be told from those of a stop."""


async def stopped_process(triggers: int, seed: int, patience: float = 1.0) -> Tally:
    """Run it; what did not hold is in the tally."""
    if not hasattr(signal, "SIGSTOP"):
        print("no process can be stopped here")
        return Tally()
    chance = random.Random(f"stopped {seed}")
    tally = Tally()
    shares = {each: share for each, share in FAULTS.items() if each.name not in DROPS}
    faults: dict[Fault, float] = {each: share / (20 if each in STALLS else 4) for each, share in shares.items()}
    stops = 0
    is_tls = chance.random() < 0.5
    async with MockRefold(
        tls=is_tls, rate_limit=None, dedupe=DEDUPE, faults=PlannedFaults(seed, faults), latency=0.01
    ) as server:
        with tempfile.TemporaryDirectory() as directory:
            authority = Path(directory, "ca.pem")
            authority.write_bytes(server.ca_pem if is_tls else b"")  # noqa: ASYNC240 - a few bytes
            command = [
                sys.executable,
                "-m",
                __name__,
                server.url,
                str(authority),
                f"{triggers}",
                f"{seed}",
                f"{patience}",
            ]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=1 << 24)
            reading = asyncio.ensure_future(process.communicate())
            try:
                while not reading.done():
                    arrived = server.ledger.requests
                    share = chance.randrange(1, 60)
                    while not reading.done() and server.ledger.requests < arrived + share:
                        await asyncio.wait([reading], timeout=0.001)
                    await asyncio.sleep(chance.random() * 0.02)
                    if not reading.done() and server.ledger.requests:
                        os.kill(process.pid, signal.SIGSTOP)
                        await asyncio.sleep((TIMEOUT + chance.choice([0.02, 0.06, 0.4]) * chance.random()) * patience)
                        os.kill(process.pid, signal.SIGCONT)
                        stops += 1
                said, _ = await reading
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if process.returncode:
            tally.problems.append(f"the process ended with {process.returncode}")
        else:
            told = json.loads(said)
            tally.verdicts = {int(number): Delivery(verdict) for number, verdict in told["verdicts"].items()}
            tally.cut, tally.marked = set(told["cut"]), set(told["marked"])
            tally.problems += told["problems"]
        print(f"stopped {stops} times" + (", over TLS" if is_tls else ""))
        tally.check(server, triggers, excused=1 + stops // 3)  # a deadline may pass just after a request has left
    return tally


async def fire_all(url: str, authority: str, triggers: int, seed: int, patience: float) -> Tally:
    """Fire, while somebody else stops this process."""
    tally = Tally()
    timeout = TIMEOUT * patience
    async with RefoldClient(
        api_key="tk_mock_0000",
        linked_account_id="acct_mock",
        base_url=url,
        verify=authority if url.startswith("https") else True,
        proxy=None,
        rate_limit=None,
        retry=RETRY,
        timeout=timeout,
        hooks=[tally.watch],
        max_connections=WORKERS,
    ) as plain:
        declared = plain.with_options(idempotency=DECLARED)

        async def fire(number: int) -> None:
            client = declared if number % 2 else plain
            deadline = timeout * (1.5 if number % 3 else 4)

            async def one() -> Receipt:
                return await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=deadline)

            await tally.end_it(number, seed, one, deadline, cut=0.05)

        await tally.crew(range(triggers), WORKERS, fire)
        await tally.look_for_leftovers(plain, WORKERS)
    return tally


def main() -> None:
    """Be that process."""
    url, authority, triggers, seed, patience = sys.argv[1:]
    tally = asyncio.run(fire_all(url, authority, int(triggers), int(seed), float(patience)))
    verdicts = {number: verdict.value for number, verdict in tally.verdicts.items()}
    json.dump(
        {
            "verdicts": verdicts,
            "cut": sorted(tally.cut),
            "marked": sorted(tally.marked),
            "problems": tally.problems,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
