"""How often an event is lost or doubled when the network misbehaves, and how well clients keep to the rate limit.

Every client sends the same events at a mock Refold, and says of each that it succeeded, failed or is uncertain. The
mock's ledger knows what really fired.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from attrs import evolve

from refold_async import RateLimit
from refold_async.testing import Dedupe, Fault, MockRefold
from refold_async.testing.ledger import Entry

from .. import machine
from ..contender import Contender, Target, events
from ..contenders import load, missing
from ..process import TurnFailedError, Worker

CALLERS: Final = 50
TIMEOUT: Final = 0.5
"""Seconds, per attempt: short, so that stalls do not make the run long. The mock answers within milliseconds."""

PACING_CALLERS: Final = 20
LIMIT = RateLimit()
SEED: Final = 20

CHANCES: Final[dict[Fault, float]] = {
    Fault.reset_before_reading(): 0.010,
    Fault.close_before_firing(): 0.010,
    Fault.reset_after_firing(): 0.010,
    Fault.close_after_firing(): 0.010,
    Fault.truncate_head(): 0.005,
    Fault.truncate_body(): 0.005,
    Fault.stall_head(): 0.005,
    Fault.stall_head(fires=False): 0.005,
    Fault.stall_body(): 0.005,
    Fault.garbage(): 0.005,
    Fault.not_json(): 0.005,
    Fault.close_idle(): 0.010,
    Fault.throttle("1"): 0.020,
    Fault.answer(400): 0.005,
    Fault.answer(500): 0.005,
    Fault.answer(500, fires=True, name="status_500_after_firing"): 0.005,
    Fault.html_502(): 0.005,
    Fault.html_502(fires=True): 0.005,
    Fault.answer(503): 0.005,
    Fault.answer(503, headers={"Retry-After": "1"}, name="status_503_asking_to_wait"): 0.010,
    Fault.answer(504, fires=True): 0.005,
}
"""How likely each is, for each attempt. Fifteen in a hundred go wrong: far more than on a good day."""


class PlannedFaults:
    """A `FaultPlan` that is the same for every contender, in whatever order its events arrive.

    Which fault an attempt meets depends on the seed, on the event's number, and on which attempt at it this is. Only
    `close_idle` reaches further: it closes the connection behind the response, as servers do, and the next request on
    it may meet that.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._attempts: Counter[int] = Counter()

    def __call__(self, entry: Entry) -> Fault | None:
        number = entry.payload["n"]
        self._attempts[number] += 1
        drawn = random.Random(f"{self._seed}:{number}:{self._attempts[number]}").random()
        for fault, chance in CHANCES.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None


def turn(*, contender: str, target: dict[str, Any], count: int, callers: int) -> dict[str, Any]:
    """Send the events; return what the client said of each, which exceptions it raised, and how long it took."""
    return asyncio.run(_send_all(load(contender), Target(**target), count, callers))


async def _send_all(contender: Contender, target: Target, count: int, callers: int) -> dict[str, Any]:
    said = ["?"] * count
    raised: Counter[str] = Counter()
    source = enumerate(evolve(event, payload={"n": number}) for number, event in enumerate(events(count)))
    async with contender.open(target) as fire:

        async def work() -> None:
            for number, event in source:
                try:
                    await fire(event)
                except Exception as error:  # noqa: BLE001 - whatever a client raises is what it says
                    said[number] = "U" if contender.uncertain(error) else "F"
                    raised[type(error).__name__] += 1
                else:
                    said[number] = "S"

        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(callers):
                workers.create_task(work())
        seconds = time.perf_counter() - started
    return {"said": "".join(said), "raised": dict(raised.most_common()), "seconds": seconds}


def judge(said: str, fired: Mapping[int, int]) -> dict[str, int]:
    """Hold what was said of each event, by one letter, against how often it fired.

    Truthful are: "succeeded" of what fired once, "failed" of what did not fire, and "uncertain" of what fired once or
    not at all. An event that fired twice was never reported truthfully, because nobody said "twice".
    """
    counts: Counter[str] = Counter()
    for number, word in enumerate(said):
        times = fired.get(number, 0)
        counts["fired_once"] += times == 1
        counts["fired_more"] += times > 1
        counts["lost_as_success"] += word == "S" and times == 0
        counts["fired_as_failure"] += word == "F" and times > 0
        counts["uncertain"] += word == "U"
        counts["truthful"] += {"S": times == 1, "F": times == 0, "U": times <= 1}.get(word, False)
    return dict(counts)


def run(contenders: Collection[tuple[str, bool]], *, count: int, seed: int = SEED) -> list[dict[str, Any]]:
    """Give each contender its turn under faults, three at a time: nothing here counts CPU.

    :param contenders: each with whether the server is one that drops repeats of an `Idempotency-Key`.
    """

    def one(name: str, deduped: bool) -> dict[str, Any]:
        dedupe = Dedupe(header="Idempotency-Key") if deduped else None
        server = MockRefold(rate_limit=None, faults=PlannedFaults(seed), dedupe=dedupe)
        return _one(name, server, count, CALLERS, TIMEOUT) | {"deduped": deduped}

    found = [(name, deduped) for name, deduped in contenders if missing(name) is None]
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda each: one(*each), found))


def pacing(contenders: Collection[str], *, seconds: float) -> list[dict[str, Any]]:
    """Have each drain a backlog of so many seconds, all at the same time: none keeps a core busy at 20 a second."""
    found = [name for name in contenders if missing(name) is None]
    count = int(seconds * LIMIT.rate)
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        running = [pool.submit(_one, name, MockRefold(rate_limit=LIMIT), count, PACING_CALLERS, None) for name in found]
        return [each.result() for each in running]


def _one(name: str, server: MockRefold, count: int, callers: int, timeout: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": name, "events": count}
    with server, Worker(f"{__package__}.delivery", core=machine.CLIENT) as worker:
        target = {"url": server.url, "api_key": server.api_key, "timeout": timeout}
        try:
            told = worker.turn(limit=240.0, contender=name, target=target, count=count, callers=callers)
        except TurnFailedError as error:
            return row | {"failed": str(error)}
        counts = judge(told.pop("said"), server.ledger.count_fired_by("n"))
        row |= told | counts
        return row | {"requests": server.ledger.requests, "throttled": server.ledger.statuses()[429]}
