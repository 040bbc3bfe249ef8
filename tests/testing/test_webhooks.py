"""Webhooks that the mock delivers to a receiver."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from refold_async import webhooks
from refold_async.testing import MockRefold

EVENT = {"event": "Workflow Completed", "instance_id": "i-1", "workflow_id": "w-1", "status": "COMPLETED"}


class Receiver:
    """A server that keeps what it was sent, and answers with these statuses, the last one for good."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[str, bytes, dict[str, str]]] = []
        self.url = ""


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def make(*statuses: int) -> Receiver:
        kept = Receiver(*statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.received.append((self.command, body, {key.lower(): value for key, value in self.headers.items()}))
                self.send_response(kept.statuses.pop(0) if len(kept.statuses) > 1 else kept.statuses[0])
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = handle_any  # noqa: N815 - the names that the class looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        kept.url = f"http://127.0.0.1:{server.server_port}/hooks?x=1"
        return kept

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_delivery_is_signed_as_refold_signs(receiver: Callable[..., Receiver]) -> None:
    mock, target = MockRefold(), receiver(200)
    result = mock.deliver(target.url, EVENT).result()
    assert (result.delivered, result.statuses) == (True, (200,))
    [(method, body, headers)] = target.received
    assert (method, body) == ("POST", result.body)
    assert headers["x-cobalt-signature"] == webhooks.sign(body, mock.api_key)
    webhooks.verify(body, headers["x-cobalt-signature"], mock.api_key)
    event = webhooks.unwrap(body, headers, key=mock.api_key)
    assert event.raw == EVENT


def test_anything_but_200_is_delivered_again(receiver: Callable[..., Receiver]) -> None:
    target = receiver(500, 204, 200)
    assert MockRefold().deliver(target.url, EVENT, backoff=0).result().statuses == (500, 204, 200)
    target = receiver(302)
    result = MockRefold().deliver(target.url, EVENT, backoff=0, attempts=2, method="PUT").result()
    assert (result.delivered, result.statuses) == (False, (302, 302)), "a redirect is not followed"
    assert [method for method, _, _ in target.received] == ["PUT", "PUT"]


def test_a_receiver_that_is_away_is_no_error(receiver: Callable[..., Receiver]) -> None:
    result = MockRefold().deliver("http://127.0.0.1:1/hooks", EVENT, backoff=0, attempts=2).result()
    assert (result.delivered, result.statuses) == (False, (None, None))


def test_a_body_a_key_and_a_signature_can_be_chosen(receiver: Callable[..., Receiver]) -> None:
    target = receiver(200)
    MockRefold().deliver(target.url, b"not json", key="tk_other").result()
    MockRefold().deliver(target.url, b"{}", headers={"x-cobalt-signature": "forged"}).result()
    (_, body, first), (_, _, second) = target.received
    assert (body, first["x-cobalt-signature"]) == (b"not json", webhooks.sign(b"not json", "tk_other"))
    assert second["x-cobalt-signature"] == "forged"


def test_no_proxy_of_the_environment_is_used(
    receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert MockRefold().deliver(receiver(200).url, EVENT).result().delivered


@pytest.mark.anyio
async def test_a_delivery_can_be_awaited_on_any_loop(receiver: Callable[..., Receiver]) -> None:
    assert (await MockRefold().deliver(receiver(200).url, EVENT)).delivered


@pytest.mark.asyncio
async def test_a_receiver_in_the_same_event_loop_is_reached() -> None:
    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        assert (await MockRefold().deliver(url, EVENT)).delivered
