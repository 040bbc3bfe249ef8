"""The recipes of docs/examples/ for other engines, each with real workers that are killed, on real servers.

Beside each runs the same task without a fence, so that what the recipe prevents is seen to happen without it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from attrs import define

from refold_async.outbox import SQLiteOutbox
from refold_async.outbox.postgres import PostgresStore
from refold_async.testing import Fault, MockRefold

from .servers import Server, emptied

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

QUICK = """
from functools import partial
from refold_async.outbox import Pace

RECIPE.outbox.deliver = partial(RECIPE.outbox.deliver, pace=Pace(deadline=3, slack=0, backoff=lambda attempt: 0.1))
"""
"""A sender counts as lost after three seconds in place of a minute."""

CELERY = """
import outbox_celery as RECIPE
from outbox_celery import *

from celery.signals import worker_process_init

app.conf.update(task_default_queue=os.environ["QUEUE"], worker_lost_wait=0.5)

@worker_process_init.connect
def tell(**_):
    open(f"{os.getpid()}.pid", "w").close()

@app.task
def naive(number):
    get_refold().trigger("crm", "Placed", {"n": number}, deadline=60)

def put(number):
    fire(Trigger("crm", "Placed", {"n": number}), f"order-{number}")

def put_naive(number):
    naive.delay(number)
"""

TASKIQ = """
import asyncio
import outbox_taskiq as RECIPE
from outbox_taskiq import *

broker.queue_name = broker.consumer_group_name = later._prefix = os.environ["QUEUE"]
broker.idle_timeout, broker.block, broker.unacknowledged_lock_timeout = 4000, 200, 1.0
retries.default_delay = 0.5

@broker.task
async def naive(number: int) -> None:
    await clients[0].trigger("crm", "Placed", {"n": number}, deadline=60)

def put(number):
    async def main():
        await broker.startup()
        await fire(Trigger("crm", "Placed", {"n": number}), f"order-{number}")
        await broker.shutdown()
    asyncio.run(main())

def put_naive(number):
    async def main():
        await broker.startup()
        await naive.kiq(number)
        await broker.shutdown()
    asyncio.run(main())
"""

PGQUEUER = """
import asyncio
import outbox_pgqueuer as RECIPE
from outbox_pgqueuer import *
from contextlib import asynccontextmanager

@asynccontextmanager
async def both():
    async with workers() as pgq, RefoldClient() as client:
        @pgq.entrypoint("naive", on_failure="hold")
        async def naive(job):
            await client.trigger("crm", "Placed", {"n": int(job.payload)}, deadline=60)
        yield pgq

async def run():
    async with both() as pgq:
        await pgq.run(heartbeat_timeout=timedelta(seconds=1), dequeue_timeout=timedelta(seconds=0.2))

def in_transaction(work):
    async def main():
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        async with connection.transaction():
            await work(connection)
        await connection.close()
        await outbox.aclose()
    asyncio.run(main())

def put(number):
    in_transaction(lambda own: RECIPE.put(own, Trigger("crm", "Placed", {"n": number}), f"order-{number}"))

def put_naive(number):
    in_transaction(lambda own: Queries.from_asyncpg_connection(own).enqueue("naive", str(number).encode()))

def roll_back(number):
    async def work(own):
        await RECIPE.put(own, Trigger("crm", "Placed", {"n": number}), f"order-{number}")
        raise LookupError
    try:
        in_transaction(work)
    except LookupError:
        pass

def install():
    in_transaction(lambda own: Queries.from_asyncpg_connection(own).install())
    asyncio.run(outbox.create_schema())
