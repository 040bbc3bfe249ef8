"""A verdict rests on the exchange that carried the trigger, not on requests that hooks or auth flows make beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from refold_async import Delivery, Receipt, RefoldClient, RefoldError
from refold_async.testing import Fault, MockRefold
from tests.fakes.server import hang_up, serving
from tests.support import QUICK, abandons_sockets, ending
from tests.wire.wire import state_of, turns, until

pytestmark = pytest.mark.asyncio

ACCEPTED, REJECTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0.01\r\nContent-Length: 0\r\n\r\n"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
FINE = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"token":"t-1234"}'


@asynccontextmanager
async def client_with(server: MockRefold, **session: Any) -> AsyncIterator[RefoldClient]:
    """Yield a client over a session of the user's own."""
    async with httpx.AsyncClient(**session) as given:
        async with server.client(rate_limit=None, retry=QUICK, http_client=given) as client:
            yield client


@pytest.mark.parametrize("answer", [BUSY, DENIED, BROKEN, hang_up], ids=["503", "401", "500", "hang-up"])
@pytest.mark.parametrize("same_session", [True, False])
async def test_a_response_hook_whose_own_request_fails_does_not_undo_the_200(
    server: MockRefold, answer: Any, same_session: bool
) -> None:
    async with serving(answer) as audit:

        async def report(response: httpx.Response) -> None:
            if response.request.url.host == "127.0.0.1" and str(response.request.url).startswith(server.url):
                if same_session:
                    (await client.session.post(audit.url)).raise_for_status()
                else:
                    async with httpx.AsyncClient() as other:
                        (await other.post(audit.url)).raise_for_status()
            elif response.status_code >= 400:
                response.raise_for_status()

        async with client_with(server, event_hooks={"response": [report]}) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is ACCEPTED
    assert server.ledger.fired_count(id=1) == 1


async def test_a_response_hook_whose_own_request_succeeds_does_not_turn_a_rejection_into_a_success(
    server: MockRefold,
) -> None:
    server.plan(lambda entry: Fault.answer(404))
    async with serving() as audit:

        async def report(response: httpx.Response) -> None:
            if str(response.request.url).startswith(server.url):
                await client.session.post(audit.url)

        async with client_with(server, event_hooks={"response": [report]}) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, RefoldError)
    assert (got.delivery, got.attempts) == (REJECTED, 1)


@pytest.mark.parametrize("answer", [BUSY, DENIED, BROKEN, hang_up], ids=["503", "401", "500", "hang-up"])
async def test_a_request_hook_that_fails_before_the_trigger_is_written_means_not_sent(
    server: MockRefold, answer: Any
) -> None:
    async with serving(answer) as audit:

        async def announce(request: httpx.Request) -> None:
            if str(request.url).startswith(server.url):
                (await client.session.post(audit.url)).raise_for_status()

        async with client_with(server, event_hooks={"request": [announce]}) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT
    assert server.ledger.requests == 0


async def test_a_request_hook_whose_own_request_succeeds_is_not_evidence_that_the_trigger_was_sent(
    server: MockRefold,
) -> None:
    async with serving() as audit:

        async def announce(request: httpx.Request) -> None:
            if str(request.url).startswith(server.url):
                await client.session.post(audit.url)

        async with client_with(server, event_hooks={"request": [announce]}) as client:
            server.refuse()
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT


