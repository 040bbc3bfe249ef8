"""A server that answers every request at once with the same bytes, so that the client is what is measured.

The mock Refold parses, decides and keeps a ledger, which costs more than the cheapest contenders do. This one finds the
end of each request and answers. `python -m benchmarks.answering [CORE]` prints its URL, and stops when its standard
input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from email.utils import formatdate
from importlib.util import find_spec
from typing import Any, cast

from attrs import frozen

from . import cores

_VIEW = memoryview(bytearray(65536))
_BODY = b'{"message":"Webhook Fired Success"}'


def _answer() -> bytes:
    """Put together what Refold's own server would send: Express, behind a proxy."""
    lines = [
        "HTTP/1.1 200 OK",
        f"Date: {formatdate(usegmt=True)}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(_BODY)}",
        "Connection: keep-alive",
        "X-Powered-By: Express",
        "X-Request-Id: 4b6cf2a0-8a55-4c7e-9d5c-6f1f3b0c9a11",
        "Access-Control-Allow-Origin: *",
        'ETag: W/"23-8kq7sB4tHk0yqX5m9o1c2Z3pX0A"',
        "Vary: Accept-Encoding",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + _BODY


class _State:
    """What the connections share."""

    def __init__(self) -> None:
        self.answer = _answer()
        self.seen = 0
        self.seen_bytes = 0

    async def keep_time(self) -> None:
        """Renew the date each second."""
        while True:
            await asyncio.sleep(1)
            self.answer = _answer()


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, state: _State) -> None:
        self._state = state
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not say that it is one

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        data = self._pending + _VIEW[:nbytes].tobytes() if self._pending else _VIEW[:nbytes].tobytes()
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            size = end + 4 + (int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0)
            if len(data) < size:
                break
            self._serve(data.startswith(b"GET "), size)
            data = data[size:]
        self._pending = data

    def _serve(self, asked: bool, size: int) -> None:
        assert self._transport is not None
        if asked:
            body = json.dumps({"requests": self._state.seen, "bytes": self._state.seen_bytes}).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self._state.seen += 1
        self._state.seen_bytes += size
        self._transport.write(self._state.answer)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    state = _State()
    server = await loop.create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    clock = loop.create_task(state.keep_time())
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    clock.cancel()
    server.close()


@frozen
class Answering:
    """A running server."""

    url: str
    pid: int

    def seen(self) -> dict[str, Any]:
        """Ask how many requests, and bytes, it has seen."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/seen")
            counts: dict[str, Any] = json.load(connection.getresponse())
        return counts


@contextlib.contextmanager
def answering_server() -> Iterator[Answering]:
    """Run the server in a process of its own, on a core of its own where there are two."""
    core = cores.core_for(cores.SERVER)
    command = [sys.executable, "-m", "benchmarks.answering", *([] if core is None else [str(core)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Answering(process.stdout.readline().strip(), process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until standard input is closed."""
    cores.pin(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    if find_spec("uvloop") is None:
        asyncio.run(_serve())
    else:
        import uvloop

        uvloop.run(_serve())


if __name__ == "__main__":
    main()
