"""How often an event is lost or doubled when the network misbehaves, and how often the client says so.

Every client fires the same events at a mock Refold that meets each with the same faults, and says of each that it
succeeded, failed or is uncertain. The mock's ledger knows what really fired.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from refold_async.testing import Dedupe, MockRefold

from ..contender import Contender, Setup, Target
from ..contenders import load
from ..faults import PlannedFaults
from ..process import TurnFailedError, Worker
from .cost import in_loop

CALLERS: Final = 50
TIMEOUT: Final = 0.5
"""Seconds, per attempt: short, so that stalls do not make the run long. The mock answers within milliseconds."""

LIMIT: Final = 240.0

SUCCEEDED, FAILED, UNCERTAIN = "S", "F", "U"


def turn(key: str, *, setup: str, url: str, events: int) -> dict[str, Any]:
    """Fire the events; give what the client said of each, as one letter, and which exceptions it raised."""
    contender = load(key)
    chosen = next(each for each in contender.setups if each.name == setup)
    return in_loop(contender, _fire_all(chosen, Target(url=url, timeout=TIMEOUT), events))


async def _fire_all(setup: Setup, target: Target, events: int) -> dict[str, Any]:
    said = ["?"] * events
    raised: Counter[str] = Counter()
    numbers = iter(range(events))
    async with setup.open(target) as fire:

        async def work() -> None:
            for number in numbers:
                try:
                    await fire({"n": number, "deal_name": "Acme"})
                except Exception as error:  # noqa: BLE001 - whatever a client raises is what it says
                    said[number] = UNCERTAIN if setup.uncertain(error) else FAILED
                    raised[type(error).__name__] += 1
                else:
                    said[number] = SUCCEEDED

        async with asyncio.TaskGroup() as workers:
            for _ in range(CALLERS):
                workers.create_task(work())
    return {"said": "".join(said), "raised": dict(raised.most_common())}


def judge(said: str, fired: Mapping[int, int]) -> dict[str, int]:
    """Hold what was said of each event against how often it fired.

    Truthful are: "succeeded" of what fired once, "failed" of what did not fire, and "uncertain" of what fired once or
    not at all. An event that fired twice was never truthfully reported, because nobody said "twice".
    """
    counts = dict.fromkeys(
        (
            "fired_once", "fired_more", "unfired", "lost_as_success", "fired_as_failure", "failure_more",
            "uncertain", "uncertain_more", "truthful",
        ),
        0,
    )  # fmt: skip
    for number, word in enumerate(said):
        times = fired.get(number, 0)
        counts["fired_once"] += times == 1
        counts["fired_more"] += times > 1
        counts["unfired"] += times == 0
        counts["lost_as_success"] += word == SUCCEEDED and times == 0
        counts["fired_as_failure"] += word == FAILED and times > 0
        counts["failure_more"] += word == FAILED and times > 1
        counts["uncertain"] += word == UNCERTAIN
        counts["uncertain_more"] += word == UNCERTAIN and times > 1
        counts["truthful"] += {SUCCEEDED: times == 1, FAILED: times == 0, UNCERTAIN: times <= 1}.get(word, False)
    return counts


def run(contenders: Mapping[str, Contender], *, events: int, seed: int) -> list[dict[str, Any]]:
    """Give each setup of each contender its turn."""
    return [
        _one(key, contender.name, setup, events, seed)
        for key, contender in contenders.items()
        for setup in contender.setups
    ]


def _one(key: str, name: str, setup: Setup, events: int, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": name, "setup": setup.name, "deduped": setup.deduped, "events": events}
    dedupe = Dedupe(header="Idempotency-Key") if setup.deduped else None
    with (
        MockRefold(rate_limit=None, faults=PlannedFaults(seed), dedupe=dedupe) as server,
        Worker("delivery", key) as worker,
    ):
        try:
            told = worker.turn(limit=LIMIT, setup=setup.name, url=server.url, events=events)
        except TurnFailedError as error:
            return row | {"failed": str(error)}
        fired = server.ledger.count_fired_by("n")
        requests, faults = server.ledger.requests, dict(sorted(server.ledger.faults().items()))
    return row | judge(told["said"], fired) | {"requests": requests, "faults": faults, "raised": told["raised"]}
