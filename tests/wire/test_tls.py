"""TLS: what is trusted, what is presented, and what breaks off."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.fakes.server import OK, Peer, answering, serving
from tests.wire.conftest import MakeTransport, needs_ours
from tests.wire.wire import NOTHING, ONE_IDLE, exchange, outcome, request_of, settled

pytestmark = pytest.mark.anyio


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
