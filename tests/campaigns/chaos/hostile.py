"""Code of the user's own that raises and returns amiss by chance, at every place where it is called.

`classify`, hooks, `before_send`, `on_outcome`, the limiter, the encoder and the credential: now and then each raises
an exception, a cancellation of its own or a `BaseException`, or returns a coroutine or something else amiss.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from typing import Any

from attrs import evolve

from refold_async import NotAttemptedError, Outcome, Receipt, RefoldClient, Trigger
from refold_async.testing import MockRefold
from tests.fakes.hostile import ERRORS, VALUES, HostileLimiter, hostile

from .faults import CONNECTIONS, DEADLINE, DECLARED, DEDUPE, RETRY, WORKERS
from .tally import PlannedFaults, Tally, open_descriptors

NAMES = [*ERRORS, *VALUES]
PARTS = ["try_take", "try_reserve", "reserve", "throttled", "is_fresh", "sent", "dropped"]
BATCH = 25


class Sometimes:
    """A callable that does what it is to do, and now and then something hostile in its place.

    :param otherwise: what it is to do.
    :param names: the hostile things it may do.
    """

    def __init__(self, chance: float, otherwise: Callable[..., Any], names: list[str] = NAMES) -> None:
        self._chance = chance
        self._otherwise = otherwise
        self._names = names

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if random.random() < self._chance:
            return hostile(random.choice(self._names))()
        return self._otherwise(*arguments, **named)


class SometimesHostileLimiter(HostileLimiter):
    """One with all of the protocol, of which any part may be hostile at any time."""

    def __init__(self, chance: float) -> None:
        super().__init__("", lambda: None)
        self._chance = chance

    def _do(self, part: str, otherwise: Any) -> Any:
        if random.random() < self._chance:
            return hostile(random.choice(list(ERRORS)))()
        if part == "try_take":
            return random.random() < 0.5
        if part == "try_reserve" and random.random() < 0.5:
            return self
        return otherwise


def encode(document: object) -> bytes:
    return json.dumps(document).encode()


async def user_code(triggers: int, seed: int, patience: float = 1.0) -> Tally:
    """Run it; what did not hold is in the tally."""
    random.seed(f"hostile {seed}")
    tally = Tally()
    descriptors = open_descriptors()
    logger = logging.getLogger("refold_async")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # each of them is logged
    never: Callable[..., Any] = lambda *_: None  # noqa: E731
    policy = evolve(RETRY, classify=Sometimes(0.1, never))
    silent = [name for name in NAMES if name != "bytes"]  # which an encoder is to return
    try:
        async with MockRefold(rate_limit=None, dedupe=DEDUPE, faults=PlannedFaults(seed), latency=0.001) as server:
            limiter: Any = SometimesHostileLimiter(0.004)
            async with server.client(
                api_key=Sometimes(0.01, lambda: server.api_key),
                rate_limit=limiter,
                retry=policy,
                timeout=0.15 * patience,
                deadline=DEADLINE * patience,
                hooks=[Sometimes(0.1, never), tally.watch, Sometimes(0.1, never)],
                before_send=Sometimes(0.02, never),
                json_encoder=Sometimes(0.01, encode, silent),
                max_connections=CONNECTIONS,
            ) as plain:
                declared = plain.with_options(idempotency=DECLARED)
                await _fire(plain, declared, tally, seed, triggers, DEADLINE * patience)
                await tally.look_for_leftovers(plain, CONNECTIONS)
            tally.check(server, triggers)
    finally:
        logger.setLevel(level)
    if open_descriptors() > descriptors:
        tally.problems.append(f"{open_descriptors() - descriptors} file descriptors were left open")
    return tally


async def _fire(
    plain: RefoldClient, declared: RefoldClient, tally: Tally, seed: int, triggers: int, deadline: float
) -> None:
    """Fire half of them one by one, and half in batches with a hostile `on_outcome`."""

    async def single(number: int) -> None:
        client = declared if number % 2 else plain

        async def one() -> Receipt:
            return await client.trigger("pipedrive", "Deal Created", {"n": number})

        await tally.end_it(number, seed, one, deadline)

    async def batch(start: int) -> None:
        client = declared if start // BATCH % 2 else plain
        numbers = range(start, min(start + BATCH, triggers))
        rows = [Trigger("pipedrive", "Deal Created", {"n": number}) for number in numbers]
        told: list[Outcome] = []
        result = await client.trigger_many(rows, on_outcome=Sometimes(0.2, told.append), max_concurrency=10)
        for number, outcome in zip(numbers, result, strict=True):
            if isinstance(outcome.error, NotAttemptedError):  # a 401 has stopped the batch, perhaps before its call
                tally.verdicts.setdefault(number, outcome.delivery)
            if tally.verdicts.get(number) is not outcome.delivery:
                tally.problems.append(f"{number} of a batch came back {outcome.delivery}")

    half = triggers // 2
    await tally.crew(range(half), WORKERS, single)
    await tally.crew(range(half, triggers, BATCH), WORKERS // 10, batch)
