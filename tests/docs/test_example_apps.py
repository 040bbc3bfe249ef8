"""The small apps of `docs/examples/`, each in a process of its own, over real sockets."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from refold_async.testing import Fault, MockRefold
from refold_async.webhooks import sign

from .apps import AIOHTTP, GUNICORN, UVICORN, App, environment, orders_survive_a_kill, python, running

WEBHOOK = b'{"event":"Workflow Completed","instance_id":"6a313eda6d5528bdcf71ebac","status":"COMPLETED"}'


@contextmanager
def fastapi_app(server: MockRefold, folder: Path) -> Iterator[App]:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with running([*UVICORN, "fastapi_app:app"], environment(server, folder), folder) as app:
        yield app


@contextmanager
def aiohttp_app(server: MockRefold, folder: Path) -> Iterator[App]:
    pytest.importorskip("aiohttp")
    with running(AIOHTTP, environment(server, folder), folder) as app:
        yield app


@contextmanager
def django_site(server: MockRefold, folder: Path) -> Iterator[App]:
    pytest.importorskip("django")
    pytest.importorskip("gunicorn")
    env = {**environment(server, folder), "DJANGO_SETTINGS_MODULE": "django_site.settings"}
    python("-m", "django", "migrate", "--verbosity=0", env=env, folder=folder)
    python("-m", "django", "makemigrations", "--check", "--dry-run", env=env, folder=folder)
    with running([*GUNICORN, "--workers=2", "django_site.wsgi"], env, folder) as app:
        yield app


APPS = {"fastapi": fastapi_app, "aiohttp": aiohttp_app, "django": django_site}


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest, server: MockRefold, tmp_path: Path) -> Iterator[App]:
    with APPS[request.param](server, tmp_path) as running_app:
        yield running_app


def rows(folder: Path) -> list[str]:
    """What the app has stored of webhooks."""
    path, table = next(
        (path, table)
        for path, table in ((folder / "inbox.sqlite", "webhook"), (folder / "site.sqlite", "deals_receivedwebhook"))
        if path.exists()
    )
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute(f"SELECT event FROM {table}")]


def test_an_example_app_fires_an_event_and_tells_of_a_failure(app: App, server: MockRefold) -> None:
    with httpx.Client(base_url=app.url, timeout=30) as http:
        done = http.post("/customers/acct_1/deals", json={"deal_name": "Acme"})
        assert (done.status_code, done.json()) == (201, {"message": "Webhook Fired Success"})
        assert server.ledger.fired_count(deal_name="Acme") == 1
        server.next(Fault.answer(500))
        failed = http.post("/customers/acct_1/deals", json={"deal_name": "Other"})
        assert (failed.status_code, failed.json()) == (502, {"error": "ServerError", "delivery": "ambiguous"})
    app.stop()


def test_an_example_app_answers_a_webhook_with_exactly_200_and_keeps_it_once(
    app: App, server: MockRefold, tmp_path: Path
) -> None:
    headers = {"x-cobalt-signature": sign(WEBHOOK, server.api_key), "content-type": "application/json"}
    with httpx.Client(base_url=app.url, timeout=30) as http:
        for method in ("POST", "PUT", "PATCH", "POST"):
            assert http.request(method, "/webhooks/refold", content=WEBHOOK, headers=headers).status_code == 200
        [kept] = rows(tmp_path)
        assert json.loads(kept)["execution_id"] == "6a313eda6d5528bdcf71ebac"
        other = WEBHOOK.replace(b"6a31", b"7b42")
        headers["x-cobalt-signature"] = sign(other, server.api_key).upper()
        assert http.post("/webhooks/refold", content=other, headers=headers).status_code == 200
        assert len(rows(tmp_path)) == 2


def test_an_example_app_takes_what_the_mock_delivers(app: App, server: MockRefold, tmp_path: Path) -> None:
    event = {"event": "Connection Created", "linked_account_id": "acct_1", "slug": "slack", "createdAt": "today"}
    for _ in range(2):
        taken = server.deliver(f"{app.url}/webhooks/refold", event).result()
        assert taken.statuses == (200,)
    refused = server.deliver(f"{app.url}/webhooks/refold", event, key="tk_another", attempts=2, backoff=0.0).result()
    assert refused.statuses == (401, 401)
    assert len(rows(tmp_path)) == 1


def test_an_example_app_refuses_forged_webhooks(app: App, server: MockRefold, tmp_path: Path) -> None:
    target = urlsplit(app.url)
    assert target.hostname is not None
    assert target.port is not None

    def status(signature: bytes | None, body: bytes = WEBHOOK) -> int:
        head = b"POST /webhooks/refold HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        head += b"" if signature is None else b"X-Cobalt-Signature: " + signature + b"\r\n"
        with socket.create_connection((target.hostname, target.port), timeout=30) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return int(connection.makefile("rb").readline().split()[1])

    forged = [None, b"", b"0" * 64, b"\xe9" * 64, "é".encode() * 32, sign(WEBHOOK, "tk_another").encode(), b"a" * 4000]
    assert [status(signature) for signature in forged] == [401] * len(forged)
    assert status(sign(b"[]", server.api_key).encode(), b"[]") == 400
    assert rows(tmp_path) == []
    assert status(sign(WEBHOOK, server.api_key).encode()) == 200


def test_a_background_task_of_fastapi_is_finished_before_the_app_stops(tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, latency=1) as server, fastapi_app(server, tmp_path) as app:
        with httpx.Client(base_url=app.url, timeout=30) as http:
            queued = http.post("/customers/acct_1/deals/later", json={"deal_name": "Late"})
        assert queued.status_code == 202
        output = app.stop()
        assert server.ledger.fired_count(deal_name="Late") == 1
    assert "Deal Created ended" not in output


def test_an_app_with_an_outbox_that_is_killed_fires_each_orders_event_once_when_it_runs_again(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    orders_survive_a_kill(tmp_path)
