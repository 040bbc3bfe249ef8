"""The verdict of every ending, held against what the server really did."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from typing import Any

import anyio
import httpx
import pytest

from refold_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DeadlineExceededError,
    Delivery,
    Idempotency,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefoldClient,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
    RetryPolicy,
    ServerError,
    UnexpectedResponseError,
)
from refold_async.hooks import CallFinished
from refold_async.testing import Fault, MockRefold
from tests.fakes.server import Peer, serving
from tests.fakes.transport import FIRED, FakeTransport, fired
from tests.support import QUICK, timeout_for

pytestmark = pytest.mark.asyncio

ACCEPTED, REJECTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS


HALF = httpx.Timeout(20.0, read=0.5)


async def refused(client: RefoldClient, **options: Any) -> RefoldError:
    """Fire, and give the error."""
    with pytest.raises(RefoldError) as caught:
        await client.trigger("pipedrive", "Deal Created", {"id": 1}, **options)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "error", "verdict", "attempts"),
    [
        (Fault.reset_before_reading(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.close_before_firing(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.reset_after_firing(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.close_after_firing(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.truncate_head(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.garbage(), RefoldConnectionError, AMBIGUOUS, 1),
        (Fault.stall_head(), RefoldTimeoutError, AMBIGUOUS, 1),
        (Fault.stall_head(fires=False), RefoldTimeoutError, AMBIGUOUS, 1),
        (Fault.not_json(), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b""), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b"[1]"), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b'{"message":'), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b"\xff\xfe{}"), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b"[" * 100_000), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.not_json(b"x", headers={"Content-Encoding": "br"}), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.corrupt_gzip(), UnexpectedResponseError, AMBIGUOUS, 1),
        (Fault.html_502(), ServerError, AMBIGUOUS, 1),
        (Fault.answer(500), ServerError, AMBIGUOUS, 1),
        (Fault.answer(503), ServerError, AMBIGUOUS, 1),
        (Fault.answer(503, headers={"Retry-After": "soon"}), ServerError, AMBIGUOUS, 1),
        (Fault.answer(504), ServerError, AMBIGUOUS, 1),
        (Fault.answer(599), ServerError, AMBIGUOUS, 1),
        (Fault.answer(408), APIError, AMBIGUOUS, 1),
        (Fault.answer(302, headers={"Location": "http://127.0.0.1:1/"}), APIError, REJECTED, 1),
        (Fault.answer(400), BadRequestError, REJECTED, 1),
        (Fault.answer(401), AuthenticationError, REJECTED, 1),
        (Fault.answer(403), PermissionDeniedError, REJECTED, 1),
        (Fault.answer(404), NotFoundError, REJECTED, 1),
        (Fault.answer(409), ConflictError, REJECTED, 1),
        (Fault.answer(422), APIError, REJECTED, 1),
        (Fault.answer(501), ServerError, REJECTED, 1),
        (Fault.answer(425), APIError, REJECTED, 2),
        (Fault.throttle("0"), RateLimitedError, REJECTED, 3),
        (Fault.answer(503, headers={"Retry-After": "0"}), ServerError, REJECTED, 3),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else str(getattr(value, "__name__", value)),
)
async def test_the_verdict_and_error_of_each_fault(
    server: MockRefold, fault: Fault, error: type[RefoldError], verdict: Delivery, attempts: int
) -> None:
    server.plan(lambda entry: fault)
    async with server.client(rate_limit=None, retry=QUICK, timeout=timeout_for(fault)) as client:
        got = await refused(client)
    assert (type(got), got.delivery, got.attempts) == (error, verdict, attempts)
    assert got.safe_to_resend is (verdict is REJECTED)
    assert got.trigger is not None
    assert got.trigger.payload == {"id": 1}
    assert server.ledger.fired_count(id=1) <= (verdict is AMBIGUOUS)
    assert {AMBIGUOUS: "may have fired", REJECTED: "did not fire"}[verdict] in str(got)


@pytest.mark.parametrize("fault", [Fault.truncate_body(), Fault.stall_body()], ids=lambda fault: fault.name)
async def test_a_success_whose_body_breaks_off_is_accepted(server: MockRefold, fault: Fault) -> None:
    server.next(fault)
    async with server.client(timeout=timeout_for(fault)) as client:
        receipt = await client.trigger("pipedrive", "Deal Created", {"id": 1})
    assert receipt.delivery is ACCEPTED
    assert receipt.status_code == 200
    assert receipt.message == ""
    assert receipt.raw
    assert FIRED.startswith(receipt.raw)
    assert server.ledger.fired_count(id=1) == 1


async def test_an_error_status_whose_body_breaks_off_keeps_its_meaning() -> None:
    async with serving(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf") as server:
        async with RefoldClient(api_key="k", linked_account_id="a", base_url=server.url, timeout=HALF) as client:
            error = await refused(client)
    assert isinstance(error, NotFoundError)
    assert error.delivery is REJECTED
    assert error.body == "half"
    assert isinstance(error.__cause__, httpx.ReadTimeout)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(FIRED, mtime=0)),
        ("deflate", zlib.compress(FIRED)),
        ("deflate", zlib.compress(FIRED, wbits=-15)),
        ("identity", FIRED),
    ],
    ids=["gzip", "zlib", "deflate", "identity"],
)
async def test_a_compressed_success_is_read(server: MockRefold, coding: str, body: bytes) -> None:
    server.next(Fault.answer(200, body=body, headers={"Content-Encoding": coding}))
    async with server.client() as client:
        receipt = await client.trigger("pipedrive", "Deal Created")
    assert receipt.message == "Webhook Fired Success"
    assert receipt.raw == FIRED


async def test_a_bomb_is_not_inflated(server: MockRefold) -> None:
    bomb = gzip.compress(b'{"message":"' + b" " * 50_000_000 + b'"}')
    server.next(Fault.answer(200, body=bomb, headers={"Content-Encoding": "gzip"}))
    async with server.client() as client:
        error = await refused(client)
    assert error.delivery is AMBIGUOUS


async def test_an_endless_answer_is_read_up_to_a_megabyte() -> None:
    sent = 0

    async def pour(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
        while True:
            await peer.send(b" " * 65536)
            sent += 65536

    async with serving(pour) as server:
        async with RefoldClient(api_key="k", linked_account_id="a", base_url=server.url) as client:
            receipt = await client.trigger("pipedrive", "Deal Created")
    assert receipt.delivery is ACCEPTED, "a status, once seen, decides"
    assert len(receipt.raw) == 1_000_000
    assert sent < 30_000_000


async def test_refused_is_not_sent_and_tried_again(server: MockRefold) -> None:
    server.refuse()
    async with server.client(rate_limit=None, retry=QUICK) as client:
        error = await refused(client)
    assert isinstance(error, RefoldConnectionError)
    assert (error.delivery, error.attempts) == (NOT_SENT, 3)
    assert isinstance(error.__cause__, httpx.ConnectError)


async def test_a_name_that_does_not_resolve_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    async with RefoldClient(api_key="k", linked_account_id="a", base_url="http://no.invalid", retry=QUICK) as client:
        error = await refused(client)
    assert (error.delivery, error.attempts) == (NOT_SENT, 3)


async def test_a_bad_certificate_is_not_sent_and_not_tried_again() -> None:
    with MockRefold(tls=True) as server:
        async with server.client(verify=True, retry=QUICK) as client:
            error = await refused(client)
    assert (error.delivery, error.attempts) == (NOT_SENT, 1)
    assert "certificate" in str(error)
    assert server.ledger.requests == 0


async def test_a_handshake_that_stalls_is_not_sent_and_tried_again() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with anyio.CancelScope() as scope:
            handshakes.append(scope)
            await anyio.sleep_forever()
        writer.close()

    handshakes: list[anyio.CancelScope] = []
    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with RefoldClient(
        api_key="k", linked_account_id="a", base_url=f"https://127.0.0.1:{port}", retry=QUICK, timeout=0.3
    ) as client:
        error = await refused(client)
    assert isinstance(error, RefoldTimeoutError)
    assert (error.delivery, error.attempts, len(handshakes)) == (NOT_SENT, 3, 3)
    listener.close()
    for scope in handshakes:
        scope.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_tls_is_spoken(server: MockRefold) -> None:
    with MockRefold(tls=True) as secure:
        async with secure.client() as client:
            assert (await client.trigger("pipedrive", "Deal Created")).delivery is ACCEPTED
        async with httpx.AsyncClient(verify=ssl.create_default_context(cadata=secure.ca_pem.decode())) as session:
            assert (await session.get(secure.url)).status_code == 404


async def test_the_verdict_over_several_attempts(server: MockRefold) -> None:
    window = Idempotency(header="Idempotency-Key")
    async with server.client(rate_limit=None, retry=QUICK, idempotency=window) as client:
        server.next(Fault.answer(500), Fault.answer(404))
        error = await refused(client)
        assert isinstance(error, NotFoundError), "the last answer is what is told of"
        assert error.delivery is AMBIGUOUS, "the first attempt may have fired"
        assert "may have fired" in str(error)
        server.next(Fault.answer(500), None)
        receipt = await client.trigger("pipedrive", "Deal Created")
        assert (receipt.attempts, receipt.after_ambiguous) == (2, True)
        server.next(Fault.throttle("0"), None)
        receipt = await client.trigger("pipedrive", "Deal Created")
        assert (receipt.attempts, receipt.after_ambiguous) == (2, False)


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (httpx.ConnectError("no"), NOT_SENT),
        (httpx.ConnectTimeout("no"), NOT_SENT),
        (httpx.PoolTimeout("no"), NOT_SENT),
        (httpx.ProxyError("no"), NOT_SENT),
        (httpx.UnsupportedProtocol("no"), NOT_SENT),
        (httpx.WriteError("no"), AMBIGUOUS),
        (httpx.WriteTimeout("no"), AMBIGUOUS),
        (httpx.ReadError("no"), AMBIGUOUS),
        (httpx.ReadTimeout("no"), AMBIGUOUS),
        (httpx.RemoteProtocolError("no"), AMBIGUOUS),
        (httpx.LocalProtocolError("no"), AMBIGUOUS),
        (OSError("foreign"), AMBIGUOUS),
        (KeyError("foreign"), AMBIGUOUS),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_injected_transport_without_evidence(raised: Exception, verdict: Delivery) -> None:
    transport = FakeTransport.answering(raised)
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=None)
    error = await refused(client)
    assert (error.delivery, error.attempts) == (verdict, 1)
    assert error.__cause__ is raised
    await client.aclose()


async def test_the_deadline_before_and_after_the_send(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.stall_head())
    async with server.client(rate_limit=None, max_connections=1) as client:
        async with anyio.create_task_group() as group:

            async def first() -> None:
                error = await refused(client, deadline=1.0)
                assert isinstance(error, DeadlineExceededError)
                assert isinstance(error, TimeoutError)
                assert (error.delivery, error.attempts) == (AMBIGUOUS, 1)

            group.start_soon(first)
            await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests == 1)
            error = await refused(client, deadline=0.05)
            assert isinstance(error, DeadlineExceededError)
            assert (error.delivery, error.attempts) == (NOT_SENT, 0)
    assert server.ledger.requests == 1


async def test_a_deadline_while_the_body_stalls_does_not_undo_the_status(server: MockRefold) -> None:
    server.next(Fault.stall_body())
    async with server.client() as client:
        receipt = await client.trigger("pipedrive", "Deal Created", {"id": 1}, deadline=1.0)
    assert receipt.delivery is ACCEPTED


async def test_a_retry_that_would_pass_the_deadline_is_not_begun(server: MockRefold) -> None:
    server.plan(lambda entry: Fault.throttle("7"))
    async with server.client(rate_limit=None, deadline=5) as client:
        error = await refused(client)
    assert isinstance(error, RateLimitedError)
    assert (error.delivery, error.attempts, error.retry_after) == (REJECTED, 1, 7.0)


async def test_cancellation_comes_back_as_it_was_after_the_hooks_were_told(server: MockRefold) -> None:
    told: list[object] = []
    server.plan(lambda entry: Fault.stall_head())
    async with server.client(rate_limit=None, max_connections=1, hooks=[told.append]) as client:
        waiting = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created", {"id": 1}))
        await anyio.to_thread.run_sync(server.ledger.wait_for, lambda ledger: ledger.requests == 1)
        queued = asyncio.ensure_future(client.trigger("pipedrive", "Deal Created", {"id": 2}))
        await asyncio.sleep(0)
        for task in (queued, waiting):
            task.cancel("as told")
            with pytest.raises(asyncio.CancelledError, match="as told"):
                await task
    finished = [event for event in told if isinstance(event, CallFinished)]
    assert [(event.delivery, event.attempts) for event in finished] == [(NOT_SENT, 0), (AMBIGUOUS, 1)]


async def test_cancelled_while_the_body_stalls_is_told_as_accepted(server: MockRefold) -> None:
    told: list[object] = []
    started = anyio.Event()

    class Watching(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            started.set()
            return response

    server.next(Fault.stall_body())
    async with server.client(hooks=[told.append], transport=Watching()) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.trigger, "pipedrive", "Deal Created")
                await started.wait()
                scope.cancel()
    assert isinstance(told[-1], CallFinished)
    assert told[-1].delivery is ACCEPTED


async def test_a_policy_may_read_statuses_otherwise() -> None:
    policy = RetryPolicy(classify=lambda status, headers: AMBIGUOUS if status == 409 else None)
    transport = FakeTransport.answering(httpx.Response(409), httpx.Response(404))
    client = RefoldClient(api_key="k", linked_account_id="a", transport=transport, retry=policy)
    assert (await refused(client)).delivery is AMBIGUOUS
    assert (await refused(client)).delivery is REJECTED
    await client.aclose()


async def test_what_an_error_tells(server: MockRefold) -> None:
    body = b'{"error_type":"BAD_REQUEST","error_code":"INVALID_EVENT","message":"no such event","request_id":"r-1"}'
    server.next(Fault.answer(400, body=body))
    async with server.client() as client:
        error = await refused(client)
    assert isinstance(error, BadRequestError)
    assert (error.status_code, error.error_type, error.error_code) == (400, "BAD_REQUEST", "INVALID_EVENT")
    assert (error.message, error.request_id, error.body) == ("no such event", "r-1", body.decode())
    assert "console" in str(error), "the message says what to do next"


async def test_what_a_receipt_tells() -> None:
    transport = FakeTransport.answering(
        httpx.Response(202, content=b'{"message":"ok"}', headers={"x-request-id": "r-2"}), fired()
    )
    client = RefoldClient(
        api_key="k", linked_account_id="a", transport=transport, idempotency=Idempotency(header="Idempotency-Key")
    )
    receipt = await client.trigger("slack", "E")
    assert (receipt.message, receipt.status_code, receipt.request_id, receipt.attempts) == ("ok", 202, "r-2", 1)
    assert receipt.idempotency_key
    assert receipt.raw == b'{"message":"ok"}'
    assert receipt.elapsed >= 0
    assert '{"message' not in repr(receipt)
    await client.aclose()