class Again(httpx.Auth):
    """Sends the same request once more where the first answer has one of these statuses."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = statuses

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code in self.statuses:
            yield request


async def test_each_leg_of_an_auth_flow_that_carries_the_trigger_counts_as_an_attempt(server: MockRefold) -> None:
    server.next(Fault.answer(401), None)
    async with client_with(server, auth=Again(401)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, Receipt)
    assert (got.attempts, got.after_ambiguous) == (2, False)


async def test_a_500_on_one_leg_of_an_auth_flow_and_a_401_on_the_next_is_ambiguous(server: MockRefold) -> None:
    server.next(Fault.answer(500, fires=True), Fault.answer(401))
    async with client_with(server, auth=Again(500)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, RefoldError)
    assert (got.delivery, got.safe_to_resend) == (AMBIGUOUS, False)
    assert server.ledger.fired_count(id=1) == 1


async def test_a_success_after_a_500_on_an_earlier_leg_of_an_auth_flow_is_marked(server: MockRefold) -> None:
    server.next(Fault.answer(500, fires=True), None)
    async with client_with(server, auth=Again(500)) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert isinstance(got, Receipt)
    assert got.after_ambiguous


async def test_a_second_leg_that_cannot_connect_does_not_hide_what_the_first_may_have_fired(
    server: MockRefold,
) -> None:
    """Both legs carry the trigger: 500 (it fired), then a refused connection."""

    class Elsewhere(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            yield request
            server.refuse()
            yield request

    server.next(Fault.answer(500, fires=True, headers={"Connection": "close"}))
    async with client_with(server, auth=Elsewhere()) as client:
        got = await ending(client.trigger("slack", "E", {"id": 1}, retry=None))
    assert got.delivery is AMBIGUOUS


class Token(httpx.Auth):
    """Fetches a token before it sends the request, as OAuth does; ends the flow where none is given."""

    def __init__(self, url: str, *, goes_on: bool) -> None:
        self.url = url
        self.goes_on = goes_on

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        response = yield httpx.Request("POST", self.url)
        if response.status_code != 200 and not self.goes_on:
            return
        request.headers["X-Token"] = "t"
        yield request


@pytest.mark.parametrize("answer", [BUSY, DENIED, BROKEN, hang_up], ids=["503", "401", "500", "hang-up"])
async def test_an_auth_flow_that_ends_before_its_token_came_has_sent_nothing(server: MockRefold, answer: Any) -> None:
    async with serving(answer) as issuer:
        async with client_with(server, auth=Token(issuer.url, goes_on=False)) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT
    assert server.ledger.requests == 0


async def test_an_auth_flow_whose_token_request_ends_the_flow_with_a_200_has_sent_nothing(server: MockRefold) -> None:
    class OnlyToken(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            yield httpx.Request("POST", issuer.url)

    async with serving(FINE) as issuer:
        async with client_with(server, auth=OnlyToken()) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT
    assert server.ledger.requests == 0


async def test_a_token_that_came_is_not_evidence_that_the_trigger_was_sent(server: MockRefold) -> None:
    async with serving(FINE) as issuer:
        async with client_with(server, auth=Token(issuer.url, goes_on=True)) as client:
            server.refuse()
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert got.delivery is NOT_SENT


async def test_a_token_service_that_failed_does_not_speak_for_the_trigger_that_went_out_all_the_same(
    server: MockRefold,
) -> None:
    server.plan(lambda entry: Fault.close_after_firing())
    async with serving(BUSY) as issuer:
        async with client_with(server, auth=Token(issuer.url, goes_on=True)) as client:
            got = await ending(client.trigger("slack", "E", {"id": 1}))
    assert (got.delivery, got.attempts) == (AMBIGUOUS, 1)
    assert server.ledger.fired_count(id=1) == 1


@abandons_sockets
async def test_a_token_request_that_is_cancelled_at_any_time_leaves_nothing_in_the_pool(server: MockRefold) -> None:
    """Also where the cancellation comes again while it is being cleaned up."""
    async with serving(FINE) as issuer:
        async with client_with(server, auth=Token(issuer.url, goes_on=True)) as client:
            await client.trigger("slack", "E", {"id": 0})
            for passed in range(60):
                for again in (1, 2, 3):
                    call = asyncio.ensure_future(client.trigger("slack", "E", {"id": 1}))
                    await turns(passed)
                    call.cancel()
                    await turns(again)
                    call.cancel()
                    await asyncio.gather(call, return_exceptions=True)
            assert await until(lambda: state_of(client.session._transport).active == 0, within=2.0)
            assert client._sender.life.slots is not None
            assert client._sender.life.slots.available == 50
