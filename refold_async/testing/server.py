"""The server: its thread, its listener and its life."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

from .._types.values import RateLimit
from ._connection import Connection
from ._dedupe import Dedupe
from ._faults import Fault, FaultPlan
from ._service import Service
from ._tls import TLSFiles
from .ledger import Ledger

if TYPE_CHECKING:
    from .._client import RefoldClient


class MockRefold:
    """A real HTTP server that behaves as Refold does, or misbehaves as it is told to.

    It runs in a thread of its own, so it serves asyncio, uvloop, trio and plain code alike. Use it with `with` or
    `async with`, or call `start` and `stop`.

    :param host: the address to bind; loopback unless told otherwise.
    :param port: 0 for any free one.
    :param prefix: a path prefix, as self-hosted installs have.
    :param tls: serve https, with a certificate made for the occasion (needs the extra `testing`).
    :param api_key: the API key that is accepted; `session_token` the token.
    :param events: the events that exist, by slug; None for every one there could be.
    :param rate_limit: the limit that is enforced with 429; None for none.
    :param retry_after: the `Retry-After` of those, None to leave it out.
    :param dedupe: drop repeats of a key.
    :param faults: what goes wrong: a list for the next requests (None in it behaves), or a `FaultPlan` for all.
    :param latency: seconds before each answer.
    :param keep: how many entries the ledger keeps; None for all.
    :param clock: seconds, monotonic; for limits and repeats.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: str = "",
        tls: bool = False,
        api_key: str = "tk_mock_0000",
        session_token: str = "session_mock_0000",  # noqa: S107 - made up
        events: Mapping[str, Collection[str]] | None = None,
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - frozen
        retry_after: str | None = "1",
        dedupe: Dedupe | None = None,
        faults: FaultPlan | Sequence[Fault | None] = (),
        latency: float = 0.0,
        keep: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.port = port
        self.prefix = prefix.rstrip("/")
        self.api_key = api_key
        self.session_token = session_token
        self.linked_account_id = "acct_mock"
        self.ledger = Ledger(keep)
        self._tls = TLSFiles.make() if tls else None
        self._service = Service(
            prefix=self.prefix,
            api_keys=frozenset({api_key}),
            session_tokens=frozenset({session_token}),
            events=events,
            rate_limit=rate_limit,
            retry_after=retry_after,
            dedupe=dedupe,
            latency=latency,
            clock=clock,
            ledger=self.ledger,
            plan=faults if callable(faults) else None,
            refuse=self._refuse,
        )
        if not callable(faults):
            self._service.queue(faults)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}{self.prefix}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._service.connections)

    @property
    def most_connections(self) -> int:
        """How many connections were open at the same time, at most."""
        return self._service.most_at_once

    @property
    def ca_pem(self) -> bytes:
        """The certificate authority to trust, as PEM; only with `tls=True`."""
        if self._tls is None:
            raise RuntimeError("this mock speaks plain http: make it with tls=True")
        return self._tls.ca_pem

    def client_ssl_context(self) -> ssl.SSLContext:
        """Make an SSL context that trusts this server; only with `tls=True`."""
        return ssl.create_default_context(cadata=self.ca_pem.decode("ascii"))

    def client(self, **options: Any) -> RefoldClient:
        """Make a `RefoldClient` for this server; `options` are the client's own arguments."""
        from .._client import RefoldClient

        given: dict[str, Any] = {"base_url": self.url, "linked_account_id": self.linked_account_id, **options}
        if "api_key" not in given and "session_token" not in given:
            given["api_key"] = self.api_key
        if self._tls is not None:
            given.setdefault("verify", self.client_ssl_context())
        return RefoldClient(**given)

    def next(self, *faults: Fault | None) -> None:
        """Play these faults to the next requests, in order of arrival; None behaves."""
        self._call(self._service.queue, faults)

    def plan(self, plan: FaultPlan | None) -> None:
        """Ask this plan from now on; None for no more faults."""
        self._service.plan = plan

    def refuse(self) -> None:
        """Refuse connections, and close the idle ones, until `accept` is called."""
        self._wait(self._stop_listening())

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._wait(self._listen())

    def close_idle(self) -> None:
        """Close every connection that waits for a request."""
        self._call(self._close_idle)

    def start(self) -> None:
        """Start serving; does nothing where it already does."""
        if self._thread is not None:
            return
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="MockRefold", daemon=True)
        self._thread.start()
        try:
            started.result()
        except OSError:
            self._thread.join()
            self._thread = None
            raise

    def stop(self) -> None:
        """Close every connection and stop; does nothing where it was not started."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _run(self, started: Future[None]) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._listen())
        except OSError as error:
            loop.close()
            started.set_exception(error)
            return
        self._loop = loop
        started.set_result(None)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._shut_down())
            loop.close()
            self._loop = None

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        context = None if self._tls is None else self._tls.server_context
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._service), self.host, self.port, ssl=context, backlog=1024, reuse_address=True
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._close_idle()

    def _refuse(self, seconds: float | None) -> None:
        """Refuse for a while; called on the server's own loop, in the middle of a request."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            loop.call_later(seconds or 0.0, lambda: loop.create_task(self._listen()))
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in list(self._service.connections):
            if connection.idle:
                self.ledger.dropped_idle += 1
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

    def _call(self, function: Callable[..., None], *args: object) -> None:
        async def run() -> None:
            function(*args)

        self._wait(run())

    def _wait(self, work: Any) -> None:
        if self._loop is None:
            with contextlib.closing(work):
                raise RuntimeError("the mock is not running: use it in a with block")
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    def __repr__(self) -> str:
        state = "stopped" if self._thread is None else f"at {self.url}"
        return f"<MockRefold {state}, {self.ledger.requests} requests>"
