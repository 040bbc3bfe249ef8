"""What the mock Refold costs for each request: its own CPU time, driven by raw sockets from another process."""

from __future__ import annotations

import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

from refold_async.testing import MockRefold

from ..contender import PATH
from ..process import Worker

CONNECTIONS: Final = 10
BODY: Final = b'{"event":"Deal Created","payload":{"deal_id":4711,"deal_name":"Acme","amount":12500.5}}'

_running: list[MockRefold] = []


def turn(_: str, *, start: bool = False) -> dict[str, Any]:
    """Start the mock, and give its URL; or give the CPU time that its process has used."""
    if start:
        server = MockRefold(rate_limit=None, keep=100)
        server.start()
        _running.append(server)
        return {"url": server.url, "api_key": server.api_key}
    return {"cpu": time.process_time()}


def request_for(host: str, api_key: str) -> bytes:
    """Put together the bytes that the client would send."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: raw-socket-driver",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
        "linked_account_id: acct_1",
        f"x-api-key: {api_key}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


def drive(url: str, api_key: str, requests: int) -> None:
    """Send the requests over a few connections, one after the other on each."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    request = request_for(parts.netloc, api_key)
    sockets = [socket.create_connection((parts.hostname, parts.port or 80), timeout=10) for _ in range(CONNECTIONS)]
    try:
        for _ in range(requests // CONNECTIONS):
            for sock in sockets:
                sock.sendall(request)
            for sock in sockets:
                answer = b""
                while not answer.endswith(b'"}'):
                    answer += sock.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200"), answer
    finally:
        for sock in sockets:
            sock.close()


def run(*, rounds: int, requests: int) -> list[dict[str, Any]]:
    """Drive it, and read what each request has cost."""
    rows = []
    with Worker("mock", "MockRefold") as worker:
        server = worker.turn(limit=30.0, start=True)
        drive(server["url"], server["api_key"], 1000)
        for number in range(rounds):
            before, started = worker.turn(limit=30.0)["cpu"], time.perf_counter()
            drive(server["url"], server["api_key"], requests)
            seconds = time.perf_counter() - started
            cpu = worker.turn(limit=30.0)["cpu"] - before
            rows.append({"round": number, "rate": requests / seconds, "cpu_us": cpu / requests * 1e6})
    return rows
