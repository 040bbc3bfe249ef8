"""`client.request`: where it may reach, when it is made again, and what its errors say."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import (
    APIError,
    Delivery,
    InvalidRequestError,
    NotFoundError,
    RateLimit,
    RefoldClient,
    RefoldError,
    Response,
    RetryPolicy,
    ServerError,
    UnexpectedResponseError,
)
from refold_async._api.plain import PlainRequest, Repeat, check_path, segment
from refold_async._core.plain import send_plain
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import Fault, MockRefold
from tests.fakes.clock import VirtualTime
from tests.fakes.server import FIRED_ANSWER, Peer, RawServer, serving

EVENTS = "/api/v2/public/application/event"
QUICK = RetryPolicy(base_delay=0, throttled_base_delay=0)


def client_of(server: RawServer, **options: Any) -> RefoldClient:
    given = {"api_key": "tk_secret", "linked_account_id": "acct_1", "retry": QUICK, **options}
    return RefoldClient(base_url=server.url, **given)


def answer(status: int, body: bytes = b"{}", *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", body])


def in_turn(*answers: bytes | None) -> Any:
    """Answer requests one after another, over all connections; None hangs up instead."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            turn = left.pop(0)
            if turn is None:
                return
            await peer.send(turn)

    return script


async def failing(call: Any) -> RefoldError:
    with pytest.raises(RefoldError) as caught:
        await call
    return caught.value


# What goes over the wire.


@pytest.mark.asyncio
@pytest.mark.parametrize("road", ["own", "httpx"])
async def test_both_wires_send_the_same_bytes(road: str) -> None:
    async with serving(in_turn(answer(200, b"[1]"), answer(200))) as server:
        options = {} if road == "own" else {"transport": httpx.AsyncHTTPTransport()}
        async with client_of(server, extra_headers={"X-Team": "crm"}, **options) as client:
            got = await client.request(
                "get", EVENTS, params={"page": 2, "slug": ["a b", "c&d"], "x": None, "all": True}
            )
            await client.request("POST", EVENTS, json={"name": "É"}, headers={"X-Own": "1"}, linked_account_id="other")
        assert got.json() == [1]
        host = server.url.removeprefix("http://").encode()
        first, second = (bytes(request) for request in server.requests)
        assert first == (
            b"GET /api/v2/public/application/event?page=2&slug=a%20b&slug=c%26d&all=true HTTP/1.1\r\nHost: "
            + host
            + b"\r\n"
            b"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\n" + agent(first) + b"X-Team: crm\r\n"
            b"linked_account_id: acct_1\r\nx-api-key: tk_secret\r\n\r\n"
        )
        body = '{"name":"É"}'.encode()
        assert second == (
            b"POST /api/v2/public/application/event HTTP/1.1\r\n"
            b"Host: " + host + b"\r\n"
            b"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\n" + agent(first) + b"X-Team: crm\r\n"
            b"Content-Type: application/json\r\nlinked_account_id: other\r\nX-Own: 1\r\nx-api-key: tk_secret\r\n"
            b"Content-Length: 13\r\n\r\n" + body
        )


def agent(request: bytes) -> bytes:
    found = re.search(rb"User-Agent: refold-async/[^\r]+\r\n", request)
    assert found is not None
    return found[0]


