"""The faults that every contender meets: drawn for an event and an attempt, whatever the order of arrival."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from refold_async.testing import Fault
from refold_async.testing.ledger import Entry

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
    """A `FaultPlan` that is the same for every contender.

    Which fault an attempt meets depends on the seed, on the event's number in its payload, and on which attempt at it
    this is; not on what came before. Only `close_idle` reaches further: it closes the connection behind the answer, as
    servers do, and the next request on it may meet that.
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
