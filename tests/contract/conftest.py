"""The same loops, and the same look at what is left, as for the wire."""

from collections.abc import Iterator

import pytest

from tests.wire.conftest import _nothing_is_left, anyio_backend

from .servers import Server, needed, postgres_server, redis_server

__all__ = ["_nothing_is_left", "anyio_backend"]


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with redis_server() as server:
        yield needed(server, "Redis or Valkey")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield needed(server, "PostgreSQL")
