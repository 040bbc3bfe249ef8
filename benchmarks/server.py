"""A server that answers every request at once, so that the client is what is measured.

The mock Refold decides and keeps a ledger, which would cost more than the cheapest contender does. This one finds the
end of each request and responds as Express behind a proxy would: ten headers, of which three are never the same twice.
It runs in a thread of a worker, on a core of its own where there are two.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from importlib.util import find_spec
from queue import SimpleQueue
from threading import Thread
from typing import Any, cast

from attrs import frozen

from . import machine
from .load import run_on
from .process import Worker

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
            self._transport.write(self._state.response())
            data = data[size:]
        self._pending = data


async def _serve(state: _State, started: SimpleQueue[dict[str, Any]]) -> None:
    loop = asyncio.get_running_loop()

    async def listen(context: ssl.SSLContext | None = None) -> str:
        server = await loop.create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=2048, ssl=context)
        listening.append(server)
        return f"http{'s' if context else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    listening: list[asyncio.Server] = []
    addresses = {"url": await listen()}
    if find_spec("trustme") is not None:
        import trustme

        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        addresses |= {"secure_url": await listen(context), "ca": authority.cert_pem.bytes().decode()}
    started.put(addresses)
    while True:
        await asyncio.sleep(1)
        state.renew()


_running: list[_State] = []


def turn(*, start: bool = False) -> dict[str, Any]:
    """Start the server and return its addresses, or return how many requests it has seen."""
    if not start:
        return {"seen": _running[-1].seen}
    started: SimpleQueue[dict[str, Any]] = SimpleQueue()
    _running.append(_State())
    loop = "asyncio" if find_spec("uvloop") is None else "uvloop"
    Thread(target=lambda: run_on(loop, _serve(_running[-1], started)), daemon=True).start()
    return started.get(timeout=30)


@frozen
class Server:
    """A running server. `secure_url` and `ca`, a certificate as PEM, are None where trustme is not installed."""

    worker: Worker
    url: str
    secure_url: str | None = None
    ca: str | None = None

    def seen(self) -> int:
        """Return how many requests it has seen."""
        return int(self.worker.turn(limit=10)["seen"])


@contextmanager
def answering_server() -> Iterator[Server]:
    """Run the server in a process of its own."""
    with Worker("benchmarks.server", core=machine.SERVER) as worker:
        yield Server(worker, **worker.turn(limit=30, start=True))
