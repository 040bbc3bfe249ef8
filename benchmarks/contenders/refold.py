"""`refold_async`, as it comes but for its connections, and with one option more at a time.

It has as many connections as everybody. The limiter is on but never holds a call back, unless a name says otherwise:
nobody sends at full speed without one being set, and the others have none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from ..contender import Event, Fire, Opening, Send, Target, contender

NAME: Final = "refold_async"
OPTIONS: Final = ("limiter off", "account", "window, key, account", "hook", "before_send")
"""What may stand behind the name, as in `refold_async + hook`."""


def with_option(option: str) -> str:
    """Name the contender that has this option."""
    return f"{NAME} + {option}"


def client(target: Target, **options: Any) -> Any:
    """Make a client for the target."""
    from refold_async import RateLimit, RefoldClient

    given: dict[str, Any] = {
        "api_key": target.api_key,
        "linked_account_id": target.account,
        "base_url": target.url,
        "max_connections": target.connections,
        "verify": target.verify,
        "rate_limit": RateLimit(rate=1_000_000, burst=10_000),
    }
    if target.timeout is not None:
        given["timeout"] = target.timeout
    return RefoldClient(**given | options)


def says_uncertain(error: BaseException) -> bool:
    """Whether an error says that the event may have fired."""
    from refold_async import Delivery, RefoldError

    return isinstance(error, RefoldError) and error.delivery is Delivery.AMBIGUOUS


def _variant(name: str, make: Callable[[], dict[str, Any]] = dict, *, account: bool = False, key: bool = False) -> None:
    """Register the client with these options, which send each call for an account, or with a key, of its own."""

    async def opening(target: Target) -> AsyncIterator[Fire]:
        async with client(target, **make()) as opened:

            async def plain(event: Event) -> object:
                return await opened.trigger(event.slug, event.name, event.payload)

            async def for_account(event: Event) -> object:
                return await opened.trigger(event.slug, event.name, event.payload, linked_account_id=event.account)

            async def keyed(event: Event) -> object:
                return await opened.trigger(
                    event.slug,
                    event.name,
                    event.payload,
                    linked_account_id=event.account,
                    idempotency_key=event.key,
                )

            yield keyed if key else for_account if account else plain

    registered: Opening = opening
    contender(name, "refold-async", "httpx", "httptools", uncertain=says_uncertain)(registered)


def _window() -> dict[str, Any]:
    from refold_async import Idempotency

    return {"idempotency": Idempotency(header="Idempotency-Key"), "rate_limit": None}


def _window_and_limiter() -> dict[str, Any]:
    return {"idempotency": _window()["idempotency"]}


def _opted_in() -> dict[str, Any]:
    from refold_async import RetryPolicy

    return {"retry": RetryPolicy(retry_ambiguous=True), "rate_limit": None}


def _documented_limit() -> dict[str, Any]:
    from refold_async import RateLimit

    return {"rate_limit": RateLimit()}


_variant(NAME)
_variant(with_option("limiter off"), lambda: {"rate_limit": None})
_variant(with_option("account"), account=True)
_variant(with_option("window, key, account"), _window_and_limiter, account=True, key=True)
_variant(with_option("hook"), lambda: {"hooks": (lambda event: None,)})
_variant(with_option("before_send"), lambda: {"before_send": lambda sending: None})
# For delivery: the explicit opt-in to sending again what may have fired, which others call retrying a POST; and a
# declared window, against a server that drops repeats of the key. For pacing: the documented limit.
_variant(with_option("retry_ambiguous=True"), _opted_in)
_variant(with_option("declared window"), _window)
_variant(with_option("documented limit"), _documented_limit)
_variant(f"{NAME}, stock wire", lambda: {"rate_limit": None, "transport": "httpx"})


def _batch(name: str, send: Callable[[Any, Iterator[Event], int], Awaitable[None]]) -> None:
    async def opening(target: Target) -> AsyncIterator[Send]:
        async with client(target) as opened:
            yield partial(send, opened)

    registered: Opening = opening
    contender(with_option(name), "refold-async", "httpx", "httptools", batch=True)(registered)


def _triggers(source: Iterator[Event]) -> Iterator[Any]:
    from refold_async import Trigger

    for event in source:
        yield Trigger(event.slug, event.name, event.payload)


async def _many(opened: Any, source: Iterator[Event], concurrency: int) -> None:
    result = await opened.trigger_many(_triggers(source), max_concurrency=concurrency)
    result.raise_for_failures()


async def _stream(opened: Any, source: Iterator[Event], concurrency: int) -> None:
    async with opened.trigger_stream(_triggers(source), max_concurrency=concurrency) as outcomes:
        async for outcome in outcomes:
            if not outcome.ok:
                raise outcome.error


async def _gather(opened: Any, source: Iterator[Event], concurrency: int) -> None:
    semaphore = asyncio.Semaphore(concurrency)

    async def bounded(event: Event) -> object:
        async with semaphore:
            return await opened.trigger(event.slug, event.name, event.payload)

    await asyncio.gather(*(bounded(event) for event in source))


_batch("trigger_many", _many)
_batch("trigger_stream", _stream)
_batch("gather and a semaphore", _gather)
