"""What every limiter holds, on real servers; and what those that share a server do when it is gone."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import refold_async
from refold_async import (
    ConfigurationError,
    PacingTimeoutError,
    PostgresRateLimiter,
    RateLimit,
    RateLimiter,
    RedisRateLimiter,
    SQLiteRateLimiter,
)
from refold_async.limiters import (
    Grant,
    MemoryRateLimiter,
    PriorityRateLimiter,
    SharedRateLimiter,
    adapt,
    limiter_from_url,
)
from tests.support import abandons_sockets

from .servers import Server, needed, postgres_server, redis_server

KINDS = ["memory", "redis", "postgres", "sqlite"]
QUICK = RateLimit(200, 5)
PACKAGE = Path(refold_async.__file__).parent

_names = (f"fleet-{number}" for number in itertools.count())

Make = Callable[[RateLimit], PriorityRateLimiter]


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest_asyncio.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes limiters that share one limit, if they can; they are closed in the end."""
    name = next(_names)
    kind: str = request.param
    url = request.getfixturevalue(kind).url if kind in ("redis", "postgres") else ""
    made: list[PriorityRateLimiter] = []

    def new(limit: RateLimit = QUICK) -> PriorityRateLimiter:
        limiter: PriorityRateLimiter
        if kind == "redis":
            limiter = RedisRateLimiter(url, limit, name=name)
        elif kind == "postgres":
            limiter = PostgresRateLimiter(url, limit, name=name)
        elif kind == "sqlite":
            limiter = SQLiteRateLimiter(tmp_path / "limit.db", limit, name=name)
        else:
            limiter = MemoryRateLimiter(limit)
        made.append(limiter)
        return limiter

    yield new
    for limiter in made:
        await limiter.aclose()
        await limiter.aclose()


@pytest.mark.asyncio
async def test_a_limiter_keeps_the_protocol(make: Make) -> None:
    limiter = make(QUICK)
    assert isinstance(limiter, RateLimiter)
    assert adapt(limiter) is limiter
    grant = await limiter.reserve()
    assert isinstance(grant, Grant)
    assert grant.waited >= 0
    grant.sent()
    grant.dropped()
    (await limiter.reserve(first=True)).dropped()
    spare = limiter.try_reserve()
    if spare is not None:
        spare.dropped()
    await limiter.throttled(0.01)
    (await limiter.reserve()).sent()


@pytest.mark.asyncio
async def test_callers_of_one_process_are_granted_in_order(make: Make) -> None:
    limiter = make(RateLimit(100, 2))
    order: list[int] = []

    async def ask(number: int) -> None:
        (await limiter.reserve()).sent()
        order.append(number)

    await asyncio.gather(*(ask(number) for number in range(12)))
    assert order == list(range(12))


@pytest.mark.asyncio
async def test_a_wait_past_the_deadline_takes_no_slot(make: Make) -> None:
    limiter = make(RateLimit(0.1, 1))
    (await limiter.reserve()).sent()
    with pytest.raises(PacingTimeoutError):
        await limiter.reserve(deadline=time.monotonic() + 1)


@pytest.mark.asyncio
async def test_two_that_share_a_limit_count_together(make: Make) -> None:
    first, second = make(RateLimit(0.1, 3)), make(RateLimit(0.1, 3))
    if isinstance(first, MemoryRateLimiter):
        pytest.skip("it is shared as an object")
    (await first.reserve()).sent()
    with pytest.raises(PacingTimeoutError):
        await second.reserve(deadline=time.monotonic() + 1)


@pytest.mark.asyncio
async def test_a_pause_of_one_holds_for_the_other(make: Make) -> None:
    first, second = make(QUICK), make(QUICK)
    if isinstance(first, MemoryRateLimiter):
        second = first
    (await second.reserve()).sent()
    await first.throttled(30.0)
    with pytest.raises(PacingTimeoutError):
        await second.reserve(deadline=time.monotonic() + 5)


