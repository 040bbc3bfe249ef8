"""What several tests share: a server that says exactly what it is told, and time that stands still."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from refold_async import Receipt, RefoldError, RetryPolicy

QUICK = RetryPolicy(base_delay=0.001, throttled_base_delay=0.001, max_delay=0.002)
"""Retries that a test need not wait for."""

FIRED = b'{"message":"Webhook Fired Success"}'
FIRED_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n" + FIRED


_IGNORED = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def abandons_sockets(test: Callable[..., Any]) -> Any:
    """Mark a test that leaves sockets to the garbage collector, of which Python warns.

    That is so where an event loop is closed before its client, and where a call is cancelled while it connects: then
    `anyio.connect_tcp` drops the stream it has just opened. What is left after a collection is looked for all the same.
    """
    return pytest.mark.usefixtures("collected")(_IGNORED(test))


class Recorder:
    """The requests that arrived, byte for byte, and where they did."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[bytes] = []


Script = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(answer: bytes | Script = FIRED_ANSWER) -> AsyncIterator[Recorder]:
    """Serve on loopback: answer each request with these bytes, or do as the script does, given its number from 0."""
    numbers = itertools.count()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                recorder.requests.append(head + await reader.readexactly(length))
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(next(numbers), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    recorder = Recorder(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield recorder
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: httpx.Response | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """Make a transport that gives these answers in turn, the last one for ever, and the list of what it was sent."""
    seen: list[httpx.Request] = []
    last = len(answers) - 1

    def handle(request: httpx.Request) -> httpx.Response:
        answer = answers[min(len(seen), last)]
        seen.append(httpx.Request(request.method, request.url, headers=request.headers, content=request.content))
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return httpx.MockTransport(handle), seen


def fired() -> httpx.Response:
    """Refold's own success."""
    return httpx.Response(200, json={"message": "Webhook Fired Success"})


class VirtualTime:
    """A clock that moves only when everything waits, so that hours take no time and always go the same way."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved that far."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._order), done))
        await done

    async def settle(self) -> None:
        """Let everything run until it waits for the clock."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def run(self, until: float = float("inf")) -> None:
        """Move the clock from sleeper to sleeper, up to `until`."""
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, done = heapq.heappop(self._sleepers)
            if done.cancelled():
                continue
            self.now = max(self.now, at)
            if not done.done():
                done.set_result(None)
            await self.settle()
        if until < float("inf"):
            self.now = max(self.now, until)


async def ending(call: Awaitable[Receipt]) -> Receipt | RefoldError:
    """Return how a call ended: its receipt or its error. Whatever else it raises is raised."""
    try:
        return await call
    except RefoldError as error:
        return error
