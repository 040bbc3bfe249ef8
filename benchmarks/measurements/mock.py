"""What the mock Refold costs for each request, its ledger on: its own CPU time, driven by raw sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Final
from urllib.parse import urlsplit

from refold_async.testing import MockRefold

from ..contender import PATH, Event, Target, events
from ..process import TurnFailedError, Worker

CONNECTIONS: Final = 10

_running: list[MockRefold] = []


def turn(*, start: bool = False) -> dict[str, Any]:
    """Start the mock and return its URL, or return the CPU time that its process has used."""
    if start:
        server = MockRefold(rate_limit=None)
        server.start()
        _running.append(server)
        return {"url": server.url, "api_key": server.api_key}
    return {"cpu": time.process_time()}


def request_for(event: Event, host: str, target: Target) -> bytes:
    """Return the bytes that a client would send."""
    body = json.dumps(event.body).encode()
    lines = [
        f"POST {PATH}{event.slug} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: raw-socket-driver",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in target.headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def drive(requests: Iterator[bytes], url: str, count: int) -> None:
    """Send requests over a few connections, one after the other on each."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    sockets = [socket.create_connection((parts.hostname, parts.port or 80), timeout=10) for _ in range(CONNECTIONS)]
    try:
        for _ in range(count // CONNECTIONS):
            for sock in sockets:
                sock.sendall(next(requests))
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
    rows: list[dict[str, Any]] = []
    with Worker(f"{__package__}.mock") as worker:
        try:
            server = worker.turn(limit=30.0, start=True)
            target, host = Target(url=server["url"], api_key=server["api_key"]), urlsplit(server["url"]).netloc
            made = cycle([request_for(event, host, target) for event in events(500)])
            drive(made, server["url"], 500)
            for number in range(rounds):
                before, started = worker.turn(limit=30.0)["cpu"], time.perf_counter()
                drive(made, server["url"], requests)
                seconds, cpu = time.perf_counter() - started, worker.turn(limit=30.0)["cpu"] - before
                rows.append({"round": number, "rate": requests / seconds, "cpu_us": cpu / requests * 1e6})
        except TurnFailedError as error:
            rows.append({"round": 0, "failed": str(error)})
    return rows