@pytest.mark.asyncio
async def test_a_path_prefix_of_the_base_url_is_kept() -> None:
    async with serving(in_turn(answer(200))) as server:
        async with RefoldClient(base_url=server.url + "/refold/", api_key="k", linked_account_id="a") as client:
            await client.request("GET", EVENTS)
        assert server.requests[0].target == b"/refold" + EVENTS.encode()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        "", "/", "api/v2/x", "https://evil.example/api/v2", "//evil.example/api/", "/api", "/apix/y",
        "/api/", "/api//x",
        "/api/../admin", "/api/v2/..", "/api/v2/%2e%2e/x", "/api/v2/%2E./x", "/api/v2/%252e%252e/x", "/api/a%2f..%2fb",
        "/api/a%5c..%5cb", "/api/a\\b", "/api/v2/x?y=1", "/api/v2/x#y", "/api/v2/a b", "/api/v2/a\tb",
        "/api/v2/a\r\nX: y",
        "/api/v2/%0d%0aX:%20y", "/api/v2/%00", "/api/v2/é", "/api/v2/%", "/api/v2/%zz", "/api/v2/./x", "/api/v2/x//",
        "/api/v2/%20/x", b"/api/v2/x", None, 7,
    ],
)  # fmt: skip
async def test_a_path_that_could_reach_another_place_is_refused(path: Any) -> None:
    async with serving() as server:
        async with client_of(server) as client:
            error = await failing(client.request("GET", path))
        assert isinstance(error, InvalidRequestError)
        assert error.delivery is None
        assert server.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["GET", "POST", "put"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/public/event/slack", "/api/v2/public/event/trigger", "/api/v2/public/event",
        "/api/v2/public/EVENT/slack/",
        "/api/v2/public/%65vent/slack", "/api/v2/public/%2565vent/slack", "/api/v1/event/trigger",
        "/api/v1/webhook/64a",
        "/api/v2/public/workflow/64a/execute", "/api/v1/workflow/a%2Fb/execute", "/api/v2/public/execution/64a/rerun",
        "/api/v2/public/execution/64a/Rerun/",
    ],
)  # fmt: skip
async def test_a_path_that_fires_is_refused_with_what_to_use(method: str, path: str) -> None:
    async with serving() as server:
        async with client_of(server) as client:
            with pytest.raises(InvalidRequestError, match=r"starts workflows.*trigger"):
                await client.request(method, path)
        assert server.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        EVENTS, EVENTS + "/64a", "/api/v2/public/webhook/64a", "/api/v2/public/webhook",
        "/api/v2/public/execution/64a/stop",
        "/api/v2/public/linked-account/a%40b.example", "/api/v2/public/audit/event-received",
        "/api/v2/public/event-types",
    ],
)  # fmt: skip
async def test_paths_that_fire_nothing_go_through(path: str) -> None:
    async with serving(in_turn(answer(200))) as server:
        async with client_of(server) as client:
            await client.request("DELETE", path)
        assert server.requests[0].target == path.encode()


@given(st.text())
def test_an_id_is_one_segment_of_a_path_or_is_refused(text: str) -> None:
    try:
        quoted = segment(text, "execution_id")
    except InvalidRequestError:
        return
    path = f"/api/v2/public/execution/{quoted}"
    assert unquote(quoted) == text
    assert httpx.URL("http://h" + path).raw_path.count(b"/") == path.count("/") == 5
    assert re.fullmatch(r"[A-Za-z0-9\-._~%]+", quoted)
    assert quoted not in (".", "..")
    check_path(path)


@given(
    st.lists(st.sampled_from(["a", ".", "..", "%2e", "%2E", "/", "%2f", "%5c", "\\", "%25", "?", "#", "%0a", "é", " "]))
)
def test_a_path_that_is_taken_reads_the_same_however_it_is_normalised(parts: list[str]) -> None:
    path = "/api/x" + "".join(parts)
    try:
        check_path(path)
    except InvalidRequestError:
        return
    plain = path
    for _ in range(10):
        plain = unquote(plain)
        assert httpx.URL("http://h").join(quote(plain, safe="/\\")).path.startswith("/api/x")
        assert not {".", ".."} & set(re.split(r"[/\\]", plain))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Api-Key": "other"}}, {"headers": {"host": "evil"}}, {"headers": {"linked_account_id": "x"}},
        {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X Y": "a"}}, {"headers": {"X": 1}}, {"headers": [("X", "y")]},
        {"params": {"": 1}}, {"params": {1: 1}}, {"params": {"x": object()}}, {"params": {"x": {"y": 1}}},
        {"params": {"x": "\ud800"}}, {"params": "x=1"}, {"json": {"x": float("nan")}}, {"json": {"x": object()}},
        {"json": "\ud800"}, {"json": "x" * 3_000_001},
    ],
)  # fmt: skip
async def test_options_that_cannot_be_sent_are_refused(options: dict[str, Any]) -> None:
    async with serving() as server:
        async with client_of(server) as client:
            error = await failing(client.request("POST", EVENTS, **options))
        assert isinstance(error, InvalidRequestError)
        assert server.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "GET /x", "", None, b"GET"])
async def test_other_methods_are_refused(method: Any) -> None:
    async with serving() as server, client_of(server) as client:
        with pytest.raises(InvalidRequestError, match="method"):
            await client.request(method, EVENTS)


@pytest.mark.asyncio
async def test_a_get_has_no_body() -> None:
    async with serving() as server, client_of(server) as client:
        with pytest.raises(InvalidRequestError, match="params"):
            await client.request("GET", EVENTS, json={})


# What comes back.


