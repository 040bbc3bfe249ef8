"""The examples for scripts, workers, Lambda, gunicorn and pytest, each in a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from refold_async.testing import Fault, MockRefold

from .apps import EXAMPLES, GUNICORN, environment, python, running


def test_a_script_fires_with_asyncio_run_and_through_a_portal(server: MockRefold, tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "sync_script.py"), env=environment(server, tmp_path), folder=tmp_path)
    assert printed.splitlines() == ["accepted: 3", "Acme accepted", "Globex accepted", "Initech accepted"]
    assert server.ledger.fired_count(deal_name="Acme") == 2
    assert server.ledger.connections <= 4


def test_the_portal_serves_many_threads_and_survives_a_fork(server: MockRefold, tmp_path: Path) -> None:
    program = """
import os
from concurrent.futures import ThreadPoolExecutor
from refold_portal import get_refold

def fire(n):
    return get_refold().trigger("pipedrive", "Deal Created", {"n": n}).delivery.value

with ThreadPoolExecutor(8) as threads:
    print(set(threads.map(fire, range(40))))
child = os.fork()
if child == 0:
    assert fire(100) == "accepted"
    raise SystemExit(0)
print(os.waitpid(child, 0)[1], fire(101))
"""
    env = environment(server, tmp_path) | {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    assert python("-c", program, env=env, folder=tmp_path).splitlines() == ["{'accepted'}", "0 accepted"]
    assert sorted(entry.payload["n"] for entry in server.ledger.fired if entry.payload) == [*range(40), 100, 101]


def test_the_portal_raises_the_errors_of_the_client(server: MockRefold, tmp_path: Path) -> None:
    server.next(Fault.reset_after_firing())
    program = """
from refold_async import RefoldError
from refold_portal import RefoldPortal

with RefoldPortal() as refold:
    try:
        refold.trigger("pipedrive", "Deal Created")
    except RefoldError as error:
        print(error.delivery)
try:
    RefoldPortal(api_key=" ")
except RefoldError as error:
    print(type(error).__name__)
"""
    printed = python("-c", program, env=environment(server, tmp_path), folder=tmp_path)
    assert printed.splitlines() == ["ambiguous", "ConfigurationError"]


def test_a_lambda_function_keeps_its_client_between_invocations(server: MockRefold, tmp_path: Path) -> None:
    program = """
from lambda_handler import handler

for n in range(3):
    print(handler({"customer": "acct_1", "deal": {"n": n}, "id": f"event-{n}"}, None))
"""
    printed = python("-c", program, env=environment(server, tmp_path), folder=tmp_path)
    assert printed.splitlines() == ["{'delivery': 'accepted', 'attempts': 1}"] * 3
    assert server.ledger.connections == 1
    assert [entry.header("idempotency-key") for entry in server.ledger.entries] == ["event-0", "event-1", "event-2"]


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_gunicorn_fires_from_each_worker(server: MockRefold, tmp_path: Path, preload: bool) -> None:
    pytest.importorskip("gunicorn")
    command = [*GUNICORN, "--workers=2", *(["--preload"] if preload else []), "gunicorn_app:application"]
    with running(command, environment(server, tmp_path), tmp_path) as app:
        for n in range(12):  # a connection each, so that both workers get some
            assert httpx.post(app.url, json={"n": n}, timeout=30).status_code == 201
        server.next(Fault.answer(500))
        failed = httpx.post(app.url, json={"n": 12}, timeout=30)
        assert (failed.status_code, failed.text) == (502, "ServerError: ambiguous\n")
        app.stop()
    assert sorted(entry.payload["n"] for entry in server.ledger.fired if entry.payload) == [*range(12)]


def test_a_celery_worker_fires_and_tries_again_where_that_is_safe(server: MockRefold, tmp_path: Path) -> None:
    pytest.importorskip("celery")
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    queue = str(tmp_path / "queue")
    (tmp_path / "configured.py").write_text(f"""
from celery_app import app, deal_created

app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{"data_folder_in": {queue!r}, "data_folder_out": {queue!r}, "store_processed": False}},
    result_backend="file://{tmp_path / "results"}",
)
""")
    env = environment(server, tmp_path)
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    server.next(*[Fault.throttle("0.01")] * 3)  # as many as the client's own attempts: the task's first run fails
    program = """
from configured import deal_created

accepted = deal_created.delay("event-1", "acct_1", {"n": 1})
print(accepted.get(timeout=40))
refused = deal_created.delay("event-2", "acct_1", {"n": float("nan")})
print(type(refused.get(timeout=40, propagate=False)).__name__)
"""
    worker = ["celery", "-A", "configured.app", "worker", "--concurrency=1", "--loglevel=WARNING", "--without-mingle"]
    with running(worker, env, tmp_path) as app:
        printed = python("-c", program, env=env, folder=tmp_path)
        output = app.stop()
    assert printed.splitlines() == ["Webhook Fired Success", "InvalidTriggerError"], output
    assert server.ledger.fired_count(n=1) == 1
    assert {entry.header("idempotency-key") for entry in server.ledger.entries} == {"event-1"}


def test_a_taskiq_task_fires_with_the_client_of_its_worker(server: MockRefold, tmp_path: Path) -> None:
    pytest.importorskip("taskiq")
    printed = python(str(EXAMPLES / "taskiq_app.py"), env=environment(server, tmp_path), folder=tmp_path)
    assert printed == "Webhook Fired Success\n"
    assert server.ledger.fired_count(deal_name="Acme") == 1


def test_the_tests_of_the_pytest_example_pass(server: MockRefold, tmp_path: Path) -> None:
    for name in ("deals.py", "test_deals.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    env = environment(server, tmp_path)
    printed = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_deals.py", env=env, folder=tmp_path)
    assert "4 passed" in printed
