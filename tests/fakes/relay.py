"""A relay on loopback that holds back the first bytes of each connection: so a TLS handshake takes its time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from typing import Self


class SlowHandshakes:
    """Passes bytes both ways, in a thread of its own, and lets connections begin at certain moments only.

    All that came since the last such moment begin together, so that handshakes end together as well.

    :param port: where the server listens, on 127.0.0.1.
    :param period: seconds from one such moment to the next; a connection waits for at least half of that.
    :ivar port: where to connect instead.
    :ivar connections: how many there were.
    """

    def __init__(self, port: int, period: float) -> None:
        self._target = port
        self._period = period
        self.port = 0
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="relay", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started.set_result(None)
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError), contextlib.closing(writer):
            begins = (loop.time() + self._period / 2) // self._period + 1
            await asyncio.sleep(begins * self._period - loop.time())
            answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
            with contextlib.closing(requests):
                sending = asyncio.ensure_future(_pump(reader, requests))
                try:
                    await _pump(answers, writer)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until their end, or a reset, which is passed on too."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        writer.transport.abort()
