"""The examples of `docs/outbox.md` for PostgreSQL, run as they stand: an app that puts, and a worker that sends."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from refold_async import Trigger
from refold_async.outbox.postgres import PostgresStore
from refold_async.testing import MockRefold
from tests.docs.apps import orders_survive_a_kill

from .servers import Server, emptied

for _name in ("procrastinate", "sqlalchemy", "asyncpg"):
    pytest.importorskip(_name)

PAGE = Path(__file__).parents[2] / "docs" / "outbox.md"


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest.fixture
def url(postgres: Server) -> str:
    return emptied(postgres)


def test_an_event_put_by_the_example_is_sent_by_procrastinates_own_worker(url: str, tmp_path: Path) -> None:
    for name, source in re.findall(r"^```python (\S+\.py)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(source)
    with MockRefold(rate_limit=None) as server:
        env = {
            **os.environ, "DATABASE_URL": url, "REFOLD_API_KEY": server.api_key, "REFOLD_BASE_URL": server.url,
            "REFOLD_LINKED_ACCOUNT_ID": server.linked_account_id, "PYTHONPATH": str(tmp_path),
        }  # fmt: skip

        def python(*arguments: str) -> str:
            command = [sys.executable, *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=50, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert python("shop.py") == "queued\n"
        worker = ["-m", "procrastinate", "--app=events.app", "worker", "--one-shot", "--concurrency=20"]
        python("-W", "error::ResourceWarning", *worker)
        [fired] = server.ledger.fired
        assert fired.payload == {"order": 7}
    with psycopg.connect(url) as own:
        assert own.execute("SELECT state FROM refold_outbox").fetchall() == [("accepted",)]
        jobs = own.execute("SELECT status::text FROM procrastinate_jobs WHERE args ? 'key'").fetchall()
        assert jobs == [("succeeded",)]


@pytest.mark.timeout(120)
def test_the_example_app_on_postgresql_fires_each_orders_event_once_though_it_is_killed(
    url: str, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")

    def let_time_pass() -> None:
        with psycopg.connect(url, autocommit=True) as own:
            own.execute("UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 minute'")

    orders_survive_a_kill(tmp_path, let_time_pass, DATABASE_URL=url)
    with psycopg.connect(url) as own:
        assert own.execute("SELECT id, item FROM orders ORDER BY id").fetchall() == [
            (number + 1, f"item {number}") for number in range(4)
        ]
        assert set(own.execute("SELECT state FROM refold_outbox").fetchall()) == {("accepted",)}


DJANGO = """
import asyncio
import sys

from asgiref.sync import async_to_sync
from django.conf import settings

from refold_async import ConfigurationError, Trigger
from refold_async.outbox.postgres import PostgresStore

url = sys.argv[1]
from psycopg.conninfo import conninfo_to_dict
parts = conninfo_to_dict(url)
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": parts["dbname"], "USER": parts.get("user", ""),
    "HOST": parts.get("host", ""), "PORT": parts.get("port", ""),
}})
import django
django.setup()
from django.db import connection, transaction

outbox = PostgresStore(url)
put = async_to_sync(outbox.put)
with transaction.atomic():
    put(Trigger("crm", "Placed"), connection=transaction.get_connection(), key="kept")
try:
    with transaction.atomic():
        put(Trigger("crm", "Placed"), connection=transaction.get_connection(), key="gone")
        raise LookupError
except LookupError:
    pass
try:
    put(Trigger("crm", "Placed"), connection=transaction.get_connection(), key="loose")
except ConfigurationError:
    print("refused")
try:
    with transaction.atomic():
        put(Trigger("crm", "Placed"), connection=connection, key="proxy")  # is another connection in another thread
except ConfigurationError:
    print("refused")
"""


def test_an_event_goes_with_djangos_own_transaction(url: str) -> None:
    pytest.importorskip("django")

    async def prepare() -> None:
        store = PostgresStore(url)
        await store.create_schema()
        await store.put(Trigger("crm", "Placed"), key="first")
        await store.aclose()

    asyncio.run(prepare())
    done = subprocess.run([sys.executable, "-c", DJANGO, url], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "refused\n" * 2
    with psycopg.connect(url) as own:
        keys = own.execute("SELECT key FROM refold_outbox ORDER BY seq").fetchall()
        assert keys == [("first",), ("kept",)]
