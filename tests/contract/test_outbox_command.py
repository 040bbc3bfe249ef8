"""`refold-async outbox` on PostgreSQL, as a person uses it, on a real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from refold_async import BadRequestError, Delivery, HeldError, Receipt, RefoldError, ServerError, Trigger
from refold_async.cli.app import app
from refold_async.cli.console.passwords import masked
from refold_async.cli.outbox.place import is_postgres
from refold_async.outbox.postgres import PostgresStore
from tests.fakes.outbox import ScriptedClient

from .servers import Server, emptied, free_port

TABLES = "refold_outbox, refold_outbox_meta"


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest.fixture
def url(postgres: Server) -> str:
    return emptied(postgres)


@pytest.fixture
def outbox(url: str) -> str:
    cli("migrate", url)
    return url


def cli(*arguments: object, code: int = 0, stdin: str | None = None) -> str:
    done = CliRunner().invoke(app, ["outbox", *map(str, arguments)], input=stdin)
    assert done.exit_code == code, done.output
    return done.output


def in_store(url: str, work: Callable[[PostgresStore], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with PostgresStore(url) as store:
            return await work(store)

    return asyncio.run(main())


def end(url: str, key: str, ending: RefoldError, **options: Any) -> None:
    async def fail(call: dict[str, Any]) -> Receipt:
        raise ending

    async def work(store: PostgresStore) -> None:
        await store.put(Trigger("crm", "Placed", {"secret": "payload"}, **options), key=key)
        with pytest.raises((HeldError, BadRequestError)):
            await store.deliver(key, ScriptedClient(fail))

    in_store(url, work)


def hold(url: str, *keys: str, **options: Any) -> None:
    for key in keys:
        end(url, key, ServerError("bad gateway", status_code=502, delivery=Delivery.AMBIGUOUS), **options)


def states(url: str) -> dict[str, str]:
    with psycopg.connect(url) as own:
        return dict(own.execute("SELECT key, state FROM refold_outbox").fetchall())


def test_what_is_held_is_listed_until_somebody_said_what_became_of_it(outbox: str) -> None:
    hold(outbox, "a", "b")
    shown = cli("held", outbox, code=3)
    assert "bad gateway" in shown
    assert "payload" not in shown
    assert [each["key"] for each in json.loads(cli("held", outbox, "--json", code=3))["held"]] == ["a", "b"]
    assert json.loads(cli("stats", outbox, "--json", code=3))["held"] == 2
    cli("resolve", outbox, "a", "--fired")
    assert json.loads(cli("resolve", outbox, "b", "--not-fired", "--json"))["state"] == "queued"
    assert "No event is held." in cli("held", outbox)
    assert json.loads(cli("stats", outbox, "--json"))["queued"] == 1
    assert "accepted" in cli("status", outbox, "a")
    assert json.loads(cli("prune", outbox, "--json")) == {"deleted": 0}
    assert "1 event deleted" in cli("prune", outbox, "--days", "0")
    assert "takes an event that is rejected" in cli("retry", outbox, "b", code=1)
    assert "no event 'x'" in cli("status", outbox, "x", code=2)


def test_a_rejected_event_is_queued_again(outbox: str) -> None:
    end(outbox, "a", BadRequestError("no", status_code=400, delivery=Delivery.REJECTED))
    assert json.loads(cli("retry", outbox, "a", "--json"))["state"] == "queued"


def test_load_puts_each_row_once_however_often_it_is_repeated(outbox: str, tmp_path: Path) -> None:
    rows = tmp_path / "deals.csv"
    rows.write_text("deal\n1\n2\n3\n")
    arguments = ("load", rows, "--into", outbox, "--slug", "crm", "--event", "Placed")
    assert "3 events in the outbox" in cli(*arguments)
    cli(*arguments)
    assert set(states(outbox)) == {"deals.csv:2", "deals.csv:3", "deals.csv:4"}
    rows.write_text("deal\n1\n22\n3\n")
    assert "another trigger of the key 'deals.csv:3'" in cli(*arguments, code=2)


def test_import_takes_over_what_a_batch_left(outbox: str, tmp_path: Path) -> None:
    from tests.cli.support import journal_left

    rows, journal, place = journal_left(tmp_path)
    for _ in range(2):
        assert "2 held" in cli("import", journal, rows, "--into", outbox)
    assert states(outbox) == {"deals.jsonl:2": "ambiguous", "deals.jsonl:3": "ambiguous", "deals.jsonl:4": "queued"}
    assert json.loads(cli("stats", outbox, "--json", code=3))["held"] == 2
    row = in_store(outbox, lambda store: store.load("deals.jsonl:2"))
    assert (row.sent_key, row.sent_place, row.attempt) == ("key", place, 1)
    assert 0 <= row.now - row.first_sent_at < 600


def test_the_tables_are_made_on_request_only(url: str, tmp_path: Path) -> None:
    rows = tmp_path / "deals.csv"
    rows.write_text("deal\n1\n")
    for command in (
        ("stats", url), ("held", url), ("prune", url), ("load", rows, "--into", url, "--slug", "a", "--event", "b")
    ):  # fmt: skip
        assert "refold-async outbox migrate" in cli(*command, code=1)
    for _ in range(2):
        assert "up to date" in cli("migrate", url)
    assert json.loads(cli("migrate", url, "--json")) == {"exit_code": 0}
    assert json.loads(cli("stats", url, "--json"))["queued"] == 0
    with psycopg.connect(url, autocommit=True) as own:
        own.execute("UPDATE refold_outbox_meta SET version = 99")
    for name in ("migrate", "stats"):
        assert "newer version" in cli(name, url, code=1)


def test_migrate_takes_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "refold.db"
    assert "is not there" in cli("migrate", path, code=2)
    path.touch()
    cli("migrate", path)
    assert json.loads(cli("stats", path, "--json"))["queued"] == 0
    assert "--queue is for" in cli("retry", path, "a", "--queue", "q", code=2)


# Where the workers are procrastinate's.


@pytest.fixture
def jobs(outbox: str) -> str:
    procrastinate = pytest.importorskip("procrastinate")

    async def prepare() -> None:
        made = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=outbox, min_size=1, max_size=2))
        async with made.open_async():
            await made.schema_manager.apply_schema_async()

    asyncio.run(prepare())
    return outbox


def jobs_of(url: str) -> dict[str, tuple[str, str]]:
    with psycopg.connect(url) as own:
        found = own.execute(
            "SELECT o.key, j.queue_name, j.task_name FROM refold_outbox o JOIN procrastinate_jobs j ON j.id = o.job "
            "WHERE j.status = 'todo'"
        )
        return {key: (queue, task) for key, queue, task in found}


def worked(url: str, *queues: str) -> None:
    """Leave what a worker of an outbox leaves."""
    with psycopg.connect(url, autocommit=True) as own:
        for queue in queues:
            own.execute(
                "INSERT INTO procrastinate_periodic_defers (task_name, defer_timestamp) VALUES (%s, 1)",
                (f"refold.{queue}.reap",),
            )


def load(url: str, tmp_path: Path, *options: str) -> None:
    rows = tmp_path / "deals.csv"
    rows.write_text("deal\n1\n")
    cli("load", rows, "--into", url, "--slug", "crm", "--event", "Placed", *options)


def test_what_is_loaded_gets_its_job_in_the_queue_that_workers_used(jobs: str, tmp_path: Path) -> None:
    worked(jobs, "my.events")
    load(jobs, tmp_path)
    load(jobs, tmp_path)
    assert jobs_of(jobs) == {"deals.csv:2": ("my.events", "refold.my.events.deliver")}
    with psycopg.connect(jobs) as own:
        assert own.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (1,)


@pytest.mark.parametrize("queues", [(), ("one", "other")])
def test_where_the_queue_is_not_known_the_reaper_makes_the_job(jobs: str, tmp_path: Path, queues: tuple[str]) -> None:
    import procrastinate

    from refold_async.outbox.procrastinate import Outbox

    worked(jobs, *queues)
    load(jobs, tmp_path)
    assert jobs_of(jobs) == {}
    with psycopg.connect(jobs, autocommit=True) as own:
        own.execute("UPDATE refold_outbox SET due = due - interval '6 s'")

    async def reap() -> int:
        made = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=jobs, min_size=1, max_size=2))
        async with made.open_async():
            return await Outbox(made, client=lambda: None).reap()

    assert asyncio.run(reap()) == 1
    assert jobs_of(jobs) == {"deals.csv:2": ("refold", "refold.refold.deliver")}


def test_the_queue_can_be_named(jobs: str, tmp_path: Path) -> None:
    worked(jobs, "one", "other")
    load(jobs, tmp_path, "--queue", "other")
    assert jobs_of(jobs) == {"deals.csv:2": ("other", "refold.other.deliver")}


def test_what_is_settled_gets_its_job_in_the_queue_of_its_last_one(jobs: str, tmp_path: Path) -> None:
    load(jobs, tmp_path, "--queue", "one")
    worked(jobs, "other")
    with psycopg.connect(jobs, autocommit=True) as own:
        own.execute("UPDATE refold_outbox SET state = 'ambiguous', due = NULL")
        own.execute("UPDATE procrastinate_jobs SET status = 'failed'")
    cli("resolve", jobs, "deals.csv:2", "--not-fired")
    assert jobs_of(jobs) == {"deals.csv:2": ("one", "refold.one.deliver")}


def test_settling_an_event_wakes_the_next_of_its_ordering_key(jobs: str) -> None:
    hold(jobs, "first", ordering_key="o")
    in_store(jobs, lambda store: store.put(Trigger("crm", "Placed", ordering_key="o"), key="next"))
    cli("resolve", jobs, "first", "--fired", "--queue", "refold")
    assert set(jobs_of(jobs)) == {"first", "next"}


# What is wrong with a URL.


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("postgresql://me:hunter2@127.0.0.1:port/db", "connection string that is valid"),
        ("postgresql://me:hunter2@[", "connection string that is valid"),
        ("postgresql://me:hun@ter2@127.0.0.1/db", "connection string that is valid"),
        ("postgresql://me:hun/hunter2@127.0.0.1/db", "connection string that is valid"),
        ("postgresql://127.0.0.1/db?password=hunter2&nonsense=1", "connection string that is valid"),
        ("host=127.0.0.1 password=hunter2 nonsense=1", "connection string that is valid"),
        ("mysql://me:hunter2@127.0.0.1/db", "postgresql://"),
    ],
)
def test_a_url_that_is_none_ends_with_2_and_is_not_repeated(place: str, words: str) -> None:
    shown = cli("stats", place, code=2)
    assert words in shown
    assert "hun" not in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_a_server_that_cannot_be_reached_ends_with_1_in_one_line(scheme: str) -> None:
    place = f"{scheme}://me:hunter2@127.0.0.1:{free_port()}/db"
    for name in ("stats", "migrate"):
        shown = cli(name, place, code=1)
        assert "refused" in shown
        assert "hunter2" not in shown
        assert len(shown.splitlines()) == 1
    assert json.loads(cli("stats", place, "--json", code=1))["error"] == "OutboxWriteError"


@pytest.mark.parametrize("host", ["x" * 80 + ".test", "a..b", "127.0.0.1:99999", "host.invalid", "[::1", "é" * 70])
def test_a_host_that_cannot_be_one_is_told_of_without_a_traceback(host: str) -> None:
    done = CliRunner().invoke(app, ["outbox", "stats", f"postgresql://me:hunter2@{host}/db"])
    assert done.exit_code in (1, 2), done.exception
    assert "hunter2" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_database_that_is_not_there_and_a_wrong_user_are_named_and_the_password_is_not(url: str) -> None:
    place = psycopg.conninfo.make_conninfo(url, dbname="nowhere", password="hunter2")
    shown = cli("stats", place, code=1)
    assert "nowhere" in shown
    assert "hunter2" not in shown


_word = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=12)


@settings(max_examples=60)
@given(_word)
@example("pa@word")
@example("pa/word")
@example("pa?word/@")
@example("1234/word")
@example("OPTI")
def test_no_error_shows_any_part_of_a_password_however_it_was_written(password: str) -> None:
    place = f"postgresql://me:{password}@127.0.0.1:1/db"
    done = CliRunner().invoke(app, ["outbox", "stats", place])
    assert done.exit_code in (1, 2)
    usage = CliRunner().invoke(app, ["outbox", "stats", "file", place])
    assert usage.exit_code == 2
    neutral = CliRunner().invoke(app, ["outbox", "stats", "file", "postgresql://me:~~~~@127.0.0.1:1/db"]).output
    same = cli_words() | set("127.0.0.1:1/db postgresql://me:")
    for start in range(len(password) - 3):
        part = password[start : start + 4]
        assert part not in done.output or part in same
    assert password not in usage.output or password in neutral


def cli_words() -> set[str]:
    """Return parts of sentences that passwords may share by chance."""
    from refold_async.outbox import _pg_link

    text = Path(_pg_link.__file__).read_text()
    return {text[start : start + 4] for start in range(len(text))}


@given(_word, _word)
def test_what_is_masked_keeps_its_length_and_loses_the_password(user: str, password: str) -> None:
    for start, ending in (("postgresql://", "@host/db"), ("redis://", "@host")):
        line = f"refold-async\0{start}{user.replace(':', '').replace('@', '')}:{password}{ending}\0--json\0".encode()
        after = masked(line)
        assert len(after) == len(line)
        assert after.startswith(b"refold-async\0")
        assert after.endswith(f"{ending}\0--json\0".encode())
        middle = after.removeprefix(b"refold-async\0" + start.encode()).removesuffix(f"{ending}\0--json\0".encode())
        assert set(middle.partition(b":")[2]) <= set(b"x")
    assert masked(b"a\0host=h password='a \\' b' port=1\0") == b"a\0host=h password=" + b"x" * 8 + b" port=1\0"
    assert masked(b"postgresql://h/db?password=abc&port=1\0") == b"postgresql://h/db?password=xxx&port=1\0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process do that")
def test_the_password_is_not_in_the_process_title(url: str) -> None:
    with psycopg.connect(url) as own:
        own.execute("CREATE TABLE refold_outbox_meta (version integer)")
        own.commit()
        own.execute("LOCK TABLE refold_outbox_meta")  # so that the command waits
        place = f"{url}?password=hunter2" if "?" not in url else f"{url}&password=hunter2"
        command = [sys.executable, "-m", "refold_async", "outbox", "stats", place]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            until = time.monotonic() + 30
            while time.monotonic() < until:  # each turn is a round trip
                waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
                if own.execute(waits).fetchone():
                    break
            title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            own.rollback()
            shown, _ = process.communicate(timeout=150)
    assert b"outbox\0stats\0" in title
    assert b"hunter2" not in title + shown
    assert process.returncode == 1


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("stats", "migrate"):
        shown = cli(name, "postgresql://me:hunter2@127.0.0.1/db", code=2)
        assert "pip install 'refold-async[postgres]'" in shown
        assert "hunter2" not in shown


def test_a_file_is_not_taken_for_a_database() -> None:
    for place in ("refold.db", "/var/lib/postgresql/refold.db", "./postgres", "C:\\refold.db", "hosts.db"):
        assert not is_postgres(place)
    for place in ("postgresql://h/db", "postgres://h", "host=h dbname=d", "dbname = d", "service=s"):
        assert is_postgres(place)
