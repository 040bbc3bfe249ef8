"""The model of deliveries, with workers that die anywhere, on rows in a real PostgreSQL whose clock a test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from hypothesis.stateful import run_state_machine_as_test

from refold_async import Trigger
from refold_async.outbox.postgres import PostgresStore
from tests.unit.outbox.test_delivery_model import Deliveries, model_settings

from .servers import Server

CLOCK = """
    DROP SCHEMA public CASCADE;
    CREATE SCHEMA public;
    CREATE TABLE clock (at float8 NOT NULL);
    INSERT INTO clock VALUES (0);
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT to_timestamp(at) FROM public.clock'
"""
"""A clock that stands still until it is moved. It comes before the server's own on the path of names."""


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


class DeliveriesInPostgres(Deliveries):
    """Workers, a server with a memory for keys, time, and people who look."""

    url = ""

    def make_store(self) -> Any:
        self.own = psycopg.connect(self.url, autocommit=True)
        self.own.execute("TRUNCATE refold_outbox")
        self.pass_time(0.0)
        return PostgresStore(self.url)

    def put(self, trigger: Trigger, key: str) -> None:
        self.loop.run_until_complete(self.store.put(trigger, key=key))
        self.keys.append(key)

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        self.own.execute("UPDATE clock SET at = %s", (self.now,))

    def end_store(self) -> None:
        self.loop.run_until_complete(self.store.aclose())
        self.own.close()


def test_whatever_workers_meet_no_event_fires_twice_or_is_lost(postgres: Server) -> None:
    url = psycopg.conninfo.make_conninfo(postgres.url, options="-c search_path=public,pg_catalog")
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(CLOCK)

    class Machine(DeliveriesInPostgres):
        pass

    Machine.url = url

    async def prepare() -> None:
        store = PostgresStore(url)
        await store.create_schema()
        await store.aclose()

    asyncio.run(prepare())
    try:
        run_state_machine_as_test(Machine, settings=model_settings(60))
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as own:
            own.execute("DROP FUNCTION public.clock_timestamp()")
