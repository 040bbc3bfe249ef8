"""The session underneath: ours or the caller's, watched, mocked or behind a proxy."""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Any, cast

import httpx
import pytest
import respx

from refold_async import ConfigurationError, Delivery, NotFoundError, RefoldClient, RefoldConnectionError
from refold_async.testing import Fault, MockRefold
from refold_async.transports import PoolTransport
from tests.fakes.server import FIRED_ANSWER, hang_up, once, serving
from tests.fakes.transport import FakeTransport, fired

pytestmark = pytest.mark.asyncio

URL = "https://app.refold.ai/api/v2/public/event/slack"


async def test_respx_with_default_settings_intercepts_a_default_client() -> None:
    async with RefoldClient(api_key="tk_1", linked_account_id="a") as client:
        with respx.mock as router:
            route = router.post(URL).mock(side_effect=[fired(), httpx.Response(404), httpx.ConnectError])
            assert (await client.trigger("slack", "E", {"a": 1})).delivery is Delivery.ACCEPTED
            with pytest.raises(NotFoundError):
                await client.trigger("slack", "E")
            with pytest.raises(RefoldConnectionError) as caught:
                await client.trigger("slack", "E", retry=None)
        assert caught.value.delivery is Delivery.NOT_SENT
        assert route.call_count == 3
        sent = route.calls[0].request
        assert sent.content == b'{"event":"E","payload":{"a":1}}'
        assert sent.headers["x-api-key"] == "tk_1"


@pytest.mark.parametrize("using", ["httpx", "httpcore"])
async def test_respx_before_the_client_is_made(using: str) -> None:
    with respx.mock(using=using, base_url="https://app.refold.ai") as router:
        route = router.post(path__regex="/event/").mock(return_value=fired())
        async with RefoldClient(api_key="tk_1", linked_account_id="a") as client:
            await client.trigger("slack", "E")
        assert route.called


async def test_a_mock_transport_takes_the_place_of_the_wire() -> None:
    transport = FakeTransport.answering(fired())
    seen = transport.requests
    async with RefoldClient(api_key="tk_1", linked_account_id="a", transport=transport) as client:
        await client.trigger("slack", "E")
    assert [str(request.url) for request in seen] == [URL]


async def test_a_wrapper_around_send_sees_each_request(monkeypatch: pytest.MonkeyPatch, server: MockRefold) -> None:
    """As error trackers and tracers install it."""
    seen: list[str] = []
    original = httpx.AsyncClient.send

    @functools.wraps(original)
    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        seen.append(str(request.url))
        return await original(self, request, **options)

    server.next(Fault.throttle("0"), None)
    async with server.client(rate_limit=None) as client:
        await client.trigger("pipedrive", "Deal Created")
        assert not seen
        monkeypatch.setattr(httpx.AsyncClient, "send", send)
        server.next(Fault.throttle("0"), None)
        await client.trigger("pipedrive", "Deal Created")
    assert len(seen) == 2, "each attempt is seen"


async def test_a_replaced_transport_method_has_no_evidence_and_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("cut")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    async with RefoldClient(api_key="tk_1", linked_account_id="a") as client:
        with pytest.raises(RefoldConnectionError) as caught:
            await client.trigger("slack", "E")
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.AMBIGUOUS, 1)


async def test_the_callers_session_with_hooks_auth_and_headers(server: MockRefold) -> None:
    seen: list[tuple[str, int]] = []

    async def before(request: httpx.Request) -> None:
        seen.append((request.method, 0))

    async def after(response: httpx.Response) -> None:
        await response.aread()
        seen.append(("answer", response.status_code))

    hooks: dict[str, Any] = {"request": [before], "response": [after]}
    async with httpx.AsyncClient(
        event_hooks=hooks, headers={"X-Team": "sales", "Accept": "text/html"}, params={"q": "1"}, cookies={"c": "1"}
    ) as session:
        async with server.client(http_client=session, rate_limit=None) as client:
            server.next(Fault.throttle("0"), None)
            receipt = await client.trigger("pipedrive", "Deal Created", {"id": 1})
    assert receipt.message == "Webhook Fired Success"
    assert seen == [("POST", 0), ("answer", 429), ("POST", 0), ("answer", 200)]
    entry = server.ledger.entries[-1]
    assert (entry.header("x-team"), entry.header("accept"), entry.header("cookie")) == (
        "sales", "application/json", "c=1"
    )  # fmt: skip
    assert [name for name, _ in entry.headers].count("content-length") <= 1
    assert entry.payload == {"id": 1}


async def test_the_callers_auth_holds(server: MockRefold) -> None:
    async with httpx.AsyncClient(auth=("user", "pass")) as session:
        async with server.client(http_client=session) as client:
            await client.trigger("pipedrive", "Deal Created")
    assert (server.ledger.entries[0].header("authorization") or "").startswith("Basic ")


