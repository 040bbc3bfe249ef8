"""What a contender is: one way to fire an event, set up as its users would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from attrs import evolve, field, frozen

SLUG: Final = "pipedrive"
EVENT: Final = "Deal Created"
PATH: Final = f"/api/v2/public/event/{SLUG}"
PAYLOAD: Final[dict[str, Any]] = {
    "deal_id": 4711,
    "deal_name": "Acme",
    "amount": 12_500.5,
    "stage": "won",
    "tags": ["new", "emea"],
}
FIRED: Final = "Webhook Fired Success"


@frozen(kw_only=True)
class Target:
    """Where and how to fire: the same for every contender.

    :ivar connections: how many connections may be open, all of them kept alive.
    :ivar timeout: seconds for an attempt: to connect, to write, and between reads.
    """

    url: str
    api_key: str = "tk_mock_0000"
    linked_account_id: str = "acct_1"
    connections: int = 100
    timeout: float = 30.0

    @property
    def address(self) -> str:
        """The whole URL of the call."""
        return self.url + PATH

    @property
    def headers(self) -> dict[str, str]:
        """What Refold needs to know besides the body."""
        return {"x-api-key": self.api_key, "linked_account_id": self.linked_account_id}


Fire = Callable[[dict[str, Any]], Awaitable[Any]]
"""Fires one event with this payload, and gives what came back, parsed. Raises when its client says that it failed."""

Open = Callable[[Target], AbstractAsyncContextManager[Fire]]


def never_uncertain(error: BaseException) -> bool:
    """Say that an exception means "it failed": all that most clients tell."""
    return False


@frozen(kw_only=True)
class Setup:
    """A contender's settings for retries, or for pacing.

    :ivar uncertain: whether an exception says that the event may have fired; otherwise it says that it failed.
    :ivar deduped: whether the server is one that drops repeats of an `Idempotency-Key`.
    """

    name: str
    open: Open
    uncertain: Callable[[BaseException], bool] = never_uncertain
    deduped: bool = False


@frozen(kw_only=True)
class Contender:
    """One way to fire an event.

    :ivar imports: what its users import, to measure how long that takes.
    :ivar distributions: the packages whose versions go with its results.
    :ivar open: its settings for the measurements of cost, without faults.
    :ivar setups: its settings for the measurement of delivery, each measured by itself.
    :ivar paced: likewise for the measurement of pacing.
    """

    name: str
    imports: str
    distributions: tuple[str, ...]
    open: Open
    setups: tuple[Setup, ...] = ()
    paced: tuple[Setup, ...] = ()
    loop: str = field(default="asyncio")

    def on(self, loop: str) -> Contender:
        """Give the same one on another event loop."""
        return evolve(self, loop=loop, name=f"{self.name} on {loop}")
