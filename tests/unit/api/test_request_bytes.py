"""The bytes that our own wire writes are those header fields that httpx is given, for every combination of settings."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from refold_async import Idempotency, RefoldClient, RefoldError, Trigger
from refold_async._api.plain import PlainRequest
from refold_async._api.request import EncodedRequest

SLUGS = ["slack", "pipedrive", "a.b", "Slack"]
ACCOUNTS = [None, "acct-1", "acct-2", "ACCT-1", "ü"]
CONFIGS = [None, "c", "d"]
triggers: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    slug=st.sampled_from(SLUGS),
    event=st.sampled_from(["E", "Deal ü"]),
    payload=st.sampled_from([None, {}, {"n": 1}, {"s": "ü" * 40_000}]),
    linked_account_id=st.sampled_from(ACCOUNTS),
    config_id=st.sampled_from(CONFIGS),
    instance_tag=st.sampled_from([None, "t"]),
    idempotency_key=st.sampled_from([None, "k-1"]),
)
options = st.fixed_dictionaries(
    {
        "tag": st.booleans(),
        "tag_field": st.sampled_from([None, "token"]),
        "idempotency": st.sampled_from([None, Idempotency(header="X-Key"), Idempotency(payload_field="key")]),
    }
)


def as_httpx_sends(request: EncodedRequest, target: bytes) -> bytes:
    """Write a request from its parts, as they are handed to httpx."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), target)]
    lines += [b"%b: %b" % pair for pair in request.header_pairs(with_credential=True)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + request.body


@given(
    st.lists(
        st.one_of(triggers, st.sampled_from(["rotate", "the first again"]), st.just("all")), min_size=1, max_size=25
    ),
    options,
    st.sampled_from(["api_key", "session_token"]),
    st.sampled_from(["https://refold.test", "http://127.0.0.1:8123/prefix", "https://[::1]"]),
)
def test_both_wires_are_given_the_same_request_however_heads_are_remembered_and_keys_rotate(
    steps: list[Any], given_settings: dict[str, Any], kind: str, url: str
) -> None:
    key = ["secret-key-0"]
    credential: dict[str, Any] = {kind: lambda: key[0]}
    client = RefoldClient(**credential, base_url=url, **given_settings)
    sender = client._sender
    kept: list[EncodedRequest] = []

    async def play() -> None:
        await sender.credential.refresh()
        for step in steps:
            if step == "rotate":
                key[0] = f"secret-key-{int(key[0].rsplit('-', 1)[1]) + 1}"
                await sender.credential.refresh()
            elif isinstance(step, dict):
                try:
                    kept.append(sender.encode(sender.new_call(Trigger(**step))))
                except RefoldError:  # no account with an API key
                    continue
            elif step == "all":
                call = sender.new_call(Trigger("every application", "E", linked_account_id="acct-1"))
                call.is_for_all = True
                kept.append(sender.encode(call))
            for request in kept if step != "the first again" else kept[:1]:  # a retry: the same request, a new key
                written = request.first() + (request.rest or b"")
                assert written == as_httpx_sends(request, request.url.raw_path)
                assert key[0].encode() in written
                assert written.count(b"secret-key-") == 1

    asyncio.run(play())


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    st.sampled_from([..., {}, {"a": 1}, None, "ü" * 40_000]),
    st.sampled_from(ACCOUNTS),
    st.sampled_from([None, {"X-Other": "1"}]),
)
def test_requests_that_fire_nothing_are_the_same_on_both_wires(
    method: str, document: Any, account: str | None, headers: dict[str, str] | None
) -> None:
    client = RefoldClient(api_key="secret-key-0", base_url="https://refold.test")
    sender = client._sender
    plain = PlainRequest(
        method, "/api/v2/things", params={"q": "ü"}, document=... if method == "GET" else document, headers=headers
    )
    request = plain.encode(sender.address, sender.credential, (), account, None)
    assert request.first() + (request.rest or b"") == as_httpx_sends(request, request.url.raw_path)
