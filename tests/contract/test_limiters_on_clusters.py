"""A shared limit over clients of a Redis Cluster and of Sentinel, on real servers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from refold_async import PacingTimeoutError, RateLimit, RedisRateLimiter

from .servers import Server, free_port, needed, redis_server

pytest.importorskip("redis")

pytestmark = pytest.mark.asyncio

QUICK = RateLimit(50, 3)
_names = itertools.count()


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    with redis_server("--appendonly", "no") as server:
        yield needed(server, "Redis or Valkey")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Server]:
    port = free_port()  # the bus of a cluster is 10,000 ports above, by default, which may be past the last one
    with redis_server("--cluster-enabled", "yes", "--cluster-port", str(port)) as server:
        yield needed(server, "Redis or Valkey")


@pytest.fixture(scope="module")
def sentinel(primary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings: Path = tmp_path_factory.mktemp("sentinel") / "sentinel.conf"
    settings.write_text(f"sentinel monitor refold 127.0.0.1 {_port(primary)} 1\n")
    with redis_server(str(settings), "--sentinel", settings_first=True) as server:
        yield needed(server, "Sentinel")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """The servers outlive the tests."""


@asynccontextmanager
async def cluster_client(server: Server) -> AsyncIterator[Any]:
    """Give the cluster's only node all slots, and open a client."""
    from redis.asyncio import Redis, RedisCluster

    opened: Any = Redis(host="127.0.0.1", port=_port(server))
    async with opened as node:
        if await _state(node) != "ok":
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until = time.monotonic() + 20
        while await _state(node) != "ok":
            assert time.monotonic() < until, "the cluster never came up"
            await asyncio.sleep(0.02)
    async with RedisCluster(host="127.0.0.1", port=_port(server)) as client:
        yield client


@asynccontextmanager
async def sentinel_client(server: Server) -> AsyncIterator[Any]:
    """Open a client that asks Sentinel for the primary."""
    from redis.asyncio.sentinel import Sentinel

    make: Any = Sentinel
    found = make([("127.0.0.1", _port(server))])
    async with found.master_for("refold") as client:
        yield client
    for each in found.sentinels:
        await each.aclose()


@pytest_asyncio.fixture(params=["cluster", "sentinel"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    server: Server = request.getfixturevalue(request.param)
    async with (cluster_client if request.param == "cluster" else sentinel_client)(server) as opened:
        yield opened


async def test_two_limiters_over_one_client_share_a_limit(client: Any) -> None:
    limit, name = RateLimit(0.1, 1), f"shared-{next(_names)}"
    first, second = RedisRateLimiter(client, limit, name=name), RedisRateLimiter(client, limit, name=name)
    (await asyncio.wait_for(first.reserve(), 5)).sent()
    with pytest.raises(PacingTimeoutError):
        await second.reserve(deadline=time.monotonic() + 1)
    apart = RedisRateLimiter(client, limit, name=f"{name}-apart")
    (await asyncio.wait_for(apart.reserve(), 5)).sent()


async def test_a_script_that_was_flushed_is_sent_again(client: Any) -> None:
    limiter = RedisRateLimiter(client, QUICK, name=f"flushed-{next(_names)}", on_outage="refuse")
    (await limiter.reserve()).sent()
    await client.script_flush()
    for _ in range(5):
        (await limiter.reserve()).sent()


def _port(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


async def _state(node: Any) -> str:
    """Return the cluster's state; redis-py's versions differ in how they return it."""
    told = await node.execute_command("CLUSTER", "INFO")
    if isinstance(told, dict):
        return str(told.get("cluster_state"))
    text = told.decode() if isinstance(told, bytes) else str(told)
    return "ok" if "cluster_state:ok" in text else "fail"
