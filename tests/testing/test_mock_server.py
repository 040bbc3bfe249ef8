"""The mock Refold itself, spoken to by plain httpx and by raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from typing import Any

import httpx
import pytest
import trio

from refold_async import RateLimit
from refold_async.testing import Dedupe, Fault, MockRefold, SeededFaults

PATH = "/api/v2/public/event/pipedrive"


def post(server: MockRefold, path: str = PATH, body: object = None, **headers: str) -> httpx.Response:
    given = {"x-api-key": server.api_key, "linked_account_id": "acct_1", **headers}
    content = json.dumps(body if body is not None else {"event": "Deal Created", "payload": {"n": 1}})
    context = server.client_ssl_context() if server.url.startswith("https") else True
    return httpx.post(server.url + path, content=content, headers=given, verify=context, trust_env=False)


def test_a_success_and_its_ledger(server: MockRefold) -> None:
    response = post(server, config_id="cfg", **{"Idempotency-Key": "k-1"})
    assert (response.status_code, response.json()) == (200, {"message": "Webhook Fired Success"})
    [entry] = server.ledger.fired
    assert (entry.slug, entry.event, entry.payload) == ("pipedrive", "Deal Created", {"n": 1})
    assert (entry.linked_account_id, entry.config_id, entry.idempotency_key) == ("acct_1", "cfg", "k-1")
    assert (entry.method, entry.path, entry.status, entry.fault) == ("POST", PATH, 200, None)
    assert server.ledger.fired_count(n=1) == 1
    assert server.ledger.fired_count(n=2) == 0
    server.ledger.clear()
    assert not server.ledger.entries
    assert repr(server) == f"<MockRefold at {server.url}, 0 requests>"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-api-key": "wrong"}, 401),
        ({"linked_account_id": ""}, 400),
        ({"path": "/elsewhere"}, 404),
        ({"path": "/api/v2/public/event/a/b"}, 404),
        ({"path": "/api/v2/public/event/unknown"}, 404),
        ({"body": {"event": "Deal Lost"}}, 400),
        ({"body": {"payload": {}}}, 400),
        ({"body": {"event": "Deal Created", "payload": [1]}}, 400),
        ({"body": [1]}, 400),
        ({"body": {"event": "Deal Created", "payload": {"x": "y" * 3_200_000}}}, 413),
    ],
)
def test_the_mock_refuses_bad_requests_as_refold_does(change: dict[str, Any], status: int) -> None:
    with MockRefold(events={"pipedrive": ["Deal Created"]}) as server:
        response = post(server, **change)
        assert response.status_code == status
        assert response.json()["message"]
        assert not server.ledger.fired
        assert httpx.get(server.url + PATH, trust_env=False).status_code == 405


def test_a_session_token_needs_no_account(server: MockRefold) -> None:
    headers = {"Authorization": f"Bearer {server.session_token}"}
    body = {"event": "Deal Created"}
    assert httpx.post(server.url + PATH, json=body, headers=headers, trust_env=False).status_code == 200
    assert server.ledger.entries[0].payload is None


def test_both_readings_of_the_limit_are_enforced() -> None:
    now = 100.0
    with MockRefold(rate_limit=RateLimit(20, 5), clock=lambda: now) as server:
        assert [post(server).status_code for _ in range(7)] == [200] * 5 + [429] * 2
        now += 0.5
        assert [post(server).status_code for _ in range(7)] == [200] * 5 + [429] * 2, "the bucket holds no more"
        response = post(server)
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        passed = 10
        for _ in range(9):
            now += 0.05
            passed += post(server).status_code == 200
        assert passed == 19
    with MockRefold(rate_limit=RateLimit(3, 5), clock=lambda: now, retry_after=None) as server:
        assert [post(server).status_code for _ in range(4)] == [200] * 3 + [429], "the window holds no more"
        assert "retry-after" not in post(server).headers


def test_repeats_of_a_key_are_dropped_within_the_window() -> None:
    now = 100.0
    with MockRefold(rate_limit=None, dedupe=Dedupe(header="X-Key", window=10), clock=lambda: now) as server:
        for _ in range(2):
            assert post(server, **{"X-Key": "k"}).status_code == 200
        post(server, **{"X-Key": "other"})
        post(server)
        now += 10
        post(server, **{"X-Key": "k"})
        assert [entry.fired for entry in server.ledger.entries] == [True, False, True, True, True]
        assert [entry.duplicate for entry in server.ledger.entries] == [False, True, False, False, False]
    with MockRefold(rate_limit=None, dedupe=Dedupe(payload_field="id")) as server:
        for id_ in (1, 1, 2, None):
            post(server, body={"event": "E", "payload": {"id": id_}})
        assert [entry.fired for entry in server.ledger.entries] == [True, False, True, True]


def test_claiming_the_key_and_failing() -> None:
    with MockRefold(rate_limit=None, dedupe=Dedupe(header="X-Key"), faults=[Fault.claim_then_500()]) as server:
        assert [post(server, **{"X-Key": "k"}).status_code for _ in range(2)] == [500, 200]
        assert not server.ledger.fired


@pytest.mark.parametrize(
    ("fault", "fires", "error"),
    [
        (Fault.reset_before_reading(), False, httpx.ReadError),
        (Fault.close_before_firing(), False, httpx.RemoteProtocolError),
        (Fault.reset_after_firing(), True, httpx.ReadError),
        (Fault.close_after_firing(), True, httpx.RemoteProtocolError),
        (Fault.truncate_head(), True, httpx.RemoteProtocolError),
        (Fault.truncate_body(), True, httpx.RemoteProtocolError),
        (Fault.garbage(), True, httpx.RemoteProtocolError),
        (Fault.stall_head(seconds=0.05), True, httpx.RemoteProtocolError),
        (Fault.stall_body(seconds=0.05), True, httpx.RemoteProtocolError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_faults_break_the_connection(server: MockRefold, fault: Fault, fires: bool, error: type[Exception]) -> None:
    server.next(fault, None)
    with pytest.raises(error):
        post(server)
    assert [(entry.fault, entry.fired) for entry in server.ledger.entries] == [(fault.name, fires)]
    assert post(server).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "fires"),
    [
        (Fault.answer(500), 500, False),
        (Fault.answer(500, fires=True), 500, True),
        (Fault.answer(202), 202, True),
        (Fault.html_502(), 502, False),
        (Fault.throttle("7"), 429, False),
        (Fault.not_json(), 200, True),
        (Fault.close_idle(), 200, True),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_faults_that_answer(server: MockRefold, fault: Fault, status: int, fires: bool) -> None:
    server.next(fault)
    assert post(server).status_code == status
    assert bool(server.ledger.fired) is fires
    assert server.ledger.faults() == {fault.name: 1}
    assert server.ledger.statuses() == {status: 1}


def test_seeded_faults_are_the_same_each_time() -> None:
    chances = {Fault.html_502(): 0.3, Fault.throttle(): 0.3}
    played = []
    for _ in range(2):
        with MockRefold(rate_limit=None, faults=SeededFaults(3, chances)) as server:
            played.append([post(server).status_code for _ in range(20)])
    assert played[0] == played[1]
    assert set(played[0]) == {200, 429, 502}
    with pytest.raises(ValueError, match="more than 1"):
        SeededFaults(1, {Fault.html_502(): 1.1})


def test_refusing_and_accepting_on_the_same_port(server: MockRefold) -> None:
    url = server.url
    server.refuse()
    with pytest.raises(httpx.ConnectError):
        post(server)
    server.accept()
    server.accept()
    assert server.url == url
    assert post(server).status_code == 200


def test_idle_connections_can_be_closed(server: MockRefold) -> None:
    with httpx.Client(trust_env=False) as session:
        headers = {"x-api-key": server.api_key, "linked_account_id": "a"}
        assert session.post(server.url + PATH, json={"event": "E"}, headers=headers).status_code == 200
        server.close_idle()
        assert session.post(server.url + PATH, json={"event": "E"}, headers=headers).status_code == 200
    assert (server.ledger.connections, server.ledger.dropped_idle) == (2, 1)


def test_a_prefix_and_tls() -> None:
    with MockRefold(prefix="/eu", tls=True) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert server.url.endswith("/eu")
        assert post(server).status_code == 200
        bare = server.url.removesuffix("/eu")
        with pytest.raises(httpx.ConnectError, match=r"certificate|CERTIFICATE"):
            httpx.get(bare, trust_env=False)
        assert isinstance(server.client_ssl_context(), ssl.SSLContext)
    with MockRefold() as plain:
        with pytest.raises(RuntimeError, match="tls"):
            plain.client_ssl_context()


def test_raw_bytes_pipelined_split_and_senseless(server: MockRefold) -> None:
    body = b'{"event":"E"}'
    head = (
        f"POST {PATH}?x=1 HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.api_key}\r\nlinked_account_id: a\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        for byte in head + body:
            sock.sendall(bytes([byte]))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.sendall(b"\x00\x01\x02 no http\r\n\r\n")
        assert b"400" in sock.recv(4096)
        assert sock.recv(4096) == b""
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while sock.recv(4096):
            pass
    assert server.ledger.fired[0].path == PATH


def test_a_mock_binds_to_loopback_and_names_a_port_in_use() -> None:
    with MockRefold() as server:
        assert server.host == "127.0.0.1"
        server.start()
        with pytest.raises(OSError, match="in use"):
            MockRefold(port=server.port).start()
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        server.next(None)
    assert "stopped" in repr(server)


def test_a_mock_stops_while_requests_stall() -> None:
    with MockRefold(rate_limit=None) as server:
        server.next(Fault.stall_head())
        sock = socket.create_connection((server.host, server.port), timeout=5)
        body = b'{"event":"E"}'
        sock.sendall(
            f"POST {PATH} HTTP/1.1\r\nX-Api-Key: {server.api_key}\r\nLinked_account_id: a\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert server.ledger.wait_for(lambda ledger: ledger.requests == 1)
        assert not server.ledger.wait_for(lambda ledger: ledger.requests == 2, timeout=0.01)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    sock.close()


def test_the_ledger_keeps_the_latest() -> None:
    with MockRefold(rate_limit=None, keep=2) as server:
        for n in range(5):
            post(server, body={"event": "E", "payload": {"n": n}})
        assert [entry.payload["n"] for entry in server.ledger.entries] == [3, 4]
        assert server.ledger.requests == 5


def test_a_mock_serves_any_event_loop() -> None:
    async def use() -> None:
        async with MockRefold() as server, server.client() as client:
            await client.trigger("pipedrive", "Deal Created")

    asyncio.run(use())
    trio.run(use)


@pytest.mark.refold_server(rate_limit=None, api_key="tk_marked")
def test_the_fixture_takes_options(refold_server: MockRefold) -> None:
    assert refold_server.api_key == "tk_marked"
    assert post(refold_server).status_code == 200


def test_the_fixture_by_default(refold_server: MockRefold) -> None:
    headers = {"x-api-key": refold_server.api_key, "linked_account_id": "a"}
    with httpx.Client(headers=headers, trust_env=False) as session:
        statuses = [session.post(refold_server.url + PATH, json={"event": "E"}).status_code for _ in range(30)]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses


def test_without_trustme_there_is_a_cure() -> None:
    program = (
        "import sys; sys.modules['trustme'] = None\n"
        "from refold_async.testing import MockRefold\n"
        "try: MockRefold(tls=True)\n"
        "except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=150)
    assert "refold-async[testing]" in done.stdout
