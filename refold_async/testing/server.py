"""MockRefold: the mock as its users hold it."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio
import anyio.to_thread

from .._types.values import RateLimit
from ._accounts import Accounts
from ._answers import Errors, WallClock
from ._dedupe import Dedupe
from ._events import EventDefinitions, EventsApi
from ._executions import Executions
from ._faults import Fault, FaultPlan
from ._hooks_api import HooksApi
from ._host import Host, State
from ._limits import EnforcedLimit
from ._routes import Router
from ._service import Service
from ._tls import TLSFiles
from ._webhooks import WebhookDelivery, start_delivery
from .dialect import Dialect
from .ledger import Ledger
from .runs import RunPlan, Runs

if TYPE_CHECKING:
    from ..client import RefoldClient

Kind = Literal["trigger", "read", "write"]


class MockRefold:
    """A real HTTP server that behaves as Refold does, or misbehaves as it is told to.

    It runs in a thread of its own, so it serves asyncio, uvloop, trio and plain code alike. Use it with `with` or
    `async with`, or call `start` and `stop`. Leaving the block raises the first error that a function passed to the
    mock (a fault plan, a `RunPlan`'s function) has raised, unless the block itself raised.

    :param host: the address to bind; loopback unless told otherwise.
    :param port: 0 for any free one.
    :param prefix: a path prefix, as self-hosted installs have.
    :param tls: serve https, with a certificate made for the occasion (needs the extra `testing`).
    :param api_key: the API key that is accepted.
    :param session_token: a session token that is accepted, for `linked_account_id`.
    :param linked_account_id: the account of that token, and of the clients that `client` makes.
    :param accounts: the linked accounts that exist; None for every one there could be.
    :param token_lifetime: seconds that a session token is valid which was made by the API.
    :param events: the events that exist, by slug; None for every one there could be.
    :param runs: the executions that fired events start, and how they show; None for none.
    :param dialect: what is answered where Refold's documentation contradicts itself.
    :param rate_limit: the limit on triggers that is enforced with 429; None for none.
    :param read_rate_limit: the same for all other requests.
    :param retry_after: the `Retry-After` of a 429, None to leave it out.
    :param dedupe: drop repeats of a key.
    :param faults: what goes wrong with triggers: a list for the next (None in it behaves), or a `FaultPlan` for all.
    :param latency: seconds before each answer, or a function that returns them, such as `Latency`.
    :param skew: seconds by which the mock's time of day is ahead of this machine's.
    :param keep: how many entries the ledger keeps, and how many runs there are; None for all.
    :param clock: seconds, monotonic: for limits, repeats, runs, tokens and the ledger's times.
    :ivar ledger: what arrived, and what became of it.
    :ivar runs: the executions.
    :ivar events: the definitions of events.
    :ivar accounts: the linked accounts and their session tokens.
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
        linked_account_id: str = "acct_mock",
        accounts: Collection[str] | None = None,
        token_lifetime: float = 604_800.0,
        events: Mapping[str, Collection[str]] | None = None,
        runs: RunPlan | None = RunPlan(),  # noqa: B008 - frozen
        dialect: Dialect = Dialect(),  # noqa: B008 - frozen
        rate_limit: RateLimit | None = RateLimit(),  # noqa: B008 - frozen
        read_rate_limit: RateLimit | None = None,
        retry_after: str | None = "1",
        dedupe: Dedupe | None = None,
        faults: FaultPlan | Sequence[Fault | None] = (),
        latency: float | Callable[[], float] = 0.0,
        skew: float = 0.0,
        keep: int | None = None,
        clock: Callable[[], float] = time.monotonic,  # bound here, so that no test that freezes time stops the mock
        reuse_port: bool = False,
    ) -> None:
        if not 0 <= port <= 65_535:  # the resolver would take such a port modulo 65,536
            raise ValueError(f"port must be from 0 to 65535, not {port}")
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"prefix must start with a slash, not {prefix!r}")
        if not callable(latency) and not 0 <= latency < math.inf:
            raise ValueError(f"latency must be seconds from 0 on, not {latency}")
        self.prefix = prefix.rstrip("/")
        self.api_key = api_key
        self.session_token = session_token
        self.linked_account_id = linked_account_id
        errors, wall = Errors(dialect.errors), WallClock(clock, skew)
        self.ledger = Ledger(keep)
        self.runs = Runs(runs, clock=clock, unix_time=wall.at, keep=keep)
        self.events = EventDefinitions(events)
        self.accounts = Accounts(accounts, token_lifetime, dialect, errors, clock)
        self.accounts.accept_token(session_token, linked_account_id)
        events_api = EventsApi(self.events, dialect, errors)
        executions = Executions(self.runs, self.ledger, dialect, errors, wall, clock, api_key)
        apis = (executions, events_api, self.accounts, HooksApi(self.runs, errors))
        self._tls = TLSFiles.make() if tls else None
        self._service = Service(
            prefix=self.prefix,
            api_keys=frozenset({api_key}),
            errors=errors,
            limit=None if rate_limit is None else EnforcedLimit(rate_limit),
            read_limit=None if read_rate_limit is None else EnforcedLimit(read_rate_limit),
            retry_after=retry_after,
            dedupe=dedupe,
            latency=latency if callable(latency) else (lambda: latency) if latency > 0 else None,
            clock=clock,
            wall=wall,
            ledger=self.ledger,
            runs=self.runs,
            events=events_api,
            accounts=self.accounts,
            router=Router([route for api in apis for route in api.routes()]),
            refuse=lambda seconds: self._host.refuse_for(seconds),
        )
        context = None if self._tls is None else self._tls.server_context
        self._host = Host(self._service, clock, host, port, context, reuse_port=reuse_port)
        if callable(faults):
            self._service.faults["trigger"].plan = faults
        else:
            self._service.queue("trigger", faults)

    @property
    def host(self) -> str:
        """The address as it was given."""
        return self._host.host

    @property
    def port(self) -> int:
        """The port, 0 before it is known."""
        return self._host.port

    @property
    def url(self) -> str:
        """The base URL to give to a client.

        :raises RuntimeError: before the first start, unless the port was given.
        """
        return f"{'http' if self._tls is None else 'https'}://{self._host.authority()}{self.prefix}"

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
        from ..client import RefoldClient

        given: dict[str, Any] = {"base_url": self.url, "linked_account_id": self.linked_account_id, **options}
        given.setdefault("proxy", None)  # none of the environment's reaches this server
        if "api_key" not in given and "session_token" not in given:
            given["api_key"] = self.api_key
        if "http_client" not in given:
            # Plain http needs no authorities, so none are looked for where SSL_CERT_FILE says.
            bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            given.setdefault("verify", bare if self._tls is None else self.client_ssl_context())
        return RefoldClient(**given)

    def next(self, *faults: Fault | None, kind: Kind = "trigger") -> None:
        """Play these faults to the next requests, in order of arrival; None behaves.

        :param kind: to which requests: "trigger" for what fires (events, reruns), "read" for GET, "write" for the rest.
        """
        self._host.call(lambda: self._service.queue(kind, faults))

    def plan(self, plan: FaultPlan | None, *, kind: Kind = "trigger") -> None:
        """Ask this plan from now on about each request of a kind; None for no more faults."""
        self._service.faults[kind].plan = plan

    def deliver(
        self,
        url: str,
        event: Mapping[str, Any] | bytes,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 3,
        backoff: float = 0.05,
        method: str = "POST",
    ) -> WebhookDelivery:
        """Deliver a webhook, signed with the mock's API key, through no proxy. It need not be started for this.

        Await the result where the receiver runs in the same event loop; elsewhere call its `result()`.

        :param event: what is sent as JSON; bytes are sent as they are.
        :param key: another key to sign with.
        :param headers: more headers; `x-cobalt-signature` here takes the signature's place.
        :param attempts: how often it is sent until it is answered with 200.
        :param backoff: seconds before the second attempt; each further one takes twice as long.
        """
        return start_delivery(
            url,
            event,
            key=self.api_key if key is None else key,
            headers=headers or {},
            attempts=attempts,
            backoff=backoff,
            method=method,
        )

    def refuse(self) -> None:
        """Refuse connections, and close the idle ones, until `accept` is called."""
        self._host.refuse()

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._host.accept()

    def close_idle(self) -> None:
        """Close every connection that waits for a request."""
        self._host.close_idle()

    def start(self) -> None:
        """Start serving; does nothing where it already does.

        :raises OSError: where it cannot listen.
        """
        self._host.start()

    def stop(self) -> None:
        """Close every connection and stop; does nothing where it was not started."""
        self._host.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._service.broken:
            raise self._service.broken[0]

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)
        if error is None and self._service.broken:
            raise self._service.broken[0]

    def __repr__(self) -> str:
        state = f"at {self.url}" if self._host.state is State.RUNNING else "stopped"
        return f"<MockRefold {state}, {self.ledger.requests} requests>"
