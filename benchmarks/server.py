"""A server that answers every request at once, so that the client is what is measured.

The mock Refold decides and keeps a ledger, which would cost more than the cheapest contender does. This one finds the
end of each request and responds as Express behind a proxy would: ten headers, of which three are never the same twice.
`python -m benchmarks.server [CORE]` prints its addresses as JSON, and stops when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from attrs import frozen

from . import machine

_VIEW = memoryview(bytearray(65536))
_BODY = b'{"message":"Webhook Fired Success"}'


class _State:
    """What the connections share: how many requests were seen, and the head for this second."""

    def __init__(self) -> None:
        self.seen = 0
        self.renew()

    def renew(self) -> None:
        """Make the part of the head that holds for a second."""
        self._head = (
            f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(_BODY)}\r\nConnection: keep-alive\r\nX-Powered-By: Express\r\n"
            "Access-Control-Allow-Origin: *\r\nVary: Accept-Encoding\r\nX-Request-Id: "
        ).encode()

    def response(self) -> bytes:
        """Return the next response."""
        self.seen = number = self.seen + 1
        varied = (number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        return b'%b%016x-%d\r\nX-Response-Time: %d.%03dms\r\nETag: W/"23-%x"\r\n\r\n%b' % (
            self._head, varied, number, varied % 90, varied % 1000, varied, _BODY,
        )  # fmt: skip

    async def keep_time(self) -> None:
        """Renew the date each second."""
        while True:
            await asyncio.sleep(1)
            self.renew()


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
        assert self._transport is not None
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
            if data.startswith(b"GET "):
                body = b"%d" % self._state.seen
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                self._transport.write(self._state.response())
            data = data[size:]
        self._pending = data


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    state = _State()
    plain = await loop.create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=2048)
    addresses: dict[str, Any] = {"url": f"http://127.0.0.1:{plain.sockets[0].getsockname()[1]}"}
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("trustme") is not None:
            import trustme

            authority = trustme.CA()
            authority.cert_pem.write_to_path(Path(folder, "ca.pem"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
            secure = await loop.create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=2048, ssl=context)
            port = secure.sockets[0].getsockname()[1]
            addresses |= {"secure_url": f"https://127.0.0.1:{port}", "ca": str(Path(folder, "ca.pem"))}
        print(json.dumps(addresses), flush=True)
        clock = loop.create_task(state.keep_time())
        await loop.run_in_executor(None, sys.stdin.buffer.read)
        clock.cancel()


@frozen
class Server:
    """A running server. `secure_url` and `ca` are None where trustme is not installed."""

    pid: int
    url: str
    secure_url: str | None = None
    ca: str | None = None

    def seen(self) -> int:
        """Return how many requests it has seen."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/seen")
            return int(connection.getresponse().read())


@contextlib.contextmanager
def answering_server() -> Iterator[Server]:
    """Run the server in a process of its own, on a core of its own where there are two."""
    core = machine.core_for(machine.SERVER)
    command = [sys.executable, "-m", "benchmarks.server", *([] if core is None else [str(core)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(process.pid, **json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until standard input is closed."""
    machine.pin(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    if find_spec("uvloop") is None:
        asyncio.run(_serve())
    else:
        import uvloop

        uvloop.run(_serve())


if __name__ == "__main__":
    main()