@pytest.mark.asyncio
async def test_cancelled_waiters_leave_the_limiter_in_order(make: Make) -> None:
    limiter = make(RateLimit(100, 1))
    for turns in range(12):
        tasks = [asyncio.ensure_future(limiter.reserve()) for _ in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        granted = [task.result() for task in tasks[:3] if not task.cancel()]
        for grant in granted:  # as long as one is untold, nobody else may go
            grant.dropped()
        (await tasks[3]).sent()
        for ended in await asyncio.gather(*tasks[:3], return_exceptions=True):
            if not isinstance(ended, BaseException) and ended not in granted:
                ended.dropped()
    assert limiter.waiting == 0  # type: ignore[attr-defined]


def alone(limiter: SharedRateLimiter) -> bool:
    return limiter._link().alone is not None


async def until_shared_again(limiter: SharedRateLimiter) -> None:
    while alone(limiter):
        (await limiter.reserve()).sent()
        await asyncio.sleep(0.01)


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refold_async.limiters._link.PROBE_EVERY", 0.05)


@pytest.fixture
def own_redis() -> Iterator[Server]:
    with redis_server("--appendonly", "no") as server:
        yield needed(server, "Redis or Valkey")


@pytest.mark.usefixtures("probing")
@pytest.mark.parametrize("how", ["killed", "frozen", "read-only", "flushed"])
@pytest.mark.asyncio
async def test_calls_go_on_when_redis_is_gone_and_are_shared_again_when_it_is_back(
    own_redis: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    from redis.asyncio import Redis

    limiter = RedisRateLimiter(own_redis.url, QUICK, name="fleet", instances=2)
    (await limiter.reserve()).sent()
    async with Redis.from_url(own_redis.url) as admin:
        if how == "killed":
            own_redis.kill()
        elif how == "frozen":
            own_redis.freeze()
        elif how == "read-only":
            await admin.replicaof("127.0.0.1", 1)
        else:
            await admin.script_flush()
            await admin.flushall()
        for _ in range(3):
            (await limiter.reserve()).sent()
        assert alone(limiter)
        if how == "killed":
            own_redis.start()
        elif how == "frozen":
            own_redis.thaw()
        elif how == "read-only":
            await admin.replicaof("NO", "ONE")
        await until_shared_again(limiter)
        assert await admin.exists("{refold:fleet}:state")
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (how != "flushed")
    await limiter.aclose()


@pytest.mark.usefixtures("probing")
@pytest.mark.asyncio
async def test_calls_go_on_when_postgres_is_gone_and_are_shared_again_when_it_is_back() -> None:
    with postgres_server() as running:
        server = needed(running, "PostgreSQL")
        if not server.is_ours:
            pytest.skip("this server is not ours to kill")
        limiter = PostgresRateLimiter(server.url, QUICK, name="fleet", instances=2)
        (await limiter.reserve()).sent()
        assert not alone(limiter)
        server.kill()
        for _ in range(3):
            (await limiter.reserve()).sent()
        assert alone(limiter)
        server.start()
        await until_shared_again(limiter)
        await limiter.aclose()


@pytest.mark.usefixtures("probing")
@pytest.mark.asyncio
async def test_calls_go_on_when_the_file_is_locked_and_are_shared_again_later(tmp_path: Path) -> None:
    path = tmp_path / "limit.db"
    limiter = SQLiteRateLimiter(path, QUICK, name="fleet", instances=2)
    (await limiter.reserve()).sent()
    assert path.stat().st_mode & 0o777 == 0o600
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for _ in range(3):
        (await limiter.reserve()).sent()
    assert alone(limiter)
    other.execute("ROLLBACK")
    other.close()
    await until_shared_again(limiter)
    await limiter.aclose()


@abandons_sockets
def test_a_url_serves_one_event_loop_after_the_other_and_a_client_only_its_own(redis: Server) -> None:
    from redis.asyncio import Redis

    by_url = RedisRateLimiter(redis.url, QUICK, name=next(_names))
    by_client = RedisRateLimiter(Redis.from_url(redis.url), QUICK, name=next(_names))

    async def reserve(limiter: SharedRateLimiter) -> None:
        (await limiter.reserve()).sent()
        assert not alone(limiter)

    asyncio.run(reserve(by_url))
    asyncio.run(reserve(by_url))
    asyncio.run(reserve(by_client))
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(reserve(by_client))


@pytest.mark.asyncio
async def test_a_pool_of_ones_own_is_used_and_not_closed(postgres: Server) -> None:
    from psycopg_pool import AsyncConnectionPool

    async with AsyncConnectionPool(postgres.url, min_size=1, max_size=2, open=False) as pool:
        limiter = PostgresRateLimiter(pool, QUICK, name=next(_names))
        for _ in range(3):
            (await limiter.reserve()).sent()
        assert not alone(limiter)
        await limiter.aclose()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")


@pytest.mark.asyncio
async def test_nothing_is_prepared_so_that_a_pooler_may_change_the_connection(postgres: Server) -> None:
    from psycopg_pool import AsyncConnectionPool

    options = {"prepare_threshold": 0}  # the first time, if one lets it
    async with AsyncConnectionPool(postgres.url, kwargs=options, min_size=1, max_size=1, open=False) as pool:
        limiter = PostgresRateLimiter(pool, QUICK, name=next(_names))
        for _ in range(7):
            (await limiter.reserve()).sent()
        async with pool.connection() as connection:
            row = await (
                await connection.execute("SELECT count(*) FROM pg_prepared_statements", prepare=False)
            ).fetchone()
        assert row == (0,)
        await limiter.aclose()


SECRET = "pa55-w0rd"


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
@pytest.mark.asyncio
async def test_the_password_is_in_no_error_of_a_refused_call_nor_in_what_led_to_it(scheme: str) -> None:
    limiter = limiter_from_url(f"{scheme}://user:{SECRET}@127.0.0.1:1/0", name="fleet", on_outage="refuse")
    with pytest.raises(PacingTimeoutError) as caught:
        await limiter.reserve()
    seen = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(seen.format())
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert SECRET not in repr(asyncio.all_tasks())
    await limiter.aclose()


@pytest.mark.parametrize(
    "url",
    [f"redis://user:{SECRET}@127.0.0.1:1/0", f"postgresql://user:{SECRET}@127.0.0.1:1/db"],
    ids=["redis", "postgres"],
)
@pytest.mark.asyncio
async def test_the_password_in_a_url_is_seen_nowhere(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    limiter = limiter_from_url(url, name="fleet")
    (await limiter.reserve()).sent()
    assert alone(limiter)
    assert SECRET not in caplog.text + repr(limiter) + str(vars(limiter)) + repr(limiter._link())
    assert "127.0.0.1:1" in caplog.text
    with pytest.raises(TypeError, match="does not pickle"):
        limiter.__reduce__()
    await limiter.aclose()


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@host:port/0",
        f"redis://user:{SECRET}@host/0?socket_timeout=soon",
        f"postgresql://user:{SECRET}@host/db?nonsense=1",
        f"mysql://user:{SECRET}@host/db",
        f"user:{SECRET}@host",
        f"sqlite://{SECRET}",
    ],
)
def test_a_url_that_is_wrong_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        limiter_from_url(url)
    seen = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in seen.stack if Path(frame.filename).is_relative_to(PACKAGE)]
    assert ours
    assert SECRET not in str(caught.value)
    assert not any(SECRET in str(frame.locals) for frame in ours)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("module", "url", "extra"), [("redis", "redis://host", "redis"), ("psycopg", "postgresql://host", "postgres")]
)
def test_without_the_extra_the_error_names_it(
    module: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"refold-async\[{extra}\]"):
        limiter_from_url(url, name="fleet")


def test_the_urls_of_settings_are_understood(tmp_path: Path) -> None:
    made = {
        "redis://localhost": "Redis at localhost:6379",
        "rediss://u:p@h:7000/2": "Redis at h:7000",
        "valkey://h": "Redis at h:6379",
        "unix:///run/redis.sock": "Redis at /run/redis.sock",
        "postgres://h/db": "PostgreSQL at h:5432",
        "postgresql+asyncpg://u:p@h:5433/db": "PostgreSQL at h:5433",
        f"sqlite:///{tmp_path}/a%20b.db": f"the file {tmp_path}/a b.db",
    }
    for url, where in made.items():
        limiter = limiter_from_url(url, RateLimit(7, 2), name="fleet", instances=3)
        assert where in repr(limiter)
        assert limiter.limit == RateLimit(7, 2)
