"""What goes over the wire, to the byte."""

from __future__ import annotations

from typing import Any

import pytest

from refold_async import Idempotency, RefoldClient, __version__
from tests.fakes.server import serving

pytestmark = pytest.mark.asyncio


def parts(request: bytes) -> tuple[bytes, list[bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    return line, headers, body


async def sent(trigger: tuple[Any, ...] = ("pipedrive", "Deal Created", {"a": 1}), **options: Any) -> bytes:
    call = options.pop("call", {})
    prefix = options.pop("prefix", "")
    options.setdefault("api_key", "tk_1")
    async with serving() as server:
        async with RefoldClient(base_url=server.url + prefix, **options) as client:
            await client.trigger(*trigger, **call)
        [request] = server.requests
        return request.replace(server.url.removeprefix("http://").encode(), b"HOST")


async def test_a_whole_request_with_an_api_key() -> None:
    request = await sent(linked_account_id="acct_1", config_id="cfg_1", call={"instance_tag": "tag"})
    assert request == (
        b"POST /api/v2/public/event/pipedrive HTTP/1.1\r\n"
        b"Host: HOST\r\n"
        b"Accept: application/json\r\n"
        b"Accept-Encoding: gzip, deflate\r\n"
        b"User-Agent: refold-async/" + __version__.encode() + b"\r\n"
        b"Content-Type: application/json\r\n"
        b"x-api-key: tk_1\r\n"
        b"linked_account_id: acct_1\r\n"
        b"config_id: cfg_1\r\n"
        b"instance_tag: tag\r\n"
        b"Content-Length: 42\r\n"
        b"\r\n"
        b'{"event":"Deal Created","payload":{"a":1}}'
    )


async def test_a_session_token_needs_no_account() -> None:
    _, headers, _ = parts(await sent(api_key=None, session_token="st_1"))
    assert b"Authorization: Bearer st_1" in headers
    assert not [h for h in headers if h.lower().startswith((b"x-api-key", b"linked_account_id"))]


@pytest.mark.parametrize("prefix", ["", "/", "/eu/refold", "/eu/refold/"])
async def test_the_path_keeps_the_prefix_of_the_base_url(prefix: str) -> None:
    line, _, _ = parts(await sent(linked_account_id="a", prefix=prefix))
    assert line == b"POST " + prefix.rstrip("/").encode() + b"/api/v2/public/event/pipedrive HTTP/1.1"


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (None, b'{"event":"E"}'),
        ({}, b'{"event":"E","payload":{}}'),
        (
            {"n": "Zoë", "list": [1, 2.5, None, True]},
            '{"event":"E","payload":{"n":"Zoë","list":[1,2.5,null,true]}}'.encode(),
        ),
    ],
)
async def test_the_body_is_compact_utf8_and_leaves_out_no_payload(payload: Any, body: bytes) -> None:
    assert parts(await sent(("slack", "E", payload), linked_account_id="a"))[2] == body


async def test_a_given_key_goes_along_without_a_declaration() -> None:
    _, headers, _ = parts(await sent(linked_account_id="a", call={"idempotency_key": "k-1"}))
    assert b"Idempotency-Key: k-1" in headers


async def test_a_declared_header_carries_the_key() -> None:
    request = await sent(
        linked_account_id="a", idempotency=Idempotency(header="X-Event-Id"), call={"idempotency_key": "k-1"}
    )
    _, headers, _ = parts(request)
    assert b"X-Event-Id: k-1" in headers
    assert b"idempotency-key" not in request.lower()


async def test_a_declared_field_of_the_payload_carries_the_key() -> None:
    given = {"a": 1}
    request = await sent(
        ("slack", "E", given),
        linked_account_id="a",
        idempotency=Idempotency(payload_field="event_id"),
        call={"idempotency_key": "k-1"},
    )
    assert parts(request)[2] == b'{"event":"E","payload":{"a":1,"event_id":"k-1"}}'
    assert b"idempotency-key" not in request.lower()
    assert given == {"a": 1}, "the caller's dict is left alone"


async def test_extra_headers_and_a_header_value_in_latin_1() -> None:
    _, headers, _ = parts(
        await sent(linked_account_id="Zoë", extra_headers={"X-Team": "sales", "User-Agent": "mine/1"})
    )
    assert "linked_account_id: Zoë".encode("latin-1") in headers
    assert b"X-Team: sales" in headers
    assert [h for h in headers if h.startswith(b"User-Agent")] == [b"User-Agent: mine/1"]


async def test_an_encoder_of_ones_own() -> None:
    seen: list[object] = []

    def encode(document: object) -> bytes:
        seen.append(document)
        return b'{"mine":1}'

    assert parts(await sent(linked_account_id="a", json_encoder=encode))[2] == b'{"mine":1}'
    assert seen == [{"event": "Deal Created", "payload": {"a": 1}}]


async def test_a_callable_credential_is_asked_before_each_call() -> None:
    keys = iter(["tk_1", "tk_2"])

    async def rotate() -> str:
        return next(keys)

    async with serving() as server, RefoldClient(api_key=rotate, linked_account_id="a", base_url=server.url) as client:
        await client.trigger("slack", "E")
        await client.trigger("slack", "E")
    first, second = (dict(request.headers) for request in server.requests)
    assert (first[b"x-api-key"], second[b"x-api-key"]) == (b"tk_1", b"tk_2")


async def test_naming_another_account_leaves_the_first_ones_configuration_behind() -> None:
    async with serving() as server:
        options: dict[str, Any] = {"api_key": "k", "linked_account_id": "a", "config_id": "c", "base_url": server.url}
        async with RefoldClient(**options) as client:
            await client.trigger("slack", "E")
            await client.trigger("slack", "E", linked_account_id="b")
            await client.trigger("slack", "E", linked_account_id="b", config_id="d")
            await client.for_account("b").trigger("slack", "E")
            await client.for_account("b", config_id="d").trigger("slack", "E")
            await client.trigger("slack", "E", linked_account_id="a")

        def of(request: bytes) -> tuple[bytes | None, bytes | None]:
            found = dict(line.split(b": ", 1) for line in parts(request)[1])
            return found.get(b"linked_account_id"), found.get(b"config_id")

        assert [of(request) for request in server.requests] == [
            (b"a", b"c"),
            (b"b", None),
            (b"b", b"d"),
            (b"b", None),
            (b"b", b"d"),
            (b"a", b"c"),
        ]
