"""What httpx expects of a transport: its errors, and what it tells beside a response's content."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from tests.fakes.server import OK, Peer, answering, once, serving
from tests.wire.conftest import MakeTransport
from tests.wire.wire import NOTHING, exchange, outcome, request_of, settled

pytestmark = pytest.mark.anyio


def test_the_pool_transport_is_an_httpx_transport(make_transport: MakeTransport) -> None:
    assert isinstance(make_transport(), httpx.AsyncHTTPTransport)


async def test_refused_is_a_connect_error(transport: httpx.AsyncHTTPTransport) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert type(await outcome(transport, request_of(url))) is httpx.ConnectError
    assert await settled(transport, NOTHING) == NOTHING


async def test_an_unknown_name_is_a_connect_error(
    transport: httpx.AsyncHTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", unknown, raising=False)
    assert type(await outcome(transport, request_of("http://nowhere.invalid/"))) is httpx.ConnectError


@pytest.mark.parametrize("scheme", ["ftp", "gopher"])
async def test_another_scheme_is_unsupported(transport: httpx.AsyncHTTPTransport, scheme: str) -> None:
    assert type(await outcome(transport, request_of(f"{scheme}://127.0.0.1/"))) is httpx.UnsupportedProtocol


async def test_errors_come_out_of_a_client_with_their_request(make_transport: MakeTransport) -> None:
    async with serving(once(b"garbage\r\n\r\n")) as server, httpx.AsyncClient(transport=make_transport()) as session:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await session.get(server.url)
        assert caught.value.request.url == server.url


async def test_what_the_response_tells_beside_its_content(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(once(b"HTTP/1.0 299 Quite  Fine\r\nContent-Length: 0\r\n\r\n")) as server:
        response = await transport.handle_async_request(request_of(server.url))
        assert response.extensions["http_version"] == b"HTTP/1.0"
        assert response.extensions["reason_phrase"] == b"Quite  Fine"
        assert (response.http_version, response.reason_phrase) == ("HTTP/1.0", "Quite  Fine")
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("ssl_object") is None
        assert stream.get_extra_info("nonsense") is None
        await response.aclose()


async def test_headers_of_an_answer_keep_order_case_and_repeats(make_transport: MakeTransport) -> None:
    transport = make_transport()
    headers = [
        (b"SET-cookie", b"a=1"),
        (b"X-Y", b"\xe9"),
        (b"Set-Cookie", b"b=2"),
        (b"content-length", b"0"),
        (b"E", b""),
    ]
    wire = b"HTTP/1.1 200 OK\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"
    async with serving(once(wire, close=False)) as server:
        assert (await exchange(transport, request_of(server.url))).headers == headers


async def test_an_upgrade_hands_over_the_connection(make_transport: MakeTransport) -> None:
    """Stock httpx does it, and its stream can be read and written."""
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        await peer.send(await peer.read())

    async with serving(script) as server:
        headers = [("Upgrade", "echo"), ("Connection", "upgrade")]
        response = await transport.handle_async_request(request_of(server.url, headers=headers))
        assert response.status_code == 101
        stream = response.extensions["network_stream"]
        await stream.write(b"over")
        assert await stream.read(10) == b"over"
        await response.aclose()


async def test_a_trace_extension_is_told_everything(make_transport: MakeTransport) -> None:
    transport = make_transport()
    told: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append(name)

    async with serving(answering(OK)) as server:
        assert (await exchange(transport, request_of(server.url, trace=trace))).body == b"hello"
    assert "connection.connect_tcp.complete" in told
    assert "http11.send_request_headers.complete" in told
    assert "http11.receive_response_headers.complete" in told