"""


@define
class Engine:
    """An engine's workers and its outbox, with the recipe's module as `configured`."""

    folder: Path
    env: dict[str, str]
    commands: list[list[str]]
    outbox: Callable[[], Any]

    def python(self, program: str) -> None:
        command = [sys.executable, "-W", "ignore", "-c", program]
        done = subprocess.run(
            command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def put(self, number: int) -> None:
        self.python(f"from configured import put; put({number})")

    def start(self) -> list[subprocess.Popen[bytes]]:
        with (self.folder / "output.txt").open("ab") as output:
            return [
                subprocess.Popen(
                    [sys.executable, *command], env=self.env, cwd=self.folder, start_new_session=True,
                    stdout=output, stderr=output,
                )
                for command in self.commands
            ]  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[Callable[[], None]]:
        """Run the workers; yields what kills all that send. Celery itself replaces its own; the others start anew."""
        processes = self.start()

        def end() -> None:
            for process in processes:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(10)

        def kill() -> None:
            children = list(self.folder.glob("*.pid"))
            for path in children:
                path.unlink()
                os.kill(int(path.stem), signal.SIGKILL)
            if not children:
                end()
                processes[:] = self.start()

        try:
            yield kill
        except BaseException:
            sys.stdout.write((self.folder / "output.txt").read_text()[-8000:])
            raise
        finally:
            end()

    def until(self, number: int, *, state: str, held: bool = False) -> Any:
        """Wait until the event of this number is in a state, and return what is known of it."""

        async def look() -> Any:
            async with self.outbox() as outbox:
                with anyio.move_on_after(40):
                    while True:
                        status = await outbox.status(f"order-{number}")
                        if (status.state, status.held) == (state, held):
                            return status
                        await anyio.sleep(0.05)
                raise AssertionError(f"it stayed {status}")

        return anyio.run(look)


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


def configured(name: str, source: str, server: MockRefold, folder: Path, **env: str) -> tuple[Path, dict[str, str]]:
    path = folder / name
    path.mkdir()
    (path / "configured.py").write_text(source + QUICK)
    return path, {
        **os.environ, **env, "PYTHONPATH": f"{path}:{EXAMPLES}", "PYTHONDONTWRITEBYTECODE": "1",
        "REFOLD_API_KEY": server.api_key, "REFOLD_BASE_URL": server.url,
        "REFOLD_LINKED_ACCOUNT_ID": server.linked_account_id, "OUTBOX": str(path / "outbox.db"),
        "QUEUE": f"refold-{uuid4().hex}",
    }  # fmt: skip


def celery(server: MockRefold, folder: Path, redis: Server) -> Engine:
    path, env = configured("celery", CELERY, server, folder, CELERY_BROKER_URL=redis.url)
    worker = [
        "-m",
        "celery",
        "-A",
        "configured.app",
        "worker",
        "--concurrency=4",
        "--loglevel=WARNING",
        "--without-mingle",
    ]
    return Engine(path, env, [worker], lambda: SQLiteOutbox(path / "outbox.db"))


def taskiq(server: MockRefold, folder: Path, redis: Server) -> Engine:
    path, env = configured("taskiq", TASKIQ, server, folder, REDIS_URL=redis.url)
    commands = [
        ["-m", "taskiq", "worker", "configured:broker", "--workers=1", "--log-level=WARNING"],
        ["-m", "taskiq", "scheduler", "configured:scheduler", "--log-level=WARNING", "--update-interval=1"],
    ]
    return Engine(path, env, commands, lambda: SQLiteOutbox(path / "outbox.db"))


def pgqueuer(server: MockRefold, folder: Path, postgres: Server) -> Engine:
    path, env = configured("pgqueuer", PGQUEUER, server, folder, DATABASE_URL=emptied(postgres))
    run = ["-c", "from configured import *; asyncio.run(run())"]
    engine = Engine(path, env, [run], lambda: PostgresStore(postgres.url))
    engine.python("from configured import install; install()")
    return engine


@pytest.fixture(params=["celery", "taskiq", "pgqueuer"])
def engine(request: pytest.FixtureRequest, server: MockRefold, tmp_path: Path) -> Engine:
    name = request.param
    for module in {"celery": ["celery"], "taskiq": ["taskiq", "taskiq_redis"], "pgqueuer": ["pgqueuer"]}[name]:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if name == "pgqueuer":
        return pgqueuer(server, tmp_path, request.getfixturevalue("postgres"))
    return (celery if name == "celery" else taskiq)(server, tmp_path, request.getfixturevalue("redis"))


def test_what_a_killed_worker_was_sending_is_held_and_not_fired_again_as_it_is_without_a_fence(
    engine: Engine, server: MockRefold
) -> None:
    server.next(*[Fault.stall_head(fires=True)] * 2)
    with engine.running() as kill:
        engine.put(1)
        engine.python("from configured import put_naive; put_naive(2)")
        assert server.ledger.wait_for(lambda ledger: ledger.totals.fired == 2, timeout=40)
        kill()
        others = range(3, 40)  # taskiq's streams look for what was cut off each time that something new has come
        for number in others:
            engine.put(number)
            engine.until(number, state="accepted")
            if server.ledger.fired_count(n=2) == 2:
                break
        status = engine.until(1, state="ambiguous", held=True)
        assert status.attempts == 1
    assert server.ledger.fired_count(n=1) == 1
    assert server.ledger.fired_count(n=2) == 2, "no run was repeated, so nothing was shown"
    assert {server.ledger.fired_count(n=each) for each in range(3, number + 1)} == {1}


def test_what_was_not_sent_is_run_again_and_what_was_rejected_is_not(engine: Engine, server: MockRefold) -> None:
    with engine.running():
        server.next(*[Fault.throttle("0.1")] * 2)
        engine.put(1)
        assert engine.until(1, state="accepted").attempts == 3
        server.next(Fault.answer(400))
        engine.put(2)
        assert engine.until(2, state="rejected").attempts == 1
        server.next(Fault.answer(500, fires=True))
        engine.put(3)
        engine.until(3, state="ambiguous", held=True)
        engine.put(4)
        engine.until(4, state="accepted")
    assert [server.ledger.fired_count(n=number) for number in (1, 2, 3, 4)] == [1, 0, 1, 1]
    assert len(server.ledger.entries) == 6, "nothing else was sent"


def test_an_event_of_pgqueuer_goes_with_the_transaction_and_its_job_says_the_same(
    server: MockRefold, tmp_path: Path, postgres: Server
) -> None:
    if find_spec("pgqueuer") is None:
        pytest.skip("pgqueuer is not installed")
    engine = pgqueuer(server, tmp_path, postgres)
    engine.python("from configured import roll_back; roll_back(1)")
    engine.put(2)
    with engine.running():
        engine.until(2, state="accepted")
        server.next(Fault.answer(400))
        engine.put(3)
        engine.until(3, state="rejected")
        with psycopg.connect(postgres.url, autocommit=True) as own:
            found: list[Any] = []
            until = time.monotonic() + 20
            while not found and time.monotonic() < until:
                found = own.execute(
                    "SELECT convert_from(payload, 'utf8') FROM pgqueuer WHERE status = 'failed'"
                ).fetchall()
    assert found == [("order-3",)], "a job that failed is kept"
    assert [server.ledger.fired_count(n=number) for number in (1, 2, 3)] == [0, 1, 0]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_the_keys_that_are_due_are_those_of_events_without_which_nothing_would_be_sent(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from refold_async import Trigger

    async def main() -> None:
        if store == "sqlite":
            outbox: Any = SQLiteOutbox(tmp_path / "refold.db")
        else:
            url = request.getfixturevalue("postgres").url
            with psycopg.connect(url, autocommit=True) as own:
                own.execute("DROP TABLE IF EXISTS refold_outbox, refold_outbox_meta")
            outbox = PostgresStore(url)
            await outbox.create_schema()
        async with outbox:
            for n in (1, 2):
                await outbox.put(Trigger("crm", "Placed", ordering_key="a"), key=f"a{n}")
            await outbox.put(Trigger("crm", "Placed"), key="b")
            await outbox.put(Trigger("crm", "Placed"), key="later", delay=60)
            assert await outbox.due_keys() == ["a1", "b"]
            assert await outbox.due_keys(limit=1) == ["a1"]

    if store == "postgres":
        request.getfixturevalue("postgres")
    anyio.run(main)
