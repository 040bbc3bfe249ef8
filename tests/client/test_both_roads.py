"""Watched or not, a client sends the same bytes, and keeps nothing of one customer's answer for the next."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from refold_async import Delivery, Idempotency, RefoldClient, RefoldError, Trigger, UnexpectedResponseError
from refold_async.hooks import HookEvent
from refold_async.testing import Fault, MockRefold
from tests.fakes.server import FIRED_ANSWER, once, serving
from tests.fakes.transport import FIRED
from tests.support import QUICK, ending

pytestmark = pytest.mark.asyncio

COOKIE = FIRED_ANSWER.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=of-customer-1; Path=/\r\n\r\n", 1)


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    yield


@contextlib.contextmanager
def send_wrapped() -> Iterator[None]:
    """Wrap `AsyncClient.send`, as error trackers do."""
    original = httpx.AsyncClient.send

    @functools.wraps(original)
    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        return await original(self, request, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "send", send)
        yield


@contextlib.contextmanager
def transport_wrapped() -> Iterator[None]:
    """Wrap `AsyncHTTPTransport.handle_async_request`, as tracers do."""
    original = httpx.AsyncHTTPTransport.handle_async_request

    @functools.wraps(original)
    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return await original(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
        yield


WATCHERS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "unwatched": unwatched,
    "send wrapped": send_wrapped,
    "transport wrapped": transport_wrapped,
}


async def exercise(client: RefoldClient) -> None:
    """Send for two customers, in every form that there is, over a connection that is kept."""
    await client.trigger("slack", "E", {"n": 1}, linked_account_id="customer-1", idempotency_key="k-1")
    await client.trigger("slack", "E", {"n": 2}, linked_account_id="customer-2", idempotency_key="k-2")
    view = client.for_account("customer-3", config_id="c")
    await view.trigger("pipedrive", "Deal Created", {"n": "ü"}, instance_tag="t", idempotency_key="k-3")
    await client.trigger_many([Trigger("slack", "E", {"n": 4}, idempotency_key="k-4")], max_concurrency=1)
    await client.trigger("slack", "E", idempotency_key="k-5", timeout=None)


async def sent_by(options: dict[str, Any], before: Any = unwatched, after: Any = unwatched) -> list[bytes]:
    """Record what is sent; the watcher is installed before the client is made, or once it was used."""
    async with serving(COOKIE) as server:
        url = f"http://refold.test:{server.url.rsplit(':', 1)[1]}"
        with before():
            async with RefoldClient(
                api_key="tk_1", linked_account_id="a", base_url=server.url, rate_limit=None, retry=QUICK, **options
            ) as client:
                await exercise(client)
                with after():
                    await exercise(client)
    port = url.rsplit(":", 1)[1].encode()
    return [request.replace(port, b"PORT") for request in server.requests]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize(
    "options",
    [{}, {"hooks": [lambda event: None]}, {"transport": "httpx"}, {"idempotency": Idempotency(header="X-Key")}],
    ids=["plain", "hooked", "stock", "declared"],
)
async def test_the_same_bytes_are_sent_watched_or_not(options: dict[str, Any], watcher: str, when: str) -> None:
    plain = await sent_by({name: value for name, value in options.items() if name == "idempotency"})
    assert len(plain) == 10
    assert await sent_by(options, **{when: WATCHERS[watcher]}) == plain


@pytest.mark.parametrize("watcher", WATCHERS)
async def test_a_cookie_that_one_answer_set_goes_out_with_no_other_call(watcher: str) -> None:
    with WATCHERS[watcher]():
        requests = await sent_by({})
    assert [request for request in requests if b"cookie" in request.lower()] == []


async def test_a_cookie_set_for_one_call_of_the_session_does_not_travel_with_triggers() -> None:
    """`client.session` is there for other calls; what they bring home stays there."""
    async with serving(COOKIE) as server:
        async with RefoldClient(api_key="tk_1", linked_account_id="a", base_url=server.url, retry=None) as client:
            await client.session.get("/other")
            await client.trigger("slack", "E")
    assert b"cookie" not in server.requests[1].lower()


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize(
    "answer",
    [
        SWITCH,
        SWITCH + FIRED_ANSWER,
        b"HTTP/1.1 600 Who Knows\r\nContent-Length: 35\r\n\r\n" + FIRED,
        b"HTTP/1.1 999 Request Denied\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["101", "101 and more", "600", "999", "099"],
)
async def test_an_answer_that_is_not_one_is_ambiguous(answer: bytes, wire: Any) -> None:
    """An unasked-for 101, and statuses outside 200 to 599, say nothing of the event."""

    async with serving(once(answer)) as server:
        async with RefoldClient(
            api_key="tk_1", linked_account_id="a", base_url=server.url, retry=QUICK, timeout=1, transport=wire
        ) as client:
            got = await ending(client.trigger("slack", "E"))
    assert isinstance(got, RefoldError)
    assert (got.delivery, got.attempts) == (Delivery.AMBIGUOUS, 1)


@pytest.mark.parametrize(
    "fault",
    [Fault.answer(204, body=b""), Fault.answer(200, body=b""), Fault.answer(202, body=b"  "), Fault.answer(205)],
    ids=["204", "200", "202 and blanks", "205"],
)
async def test_a_success_without_a_body_is_not_refolds(server: MockRefold, fault: Fault) -> None:
    server.plan(lambda entry: fault)
    async with server.client(rate_limit=None, retry=QUICK, timeout=1) as client:
        got = await ending(client.trigger("slack", "E"))
    if fault.status == 205:  # the mock's own body, which a 205 must not have, but which is Refold's all the same
        return
    assert isinstance(got, UnexpectedResponseError)
    assert (got.delivery, got.attempts) == (Delivery.AMBIGUOUS, 1)


class Customer:
    """Something of one request that must not outlive it."""


current: contextvars.ContextVar[Customer | None] = contextvars.ContextVar("current", default=None)


async def test_a_kept_connection_keeps_no_context_of_the_request_that_opened_it(server: MockRefold) -> None:
    async def fire_for_a_customer() -> weakref.ref[Customer]:
        customer = Customer()
        current.set(customer)
        await client.trigger("slack", "E")
        return weakref.ref(customer)

    async with server.client(rate_limit=None) as client:
        kept = await asyncio.create_task(fire_for_a_customer())
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()
        assert server.open_connections == 1
        assert kept() is None


async def test_hooks_run_in_the_context_of_their_own_call(server: MockRefold) -> None:
    seen: list[tuple[int, Customer | None]] = []

    def hook(event: HookEvent) -> None:
        trigger = event.trigger
        assert trigger is not None
        assert trigger.payload is not None
        seen.append((trigger.payload["n"], current.get()))

    customers = [Customer() for _ in range(4)]

    async def fire(n: int) -> None:
        current.set(customers[n])
        await client.trigger("slack", "E", {"n": n})

    async with server.client(rate_limit=None, max_connections=1, hooks=[hook]) as client:
        await asyncio.gather(*(asyncio.create_task(fire(n)) for n in range(4)))
    assert all(customer is customers[n] for n, customer in seen)
    assert {n for n, _ in seen} == {0, 1, 2, 3}
