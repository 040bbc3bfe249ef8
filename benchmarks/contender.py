"""What a contender is: one way to send an event to Refold, set up as its users would."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from attrs import frozen

PATH: Final = "/api/v2/public/event/"
DISTINCT_EVENTS: Final = 4096
"""So many events are made before a sample begins, and used in turn, so that making them is not measured."""


@frozen
class Event:
    """One call. No two have the same payload, account or key, and neighbours have different slugs.

    Remembering a whole request, or a whole response, therefore saves a contender nothing.
    """

    slug: str
    name: str
    payload: dict[str, Any]
    account: str
    key: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that Refold expects."""
        return {"event": self.name, "payload": self.payload}


def events(count: int = DISTINCT_EVENTS) -> list[Event]:
    """Make events as an integration sends them: 20 applications, 8 kinds of event, every customer an account."""
    drawn = random.Random(20)
    return [
        Event(
            slug=f"app-{number % 20}",
            name=("Deal Created", "Deal Won", "Contact Updated", "Ticket Closed")[number % 4] + (" v2" * (number % 2)),
            payload={
                "deal_id": number,
                "deal_name": f"Acme {drawn.randrange(10**6)}",
                "amount": drawn.randrange(10**6) / 100,
                "stage": drawn.choice(("new", "won", "lost")),
                "tags": ["emea", f"batch-{number % 97}"],
            },
            account=f"customer-{drawn.randrange(10**9)}@example.com",
            key=f"{drawn.getrandbits(128):032x}",
        )
        for number in range(count)
    ]


@frozen(kw_only=True)
class Target:
    """Where to send: the same for every contender.

    :ivar ca: the certificate, as PEM, of the authority that signed the server's, where the URL is `https`.
    :ivar connections: how many connections may be open. All of them are kept alive.
    :ivar timeout: seconds for an attempt, where a measurement needs one; None leaves the contender's default.
    """

    url: str
    ca: str | None = None
    connections: int = 100
    timeout: float | None = None
    api_key: str = "tk_mock_0000"
    account: str = "acct_1"

    def address(self, event: Event) -> str:
        """Return the URL of a call."""
        return f"{self.url}{PATH}{event.slug}"

    @property
    def headers(self) -> dict[str, str]:
        """What Refold needs to know besides the body."""
        return {"x-api-key": self.api_key, "linked_account_id": self.account}

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """What checks the server's certificate: its own authority, or the usual ones."""
        return True if self.ca is None else ssl.create_default_context(cadata=self.ca)


Fire = Callable[[Event], Awaitable[object]]
"""Sends one event and returns the parsed response. Raises when its client says that the call failed."""

Send = Callable[[Iterator[Event], int], Awaitable[object]]
"""Sends every event of a source, so many at a time, and raises unless all succeeded: a batch."""

Opening = Callable[[Target], AsyncIterator[Any]]


def never_uncertain(error: BaseException) -> bool:
    """Most clients can only say that a call failed, never that it may have succeeded."""
    return False


@frozen(kw_only=True)
class Contender:
    """One way to send an event.

    :ivar module: what its users import.
    :ivar packages: the distributions whose versions belong to its results.
    :ivar open: opens a client and returns what sends through it: a `Fire`, or a `Send` where `batch` says so.
    :ivar uncertain: whether an exception says that the event may have fired; otherwise it says that it did not.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    open: Callable[[Target], AbstractAsyncContextManager[Any]]
    uncertain: Callable[[BaseException], bool] = never_uncertain
    batch: bool = False


CONTENDERS: Final[dict[str, Contender]] = {}
"""Every contender by its name; filled by the modules in `contenders`."""


def contender(
    name: str,
    *packages: str,
    uncertain: Callable[[BaseException], bool] = never_uncertain,
    batch: bool = False,
) -> Callable[[Opening], Opening]:
    """Register an async generator that opens a client and yields what sends through it.

    :param packages: the first one names what is imported.
    """

    def register(opening: Opening) -> Opening:
        CONTENDERS[name] = Contender(
            name=name,
            module=packages[0].replace("-", "_"),
            packages=packages,
            open=asynccontextmanager(opening),
            uncertain=uncertain,
            batch=batch,
        )
        return opening

    return register
