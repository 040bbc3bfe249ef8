"""`refold_async`, as it comes but for its connections, and with one option more at a time.

It has as many connections as everybody. The limiter is on but never holds a call back, unless a name says otherwise:
nobody sends at full speed without one being set, and the others have none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from ..contender import Event, Fire, Send, Target, contender

NAME: Final = "refold_async"
OPTIONS: Final = ("limiter off", "account", "window, key, account", "hook", "before_send")
"""What may stand behind the name, as in `refold_async + hook`."""

BATCHES: Final = ("trigger_many", "trigger_stream", "gather and a semaphore")
"""The ways to send many rows, behind the name as well."""


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
        given |= {"timeout": target.timeout, "deadline": max(30.0, target.timeout)}
    return RefoldClient(**given | options)


def says_uncertain(error: BaseException) -> bool:
    """Whether an error says that the event may have fired."""
    from refold_async import Delivery, RefoldError

    return isinstance(error, RefoldError) and error.delivery is Delivery.AMBIGUOUS


def _plain(opened: Any) -> Fire:
    return lambda event: opened.trigger(event.slug, event.name, event.payload)


def _for_account(opened: Any) -> Fire:
    return lambda event: opened.trigger(event.slug, event.name, event.payload, linked_account_id=event.account)


def _keyed(opened: Any) -> Fire:
    return lambda event: opened.trigger(
        event.slug, event.name, event.payload, linked_account_id=event.account, idempotency_key=event.key
    )


def _variant(name: str, options: Callable[[Any], dict[str, Any]], fire: Callable[[Any], Fire] = _plain) -> None:
    """Register the client with these options, which are made from the module `refold_async`."""

    @contender(name, "refold-async", "httpx", "httptools", uncertain=says_uncertain)
    async def opening(target: Target) -> AsyncIterator[Fire]:
        import refold_async

        async with client(target, **options(refold_async)) as opened:
            yield fire(opened)


_variant(NAME, lambda module: {})
_variant(with_option("limiter off"), lambda module: {"rate_limit": None})
_variant(with_option("account"), lambda module: {}, _for_account)
_variant(
    with_option("window, key, account"),
    lambda module: {"idempotency": module.Idempotency(header="Idempotency-Key")},
    _keyed,
)
_variant(with_option("hook"), lambda module: {"hooks": (lambda event: None,)})
_variant(with_option("before_send"), lambda module: {"before_send": lambda sending: None})
# For delivery: the explicit opt-in to sending again what may have fired, which others call retrying a POST; and a
# declared window, against a server that drops repeats of the key. For pacing: the documented limit.
_variant(
    with_option("retry_ambiguous=True"),
    lambda module: {"rate_limit": None, "retry": module.RetryPolicy(retry_ambiguous=True)},
)
_variant(
    with_option("declared window"),
    lambda module: {"rate_limit": None, "idempotency": module.Idempotency(header="Idempotency-Key")},
)
_variant(with_option("documented limit"), lambda module: {"rate_limit": module.RateLimit()})


def _batch(name: str, send: Callable[[Any, Iterator[Event], int], Awaitable[None]]) -> None:
    @contender(with_option(name), "refold-async", "httpx", "httptools", batch=True)
    async def opening(target: Target) -> AsyncIterator[Send]:
        async with client(target) as opened:
            yield partial(send, opened)


def _triggers(source: Iterator[Event]) -> Iterator[Any]:
    from refold_async import Trigger

    return (Trigger(event.slug, event.name, event.payload) for event in source)


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


for _way, _send in zip(BATCHES, (_many, _stream, _gather), strict=True):
    _batch(_way, _send)
