"""The mock's thread, its event loop and its listener."""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from ._connection import Connection
from ._service import Service

T = TypeVar("T")

_BUFFER_SIZE = 65536


class State(enum.Enum):
    """The states of a host: STOPPED → `start` → RUNNING → `stop` → STOPPED. While RUNNING it listens, or refuses."""

    STOPPED = enum.auto()
    RUNNING = enum.auto()


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on where a test has frozen `time.monotonic`."""

    def time(self, _now: Callable[[], float] = time.monotonic) -> float:
        return _now()


class Host:
    """Runs a service in a thread of its own.

    :param reuse_port: let other processes listen on the same port; the kernel spreads connections over all of them.
    """

    def __init__(
        self,
        service: Service,
        clock: Callable[[], float],
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        *,
        reuse_port: bool = False,
    ) -> None:
        self._service = service
        self._clock = clock
        self._context = context
        self._reuse_port = reuse_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self.host = host
        self.port = port
        self.state = State.STOPPED

    def authority(self) -> str:
        """Return `host:port` as it stands in a URL.

        :raises RuntimeError: while the port is not known.
        """
        if self.port == 0:
            raise RuntimeError("the mock has no URL before it is started: its port is any free one")
        return f"{_url_host(self.host)}:{self.port}"

    def start(self) -> None:
        """Start serving; does nothing where it already does.

        :raises OSError: where it cannot listen.
        """
        if self.state is State.RUNNING:
            return
        started: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(started,), name="MockRefold", daemon=True)
        thread.start()
        try:
            started.result()
        except BaseException:
            thread.join()
            raise
        self._thread = thread
        self.state = State.RUNNING

    def stop(self) -> None:
        """Close every connection and stop; does nothing where it was not started."""
        thread, loop = self._thread, self._loop
        if self.state is State.STOPPED or thread is None or loop is None:
            return
        self.state = State.STOPPED
        self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def refuse(self) -> None:
        """Refuse connections, and close the idle ones, until `accept`."""
        self.call(self._stop_listening)

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._wait(self._listen())

    def close_idle(self) -> None:
        """Close every connection that waits for a request."""
        self.call(self._close_idle)

    def refuse_for(self, seconds: float) -> None:
        """Refuse for a while; called on the server's own loop, in the middle of a request."""
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, lambda: loop.create_task(self._listen()))
        self._stop_listening()

    def call(self, function: Callable[[], None]) -> None:
        """Run a function on the server's loop.

        :raises RuntimeError: where the mock is not running.
        """

        async def run() -> None:
            function()

        self._wait(run())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if self.state is State.STOPPED or loop is None:
            work.close()
            raise RuntimeError("the mock is not running: use it in a with block")
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def _run(self, started: Future[None]) -> None:
        loop = _Loop()
        loop.set_debug(False)  # debug mode is for the loop under test; here it would report every broken handshake
        try:
            try:
                loop.run_until_complete(self._listen())
            except Exception as error:  # noqa: BLE001 - `start` raises it
                started.set_exception(error)
                return
            self._loop = loop
            started.set_result(None)
            try:
                loop.run_forever()
            finally:
                loop.run_until_complete(self._shut_down())
        finally:
            self._loop = None
            loop.close()

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self._service, self._clock, self._buffer),
            sock=bind(self.host, self.port, reuse_port=self._reuse_port),
            ssl=self._context,
            backlog=1024,
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in list(self._service.connections):
            if connection.is_idle:
                self._service.ledger.dropped_idle += 1
                connection.close()

    async def _shut_down(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._service.connections):
            connection.reset()
        await self._service.emptied()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Bind the first address of a host: one address, so that one port says where the mock is."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _url_host(host: str) -> str:
    """Return a host as it stands in a URL by which this machine reaches it."""
    try:
        address = ipaddress.ip_address(host or "0.0.0.0")  # noqa: S104 - it is only read
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
