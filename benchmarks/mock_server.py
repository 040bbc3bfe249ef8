"""What the mock Refold costs for each request: its own CPU time, driven by raw sockets.

Run it with `python -m benchmarks.mock_server`.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

from ._server import API_KEY, mock_server

CONNECTIONS = 10
BODY = b'{"event":"Deal Created","payload":{"deal_id":4711,"deal_name":"Acme","amount":12500.5}}'


def request_for(host: str) -> bytes:
    """Put together the bytes that the client would send."""
    lines = [
        "POST /api/v2/public/event/pipedrive HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: raw-socket-driver",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
        "linked_account_id: acct_1",
        f"x-api-key: {API_KEY}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


def cpu_seconds(pid: int) -> float:
    """Give what a process has used: user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(url: str, requests: int) -> None:
    """Send the requests over a few connections, one after the other on each."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    request = request_for(parts.netloc)
    sockets = [socket.create_connection((parts.hostname, parts.port or 80)) for _ in range(CONNECTIONS)]
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


def main() -> None:
    """Run it and print the cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    costs, walls = [], []
    with mock_server() as (url, pid):
        drive(url, 1000)
        for _ in range(arguments.rounds):
            before, started = cpu_seconds(pid), time.perf_counter()
            drive(url, arguments.requests)
            walls.append((time.perf_counter() - started) / arguments.requests)
            costs.append((cpu_seconds(pid) - before) / arguments.requests)
    print(
        f"the mock: {statistics.median(costs) * 1e6:.0f} µs of CPU a request, "
        f"{1 / statistics.median(walls):,.0f} requests a second "
        f"(median of {arguments.rounds} rounds of {arguments.requests}, {CONNECTIONS} connections)"
    )


if __name__ == "__main__":
    main()
