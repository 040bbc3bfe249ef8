"""What httpcore's trace events say of a request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from refold_async._wire.observed import Observation

pytestmark = pytest.mark.asyncio

HEADERS = [(b"Content-Type", b"application/json")]
HTTP1 = (b"HTTP/1.1", 200, b"OK", HEADERS)
HTTP2 = (200, HEADERS)


class Stream:
    def __init__(self) -> None:
        self.closed: list[bool] = []

    async def aclose(self) -> None:
        self.closed.append(True)


async def observe(*events: tuple[str, dict[str, Any]], protocol: str = "http11") -> tuple[Observation, list[str]]:
    told: list[str] = []

    async def chained(name: str, info: dict[str, Any]) -> None:
        told.append(name)

    seen = Observation(lambda: told.append("before the write"), chained)
    for name, info in events:
        await seen.trace(f"{protocol}.{name}", info)
    return seen, told


def begun(method: bytes) -> tuple[str, dict[str, Any]]:
    return "send_request_headers.started", {"request": type("Request", (), {"method": method})()}


DONE: tuple[str, dict[str, Any]] = ("send_request_headers.complete", {})


@pytest.mark.parametrize(
    ("events", "written", "status"),
    [
        ([], None, None),
        ([("connect_tcp.started", {})], False, None),
        ([begun(b"POST")], False, None),
        ([begun(b"POST"), DONE], True, None),
        ([begun(b"POST"), DONE, ("receive_response_headers.complete", {"return_value": HTTP1})], True, 200),
        ([begun(b"POST"), DONE, ("receive_response_headers.complete", {"return_value": HTTP2})], True, 200),
        ([begun(b"POST"), DONE, ("receive_response_headers.complete", {"return_value": None})], True, None),
        ([begun(b"POST"), DONE, ("receive_response_headers.complete", {"return_value": (200,)})], True, None),
        ([begun(b"POST"), DONE, ("receive_response_headers.complete", {})], True, None),
        ([begun(b"CONNECT"), DONE], False, None),
        ([begun(b"CONNECT"), DONE, ("receive_response_headers.complete", {"return_value": HTTP1})], False, None),
        ([begun(b"CONNECT"), DONE, begun(b"POST")], False, None),
        ([begun(b"CONNECT"), DONE, begun(b"POST"), DONE], True, None),
    ],
)
async def test_an_event_is_evidence_of_what_it_says_and_a_connect_is_of_nothing(
    events: list[tuple[str, dict[str, Any]]], written: bool | None, status: int | None
) -> None:
    for protocol in ("http11", "http2", "proxy"):
        seen, told = await observe(*events, protocol=protocol)
        evidence = seen.evidence()
        assert (evidence.written, evidence.status) == (written, status)
        assert list(evidence.headers) == (HEADERS if status else [])
        assert [name for name in told if "." in name] == [f"{protocol}.{name}" for name, _ in events]
        assert told.count("before the write") == any(info.get("request") and info["request"].method == b"POST"
                                                     for _, info in events)  # fmt: skip


@pytest.mark.parametrize("opened", ["connect_tcp.complete", "connect_unix_socket.complete"])
async def test_a_handshake_that_fails_closes_its_socket(opened: str) -> None:
    stream = Stream()
    await observe((opened, {"return_value": stream}), ("start_tls.started", {}))
    assert stream.closed == []
    await observe((opened, {"return_value": stream}), ("start_tls.failed", {}))
    assert stream.closed == [True]
    await observe(("start_tls.failed", {}))


async def test_only_its_own_callback_leads_back_to_an_observation() -> None:
    seen = Observation()
    assert Observation.behind(seen.trace) is seen
    assert Observation.behind(print) is None
    assert Observation.behind(Stream().aclose) is None
    assert not seen.is_chained
    assert Observation(chained=Observation().trace).is_chained


async def test_a_response_says_that_the_request_was_written() -> None:
    seen = Observation()
    seen.responded(httpx.Response(503, headers={"a": "b"}))
    assert (seen.evidence().written, seen.evidence().status) == (True, 503)
    assert (b"a", b"b") in seen.evidence().headers
    response = httpx.Response(200)
    response.status_code = "200"  # type: ignore[assignment]
    with pytest.raises(httpx.RemoteProtocolError, match="is a str"):
        seen.responded(response)