async def test_redirects_stay_off_even_where_the_session_follows_them() -> None:
    answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with serving(answer) as server:
        async with httpx.AsyncClient(follow_redirects=True) as session:
            async with RefoldClient(
                api_key="tk_1", linked_account_id="a", base_url=server.url, http_client=session
            ) as client:
                with pytest.raises(Exception, match="redirects are not followed") as caught:
                    await client.trigger("slack", "E")
        assert len(server.requests) == 1
    assert caught.value.delivery is Delivery.REJECTED  # type: ignore[attr-defined]


async def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with RefoldClient(api_key="tk_1", linked_account_id="a", base_url="http://refold.test") as client:
            await client.trigger("slack", "E")
    assert proxy.requests[0].startswith(b"POST http://refold.test/api/v2/public/event/slack HTTP/1.1\r\n")


async def test_a_proxy_that_tunnels_is_no_evidence_of_sending() -> None:
    """A CONNECT carries nothing of ours: what fails after it has not been sent."""

    refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    drop_in_handshake = once(b"HTTP/1.1 200 Connection established\r\n\r\n")
    for script in (refusal, hang_up, drop_in_handshake):
        async with serving(script) as proxy:
            async with RefoldClient(
                api_key="tk_1", linked_account_id="a", base_url="https://refold.test", proxy=proxy.url, retry=None
            ) as client:
                with pytest.raises(RefoldConnectionError) as caught:
                    await client.trigger("slack", "E")
        assert caught.value.delivery is Delivery.NOT_SENT
        assert b"tk_1" not in b"".join(proxy.requests)


async def test_the_session_is_there_for_other_calls_and_carries_no_credential(server: MockRefold) -> None:
    async with server.client() as client:
        assert isinstance(client.session, httpx.AsyncClient)
        response = await client.session.get("/api/v2/public/event/slack")
    assert response.status_code == 405
    assert server.ledger.entries[0].header("x-api-key") is None


async def test_a_users_own_trace_is_called_too() -> None:
    names: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        names.append(name)

    async def add_trace(request: httpx.Request) -> None:
        request.extensions["trace"] = trace

    async with serving(FIRED_ANSWER) as server:
        async with httpx.AsyncClient(event_hooks={"request": [add_trace]}) as session:
            async with RefoldClient(
                api_key="tk_1", linked_account_id="a", base_url=server.url, http_client=session
            ) as client:
                await client.trigger("slack", "E")
    assert "http11.send_request_headers.complete" in names


def wire_of(client: RefoldClient) -> type:
    return type(client.session._transport)


async def test_the_wire_is_our_own_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"api_key": "tk_1", "linked_account_id": "a"}
    assert wire_of(RefoldClient(**options)) is PoolTransport
    assert wire_of(RefoldClient(**options, transport="httpx")) is httpx.AsyncHTTPTransport
    monkeypatch.setenv("REFOLD_TRANSPORT", "httpx")
    assert wire_of(RefoldClient(**options)) is httpx.AsyncHTTPTransport
    assert wire_of(RefoldClient(**options, transport="pool")) is PoolTransport, "the argument beats the environment"
    own = httpx.MockTransport(lambda request: fired())
    assert RefoldClient(**options, transport=own).session._transport is own
    monkeypatch.setenv("REFOLD_TRANSPORT", "carrier pigeon")
    with pytest.raises(ConfigurationError, match="REFOLD_TRANSPORT must be pool or httpx"):
        RefoldClient(**options)
    with pytest.raises(ConfigurationError, match="transport must be"):
        RefoldClient(**options, transport=cast("Any", 42))


async def test_both_wires_send_the_same(server: MockRefold) -> None:
    for wire in ("pool", "httpx"):
        async with server.client(transport=wire) as client:
            assert (await client.trigger("pipedrive", "Deal Created", {"n": 1})).attempts == 1
    first, second = ([*entry.headers, ("", entry.body.decode())] for entry in server.ledger.entries)
    assert first == second


async def test_a_proxy_of_the_environment_is_used_beside_our_wire(
    monkeypatch: pytest.MonkeyPatch, server: MockRefold
) -> None:
    """The mock stands in for a proxy: what reaches it names the whole URL."""
    monkeypatch.setenv("http_proxy", server.url)
    async with RefoldClient(
        api_key="tk_1", linked_account_id="a", base_url="http://refold.invalid", retry=None
    ) as client:
        with pytest.raises(NotFoundError):
            await client.trigger("slack", "E")
        assert wire_of(client) is PoolTransport
    assert server.ledger.entries[0].path.startswith("http://refold.invalid/")


WITHOUT_HTTPTOOLS = """
import asyncio, sys
sys.modules["httptools"] = None
from refold_async import RefoldClient
from refold_async.transports import PoolTransport

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 17\\r\\n\\r\\n{"message":"yes"}')
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    async with RefoldClient(api_key="k", linked_account_id="a", base_url=url, deadline=5) as client:
        assert type(client.session._transport) is PoolTransport
        print((await client.trigger("slack", "E")).delivery, client.session._transport)
    server.close()

asyncio.run(main())
"""


async def test_without_httptools_stock_httpx_serves() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT_HTTPTOOLS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    assert printed.decode().startswith("accepted <PoolTransport over stock httpx"), printed.decode()
