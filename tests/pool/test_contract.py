"""What httpx expects of a transport: timeouts, extensions, errors, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from .conftest import MakeTransport, needs_ours
from .servers import OK, Peer, answering, once, serving
from .wire import GUARD, NOTHING, ONE_IDLE, Answer, exchange, outcome, request_of, settled, state_of

pytestmark = pytest.mark.anyio


def test_it_is_an_httpx_transport(make_transport: MakeTransport) -> None:
    assert isinstance(make_transport(), httpx.AsyncHTTPTransport)


# Timeouts.


async def silent(peer: Peer) -> None:
    await peer.gone()


async def test_connect_timeout(transport: httpx.AsyncHTTPTransport, full_port: int) -> None:
    timeout = {"connect": 0.1, "read": GUARD, "write": GUARD, "pool": GUARD}
    ending = await outcome(transport, request_of(f"http://127.0.0.1:{full_port}", timeout=timeout))
    assert type(ending) is httpx.ConnectTimeout
    assert await settled(transport, NOTHING) == NOTHING


async def test_a_handshake_has_the_connect_timeout(transport: httpx.AsyncHTTPTransport) -> None:
    timeout = {"connect": 0.1, "read": GUARD, "write": GUARD, "pool": GUARD}
    async with serving(silent) as server:
        ending = await outcome(transport, request_of(server.url.replace("http:", "https:"), timeout=timeout))
        assert type(ending) is httpx.ConnectTimeout
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()


async def test_read_timeout(transport: httpx.AsyncHTTPTransport) -> None:
    timeout = {"connect": GUARD, "read": 0.1, "write": GUARD, "pool": GUARD}
    async with serving(silent) as server:
        assert type(await outcome(transport, request_of(server.url, timeout=timeout))) is httpx.ReadTimeout
        assert await settled(transport, NOTHING) == NOTHING
        await server.emptied()


@pytest.mark.parametrize("part", ["informational", "head", "body"])
async def test_the_read_timeout_is_for_each_read(make_transport: MakeTransport, part: str) -> None:
    """What keeps coming does not time out, however long it takes."""
    transport = make_transport()
    pieces = {
        "informational": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 6 + [OK],
        "head": [b"HTTP/1.1 ", b"200 OK\r\n", b"X: 1\r\n", b"Y: ", b"2\r\n", b"Content-Length: 5\r\n", b"\r\nhello"],
        "body": [OK[:-5], b"h", b"e", b"l", b"l", b"o"],
    }[part]

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await asyncio.sleep(0.05)
            await peer.send(piece)
        await peer.gone()

    async with serving(script) as server:
        timeout = {"connect": GUARD, "read": 0.15, "write": GUARD, "pool": GUARD}
        assert (await exchange(transport, request_of(server.url, timeout=timeout))).body == b"hello"


async def test_the_body_stalls(make_transport: MakeTransport) -> None:
    transport = make_transport()
    async with serving(once(OK[:-2], close=False)) as server:
        response = await transport.handle_async_request(request_of(server.url, timeout=0.1))
        assert response.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            await response.aread()
        with pytest.raises(httpx.TransportError):
            await anext(aiter(response.stream))  # type: ignore[arg-type]
        await response.aclose()
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("missing", ["connect", "read", "write", "pool"])
async def test_each_timeout_may_be_missing_or_none(make_transport: MakeTransport, missing: str) -> None:
    transport = make_transport(limits=httpx.Limits(max_connections=1))
    full = dict.fromkeys(["connect", "read", "write", "pool"], 1.0)
    async with serving(answering(OK)) as server:
        for timeout in (
            {name: value for name, value in full.items() if name != missing},
            {**full, missing: None},
            dict.fromkeys(full, None),
            {missing: 1.0},
            {},
        ):
            request = request_of(server.url, method="POST", content=b"x" * 100_000, timeout=timeout)
            both = await asyncio.gather(exchange(transport, request), exchange(transport, request))
            assert [answer.body for answer in both] == [b"hello"] * 2
        request = httpx.Request("GET", server.url)
        assert "timeout" not in request.extensions
        assert (await exchange(transport, request)).body == b"hello"


async def test_a_timeout_of_one_request_is_none_of_the_next(make_transport: MakeTransport) -> None:
    """On the same connection, a short one first, then a long one, then none."""
    transport = make_transport()
    pauses = iter([0.0, 0.15, 0.15, 0.0])

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(next(pauses))
            await peer.send(OK)

    async with serving(script) as server:
        for timeout in (0.1, 1.0, None, 0.1):
            assert (await exchange(transport, request_of(server.url, timeout=timeout))).body == b"hello"
    assert len(server.peers) == 1


# Errors.


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


# Extensions.


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


# TLS.


async def test_over_tls(make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    transport = make_transport(verify=client_tls)
    async with serving(answering(OK), tls=server_tls) as server:
        for _ in range(3):
            assert (await exchange(transport, request_of(server.url))).body == b"hello"
        response = await transport.handle_async_request(request_of(server.url))
        secured = response.extensions["network_stream"].get_extra_info("ssl_object")
        assert secured.version().startswith("TLS")
        await response.aread()
        await response.aclose()
        assert await settled(transport, ONE_IDLE) == ONE_IDLE
    assert len(server.peers) == 1


async def test_an_unknown_authority_is_a_connect_error(
    make_transport: MakeTransport, server_tls: ssl.SSLContext
) -> None:
    transport = make_transport()
    async with serving(answering(OK), tls=server_tls) as server:
        ending = await outcome(transport, request_of(server.url))
        assert type(ending) is httpx.ConnectError
        assert await settled(transport, NOTHING) == NOTHING
        assert server.requests == []


async def test_another_host_in_the_certificate_is_a_connect_error(
    make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    transport = make_transport(verify=client_tls)
    async with serving(answering(OK), tls=server_tls) as server:
        ending = await outcome(transport, request_of(server.url, sni_hostname="other.test"))
        assert type(ending) is httpx.ConnectError
        assert server.requests == []


async def test_sni_hostname_is_presented_and_checked(
    make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    transport = make_transport(verify=client_tls)
    names: list[str | None] = []
    server_tls.sni_callback = lambda sock, name, context: names.append(name)
    async with serving(answering(OK), tls=server_tls) as server:
        for _ in range(2):
            assert (await exchange(transport, request_of(server.url, sni_hostname="sni.test"))).body == b"hello"
        assert names == ["sni.test"]


@needs_ours
async def test_connections_for_different_names_are_not_shared(
    make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    transport = make_transport(verify=client_tls)
    async with serving(answering(OK), tls=server_tls) as server:
        await exchange(transport, request_of(server.url, sni_hostname="sni.test"))
        assert type(await outcome(transport, request_of(server.url, sni_hostname="other.test"))) is httpx.ConnectError


async def test_a_file_of_authorities_and_a_client_certificate(
    make_transport: MakeTransport, authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.configure_trust(server_tls)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue_cert("client.test")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with serving(answering(OK), tls=server_tls) as server:
        without = await outcome(make_transport(verify=context), request_of(server.url))
        assert isinstance(without, httpx.TransportError)
        context.load_cert_chain(str(tmp_path / "own.pem"))
        assert (await exchange(make_transport(verify=context), request_of(server.url))).body == b"hello"


async def test_verification_can_be_turned_off(make_transport: MakeTransport, server_tls: ssl.SSLContext) -> None:
    async with serving(answering(OK), tls=server_tls) as server:
        assert (await exchange(make_transport(verify=False), request_of(server.url))).body == b"hello"


async def test_a_server_that_breaks_off_the_handshake(make_transport: MakeTransport) -> None:
    transport = make_transport()

    async def script(peer: Peer) -> None:
        await peer.read(1)

    async with serving(script) as server:
        ending = await outcome(transport, request_of(server.url.replace("http:", "https:")))
        assert type(ending) is httpx.ConnectError
        assert await settled(transport, NOTHING) == NOTHING


@pytest.mark.parametrize("cut", [0, 20, 40])
async def test_tls_broken_off_in_mid_answer(
    make_transport: MakeTransport, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, cut: int
) -> None:
    transport = make_transport(verify=client_tls)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:cut])
        peer.reset()

    async with serving(script, tls=server_tls) as server:
        ending = await outcome(transport, request_of(server.url))
        assert isinstance(ending, httpx.RemoteProtocolError | httpx.ReadError), ending
        assert await settled(transport, NOTHING) == NOTHING


# The event loop.


async def test_local_address_and_socket_options(make_transport: MakeTransport) -> None:
    transport = make_transport(local_address="127.0.0.2", socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)])
    async with serving(answering(OK)) as server:
        response = await transport.handle_async_request(request_of(server.url))
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"
        assert stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await response.aread()
        await response.aclose()
        assert state_of(transport) == ONE_IDLE


async def test_name_lookup_gives_several_addresses(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them leads nowhere: the next one is tried."""
    transport = make_transport()
    async with serving(answering(OK)) as server:
        infos = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.3", server.port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]

        kind = type(asyncio.get_running_loop())
        original = kind.getaddrinfo

        async def lookup(loop: Any, host: str, *args: Any, **kwargs: Any) -> Any:
            return infos if host == "several.test" else await original(loop, host, *args, **kwargs)

        monkeypatch.setattr(kind, "getaddrinfo", lookup)
        ending = await outcome(transport, request_of(f"http://several.test:{server.port}/"))
        assert isinstance(ending, Answer), ending
        assert state_of(transport) == ONE_IDLE
