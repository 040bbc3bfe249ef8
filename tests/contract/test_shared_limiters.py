"""One limit for many processes: what every limiter holds, on real servers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from refold_async import RateLimit
from refold_async.limiters._link import Store
from refold_async.limiters.postgres import PostgresStore
from refold_async.limiters.redis import RedisStore
from refold_async.limiters.sqlite import SQLiteStore
from refold_async.policies.shared_pacing import MICRO, Answer, Question, SharedState

pytestmark = pytest.mark.asyncio

START = 1_800_000_000 * MICRO

_names = (f"test-{number}" for number in itertools.count())


class Clock:
    """What the store takes for the time."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest_asyncio.fixture(params=["redis", "postgres", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Clock]]:
    clock = Clock()
    made: Store
    if request.param == "redis":
        from redis.asyncio import Redis

        client = Redis.from_url(request.getfixturevalue("redis").url)
        made = RedisStore(client, next(_names), owned=True, now=clock)
    elif request.param == "postgres":
        import psycopg

        url = request.getfixturevalue("postgres").url

        async def connect() -> Any:
            return await psycopg.AsyncConnection.connect(url, autocommit=True)

        made = PostgresStore(next(_names), connect=connect, now=clock)
    else:
        made = SQLiteStore(tmp_path / "limit.db", next(_names), wall_clock=lambda: clock.now / MICRO)
    yield made, clock
    await made.aclose()


def questions(random: Random, last: dict[str, Answer]) -> Question:
    """Make up a question of one of four processes, which remember their last answer, or not."""
    member = random.choice("abcd")
    limit = {"a": RateLimit(), "b": RateLimit(), "c": RateLimit(7.5, 3), "d": RateLimit(1.9, 9)}[member]
    known = last.get(member)
    if known is None or random.random() < 0.1:
        return Question(member, limit, spent=random.randint(0, 3), rejoins=random.random() < 0.2)
    slots = (known.slot,) if known.slot and random.random() < 0.2 else ()
    return Question(
        member,
        limit,
        era=known.era if random.random() < 0.95 else random.choice([7, 0]),
        epoch=known.epoch,
        held=0 if slots else known.slot,
        returned=slots,
        wants=random.random() < 0.8,
        longest=random.choice([-1, -1, 100_000, 2_000_000]),
        pause=random.randint(0, 2_000_000) if random.random() < 0.05 else -1,
        announces=random.random() < 0.3,
        rejoins=random.random() < 0.1,
    )


@pytest.mark.parametrize("seed", range(6))
async def test_every_store_answers_as_the_rule_does(store: tuple[Store, Clock], seed: int) -> None:
    made, clock = store
    random = Random(seed)
    rule: SharedState | None = None
    last: dict[str, Answer] = {}
    for step in range(150):
        clock.now += random.choice([0, 1, 17_000, 40_000, 300_000, random.randint(0, 3_000_000)])
        if random.random() < 0.03:
            clock.now -= random.choice([5_000, 400_000, 30 * MICRO])
        if random.random() < 0.02:
            clock.now += 45 * MICRO
        question = questions(random, last)
        if rule is None:
            rule = SharedState.new(clock.now)
        expected = rule.ask(question, clock.now)
        assert await made.ask(question) == expected, f"question {step}"
        last[question.member] = expected