@pytest.mark.asyncio
async def test_a_response_has_headers_in_lower_case_and_its_body_decompressed() -> None:
    body = gzip.compress(b'{"request_id": "r-1"}')
    fields = (b"Content-Encoding: gzip", b"X-A: 1", b"x-a: 2")
    async with serving(in_turn(answer(201, body, *fields))) as server, client_of(server) as client:
        got = await client.request("POST", EVENTS, json={})
    assert (got.status_code, got.raw, got.request_id, got.attempts) == (201, b'{"request_id": "r-1"}', "r-1", 1)
    assert got.headers["x-a"] == "1, 2"
    assert "request_id" not in repr(got).partition("request_id=")[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1_500_000, 20_000_000])
@pytest.mark.parametrize("road", ["own", "httpx"])
async def test_a_long_list_is_read_whole(size: int, road: str) -> None:
    body = json.dumps(["x" * 1000] * (size // 1000)).encode()
    options = {} if road == "own" else {"transport": httpx.AsyncHTTPTransport()}
    async with serving(in_turn(answer(200, body))) as server, client_of(server, **options) as client:
        assert (await client.request("GET", EVENTS)).raw == body


@pytest.mark.asyncio
async def test_a_deletion_may_answer_nothing() -> None:
    async with serving(in_turn(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, client_of(server) as client:
        got = await client.request("DELETE", EVENTS + "/64a")
    assert (got.status_code, got.raw, got.json()) == (204, b"", None)


@pytest.mark.asyncio
async def test_a_page_that_is_not_refolds_is_an_error() -> None:
    async with serving(in_turn(answer(200, b"<html>"))) as server, client_of(server) as client:
        error = await failing(client.request("GET", EVENTS))
    assert isinstance(error, UnexpectedResponseError)
    assert error.delivery is None
    assert error.safe_to_resend


@pytest.mark.asyncio
async def test_a_key_that_is_echoed_is_not_shown() -> None:
    async with serving(in_turn(answer(200, b'{"key":"tk_secret"}'), answer(400, b'{"message":"tk_secret"}'))) as server:
        async with client_of(server) as client:
            got = await client.request("GET", EVENTS)
            error = await failing(client.request("GET", EVENTS))
    assert b"tk_secret" not in got.raw
    assert "tk_secret" not in repr(error) + str(error) + str(error.to_dict())


# When it is made again.

PASSING = [answer(500), answer(502, b"<html>"), answer(408), answer(429), answer(503, b"{}", b"Retry-After: 0"), None,
           b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[1, 2", b"nonsense\r\n\r\n"]  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("first", PASSING, ids=repr)
async def test_a_read_is_made_again_after_whatever_may_pass(first: bytes | None) -> None:
    left = [first, answer(200, b"[1]")]

    async def one_each(peer: Peer) -> None:
        await peer.request()
        turn = left.pop(0)
        if turn is not None:
            await peer.send(turn)

    async with serving(one_each) as server, client_of(server) as client:
        got = await client.request("GET", EVENTS)
    assert got.json() == [1]
    assert got.attempts == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("first", PASSING[:4], ids=repr)
async def test_what_changes_something_is_not_made_again_once_it_was_written(first: bytes) -> None:
    async with serving(in_turn(first, answer(200))) as server, client_of(server) as client:
        error = await failing(client.request("POST", EVENTS, json={}))
        assert len(server.requests) == 1
    assert error.attempts == 1
    status = int(first.split()[1])
    assert error.delivery is (Delivery.REJECTED if status == 429 else Delivery.AMBIGUOUS)
    assert error.trigger is None
    assert "POST /api/v2/public/application/event" in str(error)
    assert "event " not in str(error).replace("application/event", "")


@pytest.mark.asyncio
async def test_what_changes_something_is_made_again_while_it_could_not_connect() -> None:
    attempts = 0

    class Refusing(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal attempts
            attempts += 1
            if attempts < 3:
                raise httpx.ConnectError("refused")
            return await super().handle_async_request(request)

    async with serving(in_turn(answer(200))) as server, client_of(server, transport=Refusing()) as client:
        assert (await client.request("PUT", EVENTS, json={})).status_code == 200
    assert attempts == 3


@pytest.mark.asyncio
async def test_a_rejection_is_final() -> None:
    async with serving(in_turn(answer(404, b'{"message":"no such event","error":"RESOURCE_NOT_FOUND"}'))) as server:
        async with client_of(server) as client:
            error = await failing(client.request("GET", EVENTS + "/64a"))
    assert isinstance(error, NotFoundError)
    assert (error.delivery, error.error_code, error.attempts) == (None, "RESOURCE_NOT_FOUND", 1)
    assert "check the slug" not in str(error)


@pytest.mark.asyncio
async def test_one_that_fires_is_judged_as_a_trigger_is() -> None:
    """A rerun: an error behind the API may have fired, a busy one is asked again, a head that says 200 is enough."""
    path = "/api/v2/public/execution/64a/rerun"
    answers = [answer(429), b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"]

    async def one_each(peer: Peer) -> None:
        await peer.request()
        await peer.send(answers.pop(0))

    plain = PlainRequest("POST", path, repeat=Repeat.AS_TRIGGER, may_fire=True)
    async with serving(one_each) as server, client_of(server) as client:
        got = await send_plain(client._sender, plain)
        assert (got.status_code, got.attempts) == (200, 2)
        answers.append(answer(500))
        error = await failing(send_plain(client._sender, plain))
    assert isinstance(error, ServerError)
    assert error.delivery is Delivery.AMBIGUOUS


# Pace, and the end.


@pytest.mark.asyncio
async def test_reads_have_a_pace_of_their_own_and_leave_triggers_alone() -> None:
    time = VirtualTime()
    async with serving() as server, client_of(server, rate_limit=None) as client:
        lane = client._sender.life.lane.limiter
        lane._clock, lane._sleep = time, time.sleep
        reads = [asyncio.ensure_future(client.request("GET", EVENTS)) for _ in range(5)]
        for n in range(20):
            await client.trigger("slack", "E", {"n": n})
        assert sum(request.method == b"GET" for request in server.requests) <= 1
        await time.run()
        for read in reads:
            assert isinstance(await read, Response)
        assert time.now >= 1000.4


@pytest.mark.asyncio
@pytest.mark.parametrize("asks", ["trigger", "request"])
async def test_a_429_pauses_triggers_and_reads(asks: str) -> None:
    async with serving(in_turn(answer(429, b"{}", b"Retry-After: 7"), FIRED_ANSWER)) as server:
        async with client_of(server, retry=None) as client:
            call = client.trigger("slack", "E") if asks == "trigger" else client.request("GET", EVENTS)
            error = await failing(call)
            assert isinstance(error, APIError)
            for other in (client.trigger("slack", "E", deadline=1), client.request("GET", EVENTS, deadline=1)):
                refused = await failing(other)
                assert type(refused).__name__ == "PacingTimeoutError"
                assert refused.attempts == 0
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_closing_the_client_ends_a_read_that_waits() -> None:
    asked = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with serving(silent) as server:
        client = client_of(server)
        read = asyncio.ensure_future(client.request("GET", EVENTS))
        await asked.wait()
        await client.aclose(grace=0)
        error = await failing(read)
        assert type(error).__name__ == "ClientClosedError"
        assert error.delivery is None
        assert type(await failing(client.request("GET", EVENTS))).__name__ == "ClientClosedError"


@pytest.mark.asyncio
@pytest.mark.parametrize("wire", ["pool", "httpx"])
@pytest.mark.parametrize("most", [1, 3])
async def test_triggers_and_other_requests_have_connections_apart(wire: Any, most: int) -> None:
    """Whichever of them meet a server that says nothing, the others go on."""
    pairs: list[tuple[Any, str]] = [("trigger", "read"), ("read", "trigger")]
    counts = {"trigger": most, "read": 10}
    with MockRefold(rate_limit=None) as server:
        for stalls, goes in pairs:
            server.plan(lambda entry: Fault.stall_head(fires=False), kind=stalls)
            async with server.client(
                rate_limit=None, max_connections=most, transport=wire, retry=None, timeout=50, deadline=50
            ) as client:
                client._sender.life.lane.limiter = MemoryRateLimiter(RateLimit(1000, 20))
                arrived = server.ledger.requests + counts[stalls]
                stalled = [asyncio.ensure_future(_call(client, stalls)) for _ in range(counts[stalls])]
                await asyncio.to_thread(_wait_for, server, arrived)
                for _ in range(3):
                    await asyncio.gather(*(_call(client, goes) for _ in range(counts[goes])))
                assert not any(call.done() for call in stalled)
                for call in stalled:
                    call.cancel()
                await asyncio.wait(stalled)
            server.plan(None, kind=stalls)


def _wait_for(server: MockRefold, requests: int) -> None:
    server.ledger.wait_for(lambda ledger: ledger.requests >= requests)


async def _call(client: RefoldClient, kind: str) -> object:
    if kind == "trigger":
        return await client.trigger("slack", "E")
    return await client.request("GET", "/api/v2/public/execution")
